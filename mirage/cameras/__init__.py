# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera paths: trajectories, actions, and files of cameras."""

from .actions import Action, CameraController, parse_actions
from .colmap import read_colmap
from .files import read_cameras
from .formats import read_cameras_json, read_poses, write_cameras
from .intrinsics import centered_intrinsics, intrinsics_from_fov, read_intrinsics
from .nerfstudio import read_nerfstudio
from .realestate10k import read_realestate10k
from .trajectories import dolly, orbit, out_and_back, pan, rebase, spiral, straight, through, truck
from .tum import read_tum
from .worldscore import WORLDSCORE_MOVES, read_worldscore, worldscore_path, write_worldscore

__all__ = [
    "WORLDSCORE_MOVES",
    "Action",
    "CameraController",
    "centered_intrinsics",
    "dolly",
    "intrinsics_from_fov",
    "orbit",
    "out_and_back",
    "pan",
    "parse_actions",
    "read_cameras",
    "read_cameras_json",
    "read_colmap",
    "read_intrinsics",
    "read_nerfstudio",
    "read_poses",
    "read_realestate10k",
    "read_tum",
    "read_worldscore",
    "rebase",
    "spiral",
    "straight",
    "through",
    "truck",
    "worldscore_path",
    "write_cameras",
    "write_worldscore",
]
