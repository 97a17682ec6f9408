# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Readers of recordings: posed RGB-D frames in the layouts of several projects."""

from .detect import read_recording
from .frames import RecordedFrame, Recording
from .hololens import RgbdFrames, read_rgbd

__all__ = ["RecordedFrame", "Recording", "RgbdFrames", "read_recording", "read_rgbd"]
