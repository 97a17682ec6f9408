# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How good a walk was."""

from .metrics import psnr

__all__ = ["psnr"]
