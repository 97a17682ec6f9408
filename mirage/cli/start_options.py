# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the start of a video: image, depth, intrinsics, or a saved memory."""

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
from ..models.embedded import DctCodec, fill_holes, push_pull
from ..rollout import Codec, read_memory
from .path_options import needs_file_intrinsics, read_start_cameras


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the start of a video to a parser."""
    source = parser.add_argument_group("input")
    source.add_argument("--image", type=Path, metavar="FILE", help="the image that the video starts from")
    source.add_argument(
        "--depth",
        type=Path,
        metavar="FILE",
        help="depth map of the image: 16-bit PNG in millimeters, or float .npy or .exr in meters",
    )
    source.add_argument(
        "--intrinsics",
        type=Path,
        metavar="FILE",
        help="text file with the intrinsics of the image's camera: a 3x3 matrix or fx fy cx cy, in pixels; or "
        "fx/W fy/H cx/W cy/H",
    )
    source.add_argument(
        "--geometry",
        type=Path,
        metavar="FILE",
        help="geometry.npz with depth and cameras, instead of --depth and --intrinsics. The video starts from its "
        "first frame (or from --image, if the file has no frames), and follows its cameras unless a path is given",
    )
    source.add_argument(
        "--scene", choices=sorted(SCENES), help="an example scene, instead of --image (needs scikit-image)"
    )
    source.add_argument(
        "--memory",
        type=Path,
        metavar="FILE",
        help="memory.safetensors of an earlier video: continue in the same scene, from its last camera or from --image",
    )
    source.add_argument(
        "--integer-centers",
        action="store_true",
        help="pixel centers have integer coordinates in the calibration, as in OpenCV: add half a pixel to cx and cy",
    )


def read_scene(args: argparse.Namespace) -> Scene:
    """Read the start of a video from the files that the options name.

    Args:
        args: the parsed options.

    Returns:
        The scene; its depth is 0 where no depth is known.

    Raises:
        DataError: options are missing or contradict each other, or a file is missing, damaged or of another size.
    """
    if args.scene:
        if args.image or args.depth or args.intrinsics or args.geometry:
            names = [name for name in ("image", "depth", "intrinsics", "geometry") if getattr(args, name)]
            raise DataError(f"--scene: expected no other input, got --{names[0]} as well")
        return SCENES[args.scene]()
    if args.geometry:
        return _read_geometry(args)
    alternatives = {"intrinsics": args.cameras, "depth": args.depth_model}
    for name in ("image", "depth", "intrinsics"):
        if getattr(args, name) is None and not alternatives.get(name):
            raise DataError(f"--{name}: expected a file (or use --scene or --memory), got none")
    image = read_image(args.image)
    size: tuple[int, int] = (image.shape[1], image.shape[2])
    depth = torch.zeros(size) if args.depth is None else read_depth(args.depth)
    if tuple(depth.shape) != size:
        raise DataError(f"{args.depth}: expected depth of the image's size {size}, got {tuple(depth.shape)}")
    if needs_file_intrinsics(args):
        return Scene(image, depth, read_start_cameras(args, size), {})
    k = read_intrinsics(args.intrinsics, size, integer_centers=args.integer_centers)
    return Scene(image, depth, Cameras(k, torch.eye(4), size), {})


def _read_geometry(args: argparse.Namespace) -> Scene:
    """Read the first frame of a geometry file. Masked pixels are not written to the memory."""
    if args.depth or args.intrinsics:
        other = "--depth" if args.depth else "--intrinsics"
        raise DataError(f"--geometry: expected no --depth or --intrinsics, got {other} as well")
    geometry = read_geometry(args.geometry, integer_centers=args.integer_centers)
    depth, exclude = geometry.depths[0], None if geometry.masks is None else ~geometry.masks[0]
    if (geometry.frames is None) == (args.image is None):
        got = "none" if args.image is None else "both"
        raise DataError(f"{args.geometry}: expected either frames in the file or --image, got {got}")
    image = read_image(args.image) if geometry.frames is None else geometry.frames[0].float() / 255
    if image.shape[1:] != depth.shape:
        raise DataError(f"{args.image}: expected an image of size {tuple(depth.shape)}, got {tuple(image.shape[1:])}")
    return Scene(image, depth, geometry.cameras, {}, exclude)


def scene_from_memory(memory: LatentSpatialMemory, codec: Codec) -> Scene:
    """Render a memory from the last camera of the video that wrote it.

    Args:
        memory: with at least one frame in its history.
        codec: the codec of its latents.

    Returns:
        The scene at the codec's full resolution. Holes are filled in the image, and have a depth of 0.

    Raises:
        DataError: no frame was ever written to the memory.
    """
    if memory.history.cameras is None:
        raise DataError("--memory: the file has no frames")
    camera = memory.history.cameras[-1]
    view, step = read_memory(memory, camera, codec), codec.spatial_stride
    if isinstance(codec, DctCodec):
        latents = fill_holes(view.latents, view.mask)
    else:
        latents = push_pull(view.latents.movedim(1, 0), view.mask).movedim(0, 1)
    image = codec.decode(latents[None])[0, :, 0].cpu()
    depth = enlarge(torch.where(view.mask, view.depth, 0)[0], step).cpu()
    return Scene(image, depth, camera.to("cpu").rescale((image.shape[1], image.shape[2])), {})


def scale_scene(scene: Scene, args: argparse.Namespace, step: int) -> Scene:
    """Scale a scene to ``--height`` and ``--width``.

    Args:
        scene: to scale.
        args: the parsed options.
        step: the height and width must be multiples of it.

    Returns:
        The scaled scene; without the two options, the scene cropped to multiples of ``step``.

    Raises:
        DataError: the height or width is not a multiple of ``step``.
    """
    if args.height is None and args.width is None:
        return scene.trim(step)
    size = (args.height or scene.depth.shape[0], args.width or scene.depth.shape[1])
    if any(side % step for side in size):
        raise DataError(f"--height, --width: expected multiples of {step}, got {size[0]} and {size[1]}")
    return scene.rescale(size)
