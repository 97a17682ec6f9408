# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the camera path, and the cameras that they select."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..cameras import (
    WORLDSCORE_MOVES,
    CameraController,
    dolly,
    orbit,
    out_and_back,
    pan,
    read_cameras,
    read_poses,
    rebase,
    spiral,
    straight,
    through,
    truck,
    worldscore_path,
)
from ..cameras.actions import STEP, TURN, parse_actions
from ..cameras.files import has_poses_alone
from ..data.scenes import Scene
from ..errors import DataError
from .messages import note

FRAMES = 97
MAX_FRAMES = 1_000_000  # of a video; more are a slip of the hand
MAX_FPS = 1000
MAX_DISTANCE = 1e30  # meters or degrees; poses beyond leave the range of numbers
GUESSED_AMOUNT = 0.4  # of the default moves where the depth is guessed, and larger ones show that it is wrong
AMOUNTS = {"orbit": 15.0, "dolly": 0.5, "pan": 20.0, "truck": 0.5, "spiral": 0.2}
MOVES = ("scene", *AMOUNTS)
_FILES = ("poses", "cameras")
# The path sources that use an option. With another source the option would have no effect, so it is an error.
_USED_BY = {
    "amount": (*AMOUNTS, "worldscore"),
    "radius": ("orbit", "spiral"),
    "one_way": MOVES,
    "step": ("actions",),
    "turn": ("actions",),
    "pose_convention": _FILES,
    "path_scale": (*_FILES, "geometry"),
}


def add_path_options(parser: argparse.ArgumentParser, *, scenes: bool = True) -> None:
    """Add the options for the camera path to a parser.

    Args:
        parser: the parser of a command.
        scenes: whether the command has ``--scene``.
    """
    path = parser.add_argument_group("camera path", "Use at most one of --trajectory, --actions, --cameras, --poses "
                                     "and --worldscore.")  # fmt: skip
    path.add_argument(
        "--trajectory",
        choices=MOVES if scenes else tuple(AMOUNTS),
        help="a predefined move, out and back"
        + (
            "; 'scene' follows the cameras of --scene (default: orbit, or scene with --scene)"
            if scenes
            else " (default: orbit)"
        ),
    )
    path.add_argument(
        "--amount",
        type=float,
        help="size of the move: degrees for orbit and pan (default: 15, 20), meters for dolly, truck and spiral "
        "(default: 0.5, 0.5, 0.2), meters per unit of a WorldScore move (default: 1). Where the depth is guessed, the "
        f"defaults of --trajectory are {GUESSED_AMOUNT:g} times these",
    )
    path.add_argument(
        "--radius",
        type=float,
        metavar="METERS",
        help="distance to the point that an orbit or spiral looks at (default: the median depth)",
    )
    path.add_argument(
        "--one-way", action="store_true", default=None, help="do not return to the start (default: return)"
    )
    path.add_argument(
        "--actions",
        metavar="KEYS",
        help="keyboard actions: w a s d move, r f move up and down, j l turn left and right, i k look up and down. "
        "'w*16 l*24' moves forward for 16 frames, then turns right for 24; 'w+l*8' does both for 8 frames "
        "(default: none)",
    )
    path.add_argument("--step", type=float, metavar="METERS", help=f"of a move, per frame (default: {STEP:g})")
    path.add_argument("--turn", type=float, metavar="DEGREES", help=f"of a turn, per frame (default: {TURN:g})")
    _add_file_options(path)


def _add_file_options(path: argparse._ArgumentGroup) -> None:
    """Add the options for paths of files and of WorldScore."""
    path.add_argument(
        "--cameras",
        type=Path,
        metavar="FILE",
        help="cameras: a COLMAP model (folder, images.bin or images.txt), nerfstudio's transforms.json, RealEstate10K, "
        "geometry.npz, WorldScore JSON, cameras.json of an earlier video, a TUM trajectory, or poses as text. The "
        "file's intrinsics are also the image's if neither --intrinsics nor --fov is set (default: none)",
    )
    path.add_argument(
        "--poses", type=Path, metavar="FILE", help="text file with one camera pose per line (default: none)"
    )
    path.add_argument(
        "--pose-convention",
        choices=("w2c", "c2w"),
        help="poses of a text file are world-to-camera or camera-to-world (default: w2c)",
    )
    path.add_argument(
        "--path-scale",
        type=float,
        metavar="FACTOR",
        help="multiply the distances of a path from --cameras, --poses or --geometry, whose unit may not be meters "
        "(default: 1)",
    )
    path.add_argument(
        "--worldscore",
        nargs="+",
        metavar="MOVE",
        help=f"moves of the WorldScore benchmark: {', '.join(WORLDSCORE_MOVES)} (default: none)",
    )


def check_frames(frames: int | None) -> None:
    """Check ``--frames``.

    Raises:
        DataError: it is below 1 or above a million.
    """
    if frames is not None and not 1 <= frames <= MAX_FRAMES:
        expected = "at least 1" if frames < 1 else f"at most {MAX_FRAMES}"
        raise DataError(f"--frames: expected {expected}, got {frames}")


def check_fps(fps: int) -> None:
    """Check ``--fps``.

    Raises:
        DataError: it is below 1 or above 1000.
    """
    if not 1 <= fps <= MAX_FPS:
        expected = "at least 1" if fps < 1 else f"at most {MAX_FPS}"
        raise DataError(f"--fps: expected {expected}, got {fps}")


def check_path_options(args: argparse.Namespace) -> None:
    """Check the options for the camera path without reading the start of the video.

    Raises:
        DataError: two options select a path, an option has no effect on it, or moves or poses cannot be read.
    """
    source = find_path_source(args)
    try:
        if source == "actions":
            parse_actions(args.actions)
        elif source == "worldscore":
            k, pose = (torch.eye(n, dtype=torch.float32, device="cpu") for n in (3, 4))
            worldscore_path(Cameras(k, pose, (1, 1)), args.worldscore, 2)
        elif source == "poses" and args.poses.is_file():
            read_poses(args.poses, world2cam=args.pose_convention != "c2w")
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"--{source}: {str(error).split(': ', 1)[-1]}") from None


def find_path_source(args: argparse.Namespace) -> str:
    """Find out where the camera path comes from.

    Args:
        args: the parsed options.

    Returns:
        A move of ``--trajectory``, or ``"poses"``, ``"cameras"``, ``"actions"``, ``"worldscore"`` or ``"geometry"``.

    Raises:
        DataError: two options select a path, or an option has no effect on the path that is selected.
    """
    selected = [
        name for name in ("poses", "cameras", "actions", "worldscore", "trajectory") if getattr(args, name) is not None
    ]
    if len(selected) > 1:
        raise DataError(f"--{selected[0]}: expected one camera path, got --{selected[1]} as well")
    source = selected[0] if selected else "scene" if args.scene else "geometry" if args.geometry else "orbit"
    source = str(args.trajectory) if source == "trajectory" else source
    for name, sources in _USED_BY.items():
        if getattr(args, name) is not None and source not in sources:
            option = name.replace("_", "-")
            raise DataError(f"--{option}: expected one of the paths {', '.join(sources)}, got {source}")
    for name in ("amount", "radius", "step", "turn", "path_scale"):
        value = getattr(args, name)
        option, positive = name.replace("_", "-"), name != "amount"
        if value is not None and not (abs(value) < MAX_DISTANCE and (value > 0 or not positive)):
            limit = f", below {MAX_DISTANCE:g}" if abs(value) >= MAX_DISTANCE else ""
            expected = ("a number above 0" if positive else "a finite number") + limit
            raise DataError(f"--{option}: expected {expected}, got {value:g}")
    return source


def needs_file_intrinsics(args: argparse.Namespace) -> bool:
    """Whether the image takes its intrinsics from the file of ``--cameras``, because no other option sets them."""
    return bool(args.cameras and args.image and not args.intrinsics and args.fov is None and not args.geometry)


def read_start_cameras(args: argparse.Namespace, size: tuple[int, int]) -> Cameras:
    """Read the path of ``--cameras`` with the file's intrinsics, moved so that the first camera is at the origin.

    Args:
        args: the parsed options.
        size: (H, W) of the image.

    Raises:
        DataError: the file is missing, damaged, or has no intrinsics.
    """
    return rebase(read_cameras(args.cameras, size, integer_centers=args.integer_centers))


def plan_path(args: argparse.Namespace, scene: Scene, *, is_guessed: bool = False) -> Cameras:
    """Make the cameras of a video.

    Args:
        args: the parsed options.
        scene: the start of the video.
        is_guessed: whether the scene's depth is guessed; then the default moves are small.

    Returns:
        One camera per frame, the image's first. A path from a file or from actions is cut to 4 N + 1 frames.

    Raises:
        DataError: a file is missing or damaged, or has too few cameras for ``--frames``; or the path is none, or leaves
            the range of numbers.
    """
    try:
        return _plan_path(args, scene, is_guessed)
    except DataError:
        raise
    except ValueError as error:
        source = find_path_source(args)
        option = f"--{'trajectory' if source in MOVES else source}"
        if "expected finite" in str(error):
            expected = "finite camera poses; use a smaller --amount, --radius, --step or --path-scale"
            raise DataError(f"{option}: expected {expected}, got one that is not") from None
        raise DataError(f"{option}: {str(error).split(': ', 1)[-1]}") from None


def _plan_path(args: argparse.Namespace, scene: Scene, is_guessed: bool) -> Cameras:
    source, start = find_path_source(args), scene.keys[0]
    if source == "geometry":
        return _trim(args, args.geometry, _scale(args, scene.keys))
    if source in _FILES:
        cameras = _trim(args, getattr(args, source), _scale(args, _read_cameras(args, source, scene)))
        note_pose_convention(args, getattr(args, source))
        return cameras
    if source == "actions":
        controller = CameraController(
            start, step=STEP if args.step is None else args.step, turn=TURN if args.turn is None else args.turn
        )
        return _trim(args, "--actions", Cameras.cat([start, controller.go(args.actions)]))
    frames = FRAMES if args.frames is None else args.frames
    if source == "worldscore":
        moves = len(args.worldscore)
        if (frames - 1) % moves:
            raise DataError(f"--frames: expected a multiple of {moves} (the number of moves) plus 1, got {frames}")
        speed = 1.0 if args.amount is None else args.amount
        return worldscore_path(start, args.worldscore, (frames - 1) // moves + 1, speed=speed)
    amount = args.amount
    if amount is None and source in AMOUNTS:
        amount = AMOUNTS[source] * (GUESSED_AMOUNT if is_guessed else 1)
    return _move(args, source, scene, straight(frames) if args.one_way else out_and_back(frames), amount)


def note_pose_convention(args: argparse.Namespace, path: Path) -> None:
    """Print how the poses of a text file were read, unless ``--pose-convention`` was given."""
    if args.pose_convention is None and has_poses_alone(path):
        note(f"{path}: poses are read as world-to-camera; with --pose-convention c2w, as camera-to-world")


def _read_cameras(args: argparse.Namespace, source: str, scene: Scene) -> Cameras:
    """Read the path of ``--cameras`` or ``--poses``, moved so that it starts at the image's camera."""
    start = scene.keys[0]
    if source == "cameras" and needs_file_intrinsics(args):
        return scene.keys
    world2cam = args.pose_convention != "c2w"
    if source == "poses":
        poses = read_poses(args.poses, world2cam=world2cam)
        return rebase(Cameras(start.intrinsics[0], poses, start.size), start)
    cameras = read_cameras(args.cameras, start.size, intrinsics=start.intrinsics[0], world2cam=world2cam)
    return rebase(cameras, start)


def _scale(args: argparse.Namespace, cameras: Cameras) -> Cameras:
    """Multiply the distances from the first camera by ``--path-scale``."""
    if args.path_scale is None:
        return cameras
    poses = cameras.cam2world.double()
    poses[:, :3, 3] = poses[0, :3, 3] + args.path_scale * (poses[:, :3, 3] - poses[0, :3, 3])
    return Cameras(cameras.intrinsics, poses, cameras.size)


def _trim(args: argparse.Namespace, name: object, cameras: Cameras) -> Cameras:
    """The first ``--frames`` cameras; without that option, the largest 4 N + 1 of them."""
    minimum = 5 if args.frames is None else args.frames
    if minimum > len(cameras):
        raise DataError(f"{name}: expected at least {minimum} poses for {minimum} frames, got {len(cameras)}")
    frames = args.frames or (len(cameras) - 1) // 4 * 4 + 1
    if args.frames is None and frames < len(cameras):
        note(f"{name}: using the first {frames} of {len(cameras)} cameras (frames must be 4 N + 1)")
    return cameras[:frames]


def _move(args: argparse.Namespace, move: str, scene: Scene, along: Tensor, amount: float) -> Cameras:
    if move == "scene":
        if not args.scene:
            raise DataError("--trajectory scene: expected --scene, got none")
        return through(scene.keys, along)
    start = scene.keys[0]
    if move in ("orbit", "spiral"):
        valid = scene.depth[(scene.depth > 0) & scene.depth.isfinite()]
        if args.radius is None and valid.numel() == 0:
            raise DataError(f"--radius: expected a number, because an {move} needs one and the image has no depth")
        radius = valid.median().item() if args.radius is None else args.radius
        return (orbit if move == "orbit" else spiral)(start, along, amount, radius)
    return {"dolly": dolly, "pan": pan, "truck": truck}[move](start, along, amount)
