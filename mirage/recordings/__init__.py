# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Readers of recordings: folders of posed RGB-D frames."""

from .hololens import RgbdFrames, read_rgbd

__all__ = ["RgbdFrames", "read_rgbd"]
