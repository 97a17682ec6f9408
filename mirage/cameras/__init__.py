# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to say where to go."""

from .actions import Walker
from .formats import read_intrinsics, read_poses, write_cameras
from .trajectories import dolly, orbit, out_and_back, pan, straight, through

__all__ = [
    "Walker",
    "dolly",
    "orbit",
    "out_and_back",
    "pan",
    "read_intrinsics",
    "read_poses",
    "straight",
    "through",
    "write_cameras",
]
