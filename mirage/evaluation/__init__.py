# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of rollouts."""

from .metrics import psnr

__all__ = ["psnr"]
