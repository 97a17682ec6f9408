# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where to go, on the command line: the options, and the cameras that they ask for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

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
from ..cameras.actions import STEP, TURN
from ..data.scenes import Scene
from ..errors import DataError

FRAMES = 97
AMOUNTS = {"orbit": 15.0, "dolly": 0.5, "pan": 20.0, "truck": 0.5, "spiral": 0.2}
MOVES = ("scene", *AMOUNTS)
_FILES = ("poses", "cameras")
# Which ways to go an option belongs to; with any other it would have no effect.
_BELONGS = {
    "amount": (*AMOUNTS, "worldscore"),
    "radius": ("orbit", "spiral"),
    "one_way": MOVES,
    "step": ("actions",),
    "turn": ("actions",),
    "poses_are": _FILES,
}


def add_path_options(parser: argparse.ArgumentParser) -> None:
    path = parser.add_argument_group("where to go")
    path.add_argument(
        "--trajectory",
        choices=MOVES,
        help="the move; 'scene' goes through the scene's own cameras (default with --scene)",
    )
    path.add_argument(
        "--amount",
        type=float,
        help="degrees of an orbit or pan (default 15, 20), metres of a dolly, truck or spiral (default 0.5, 0.5, 0.2), "
        "metres of WorldScore's unit (default 1)",
    )
    path.add_argument(
        "--radius", type=float, help="metres ahead of the point an orbit or spiral faces (default: median depth)"
    )
    path.add_argument("--one-way", action="store_true", default=None, help="do not come back")
    path.add_argument(
        "--actions",
        metavar="KEYS",
        help="walk by keys: 'w*16 l*24' is 16 frames ahead, 24 of turning right; w a s d steps, r f up and down, "
        "j l turns, i k looks up and down, w+l*8 both at once",
    )
    path.add_argument("--step", type=float, help=f"metres of a step, a frame (default {STEP:g})")
    path.add_argument("--turn", type=float, help=f"degrees of a turn, a frame (default {TURN:g})")
    path.add_argument(
        "--worldscore", nargs="+", metavar="MOVE", help=f"moves of that benchmark: {', '.join(WORLDSCORE_MOVES)}"
    )
    path.add_argument(
        "--cameras",
        type=Path,
        help="file of cameras: RealEstate10K, geometry.npz, WorldScore's JSON, cameras.json of a walk, or poses; the "
        "picture has the file's intrinsics where it is given none",
    )
    path.add_argument("--poses", type=Path, help="text file of camera poses, one a line, instead of a move")
    path.add_argument("--poses-are", choices=("w2c", "c2w"), help="what a text of poses holds (default: w2c)")


def way_to_go(args: argparse.Namespace) -> str:
    """The one way that was asked for: a move of --trajectory, or the option's name.

    Raises:
        DataError: where two were, or an option was given that belongs to another.
    """
    given = [
        name for name in ("poses", "cameras", "actions", "worldscore", "trajectory") if getattr(args, name) is not None
    ]
    if len(given) > 1:
        raise DataError(f"--{given[0]}: expected no --{given[1]} with it")
    way = given[0] if given else "scene" if args.scene else "geometry" if args.geometry else "orbit"
    way = str(args.trajectory) if way == "trajectory" else way
    for name, ways in _BELONGS.items():
        if getattr(args, name) is not None and way not in ways:
            option = name.replace("_", "-")
            raise DataError(f"--{option}: expected with {', '.join(ways)}, got it with {way}")
    return way


def picture_has_cameras(args: argparse.Namespace) -> bool:
    """Whether --cameras gives the picture's own intrinsics, because nothing else does."""
    return bool(args.cameras and args.image and not args.intrinsics and not args.geometry)


def read_picture_cameras(args: argparse.Namespace, size: tuple[int, int]) -> Cameras:
    """The path of --cameras with the file's intrinsics, over a picture of ``size`` whose camera is at the origin."""
    return rebase(read_cameras(args.cameras, size, integer_centers=args.integer_centers))


def plan_path(args: argparse.Namespace, scene: Scene) -> Cameras:
    """The cameras of every frame, 4 N + 1 of them where they come from a file or keys; the first is the picture's."""
    way, start = way_to_go(args), scene.keys[0]
    if way == "geometry":
        return _trim(args, args.geometry, scene.keys)
    if way in _FILES:
        return _trim(args, getattr(args, way), _cameras_of_file(args, way, scene))
    if way == "actions":
        walker = CameraController(
            start, step=STEP if args.step is None else args.step, turn=TURN if args.turn is None else args.turn
        )
        return _trim(args, "--actions", Cameras.cat([start, walker.go(args.actions)]))
    frames = FRAMES if args.frames is None else args.frames
    if way == "worldscore":
        moves = len(args.worldscore)
        if (frames - 1) % moves:
            raise DataError(f"--frames: expected one more than a multiple of {moves} moves, got {frames}")
        speed = 1.0 if args.amount is None else args.amount
        return worldscore_path(start, args.worldscore, (frames - 1) // moves + 1, speed=speed)
    return _move(args, way, scene, straight(frames) if args.one_way else out_and_back(frames))


def _cameras_of_file(args: argparse.Namespace, way: str, scene: Scene) -> Cameras:
    """The file's path, moved so that it begins at the picture's camera."""
    start = scene.keys[0]
    if way == "cameras" and picture_has_cameras(args):
        return scene.keys
    world2cam = args.poses_are != "c2w"
    if way == "poses":
        poses = read_poses(args.poses, world2cam=world2cam)
        return rebase(Cameras(start.intrinsics[0], poses, start.size), start)
    cameras = read_cameras(args.cameras, start.size, intrinsics=start.intrinsics[0], world2cam=world2cam)
    return rebase(cameras, start)


def _trim(args: argparse.Namespace, name: object, cameras: Cameras) -> Cameras:
    """As many cameras as --frames says, or else all of them down to 4 N + 1."""
    least = 5 if args.frames is None else args.frames
    if least > len(cameras):
        raise DataError(f"{name}: expected at least {least} poses for {least} frames, got {len(cameras)}")
    frames = args.frames or (len(cameras) - 1) // 4 * 4 + 1
    if args.frames is None and frames < len(cameras):
        print(f"mirage: note: {name}: {frames} frames of {len(cameras)}, because 4 N + 1 are needed", file=sys.stderr)
    return cameras[:frames]


def _move(args: argparse.Namespace, way: str, scene: Scene, along: Tensor) -> Cameras:
    if way == "scene":
        if not args.scene:
            raise DataError("--trajectory scene: expected --scene with it")
        return through(scene.keys, along)
    start, amount = scene.keys[0], AMOUNTS[way] if args.amount is None else args.amount
    if way in ("orbit", "spiral"):
        known = scene.depth[(scene.depth > 0) & scene.depth.isfinite()]
        if args.radius is None and known.numel() == 0:
            raise DataError("--radius: expected a number, because the depth map is empty")
        radius = known.median().item() if args.radius is None else args.radius
        return (orbit if way == "orbit" else spiral)(start, along, amount, radius)
    return {"dolly": dolly, "pan": pan, "truck": truck}[way](start, along, amount)
