# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the command line that say what a video starts from, and what they read."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from mirage_kernels import Cameras

from ..cameras import read_intrinsics
from ..data.geometry import read_geometry
from ..data.scenes import SCENES, Scene
from ..errors import DataError
from ..io.files import read_depth, read_image
from ..io.images import enlarge
from ..memory import LatentSpatialMemory
from ..models.embedded import push_pull
from ..rollout import Codec
from .path_options import picture_has_cameras, read_picture_cameras


def add_start_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("what to start from")
    source.add_argument("--scene", choices=sorted(SCENES), help="a scene at hand, instead of files")
    source.add_argument("--image", type=Path, help="a picture")
    source.add_argument(
        "--memory",
        type=Path,
        help="memory.safetensors of an earlier walk: go on in its world, from where it ended (or from a picture)",
    )
    source.add_argument(
        "--depth", type=Path, help="its depth: 16-bit PNG in millimetres, or .npy or .exr of floats in metres"
    )
    source.add_argument(
        "--intrinsics",
        type=Path,
        help="text file: a 3x3 matrix or fx fy cx cy, in pixels, or fx/W fy/H cx/W cy/H",
    )
    source.add_argument(
        "--geometry",
        type=Path,
        help="geometry.npz instead of these: its first frame is the picture (or --image, where it has none); goes "
        "through its cameras where nothing else is asked for",
    )
    source.add_argument(
        "--integer-centers",
        action="store_true",
        help="the calibration puts pixel centres on integers (OpenCV's habit): add half a pixel to cx and cy",
    )


def read_scene(args: argparse.Namespace) -> Scene:
    if args.scene:
        if args.image or args.depth or args.intrinsics or args.geometry:
            raise DataError("--scene: expected no --image, --depth, --intrinsics or --geometry with it")
        return SCENES[args.scene]()
    if args.geometry:
        return _read_geometry(args)
    instead = {"intrinsics": args.cameras, "depth": args.depth_model}
    for name in ("image", "depth", "intrinsics"):
        if getattr(args, name) is None and not instead.get(name):
            raise DataError(f"--{name}: expected a file (or use --scene or --memory), got none")
    image = read_image(args.image)
    size: tuple[int, int] = (image.shape[1], image.shape[2])
    depth = torch.zeros(size) if args.depth is None else read_depth(args.depth)
    if tuple(depth.shape) != size:
        raise DataError(f"{args.depth}: expected depth of the picture's size {size}, got {tuple(depth.shape)}")
    if picture_has_cameras(args):
        return Scene(image, depth, read_picture_cameras(args, size), {})
    k = read_intrinsics(args.intrinsics, size, integer_centers=args.integer_centers)
    return Scene(image, depth, Cameras(k, torch.eye(4), size), {})


def _read_geometry(args: argparse.Namespace) -> Scene:
    """The first frame of a geometry file; what its mask takes out has no depth, so that it is not remembered."""
    if args.depth or args.intrinsics:
        raise DataError("--geometry: expected no --depth or --intrinsics with it")
    geometry = read_geometry(args.geometry, integer_centers=args.integer_centers)
    depth = geometry.depths[0]
    if geometry.masks is not None:
        depth = torch.where(geometry.masks[0], depth, 0)
    if (geometry.frames is None) == (args.image is None):
        got = "none" if args.image is None else "both"
        raise DataError(f"{args.geometry}: expected a picture in it or by --image, got {got}")
    image = read_image(args.image) if geometry.frames is None else geometry.frames[0].float() / 255
    if image.shape[1:] != depth.shape:
        raise DataError(f"{args.image}: expected a picture of size {tuple(depth.shape)}, got {tuple(image.shape[1:])}")
    return Scene(image, depth, geometry.cameras, {})


def scene_in_memory(memory: LatentSpatialMemory, codec: Codec) -> Scene:
    """What an earlier walk saw last, as the memory shows it; depth is 0 where it shows nothing."""
    if memory.history.cameras is None:
        raise DataError("--memory: expected a world that something was seen of, got an empty one")
    camera = memory.history.cameras[-1]
    view, step = memory.read(camera), codec.spatial_stride
    image = codec.decode(push_pull(view.latents.movedim(1, 0), view.mask).movedim(0, 1)[None])[0, :, 0].cpu()
    depth = enlarge(torch.where(view.mask, view.depth, 0)[0], step).cpu()
    return Scene(image, depth, camera.to("cpu").rescale((image.shape[1], image.shape[2])), {})


def scale_scene(scene: Scene, args: argparse.Namespace, step: int) -> Scene:
    """The scene at the size that is asked for; else at its own, cut to whole steps."""
    if args.height is None and args.width is None:
        return scene.trim(step)
    size = (args.height or scene.depth.shape[0], args.width or scene.depth.shape[1])
    if any(side % step for side in size):
        raise DataError(f"--height, --width: expected multiples of {step}, got {size[0]} and {size[1]}")
    return scene.rescale(size)
