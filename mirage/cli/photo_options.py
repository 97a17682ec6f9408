# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for one image: its depth and focal length, given, estimated, or guessed."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..cameras import centered_intrinsics, intrinsics_from_fov, read_intrinsics
from ..cameras.intrinsics import MAX_ASPECT_ERROR
from ..data.scenes import Scene
from ..depth import DepthEstimator, MemoryDepth, MonocularDepth
from ..errors import DataError
from ..geometry.grids import resize_depth, usable_depth, valid_depth
from ..io.files import read_depth, read_image
from ..io.photos import PhotoInfo
from ..memory import LatentSpatialMemory
from ..models.nano.depth import NanoDepth
from ..rollout import Codec
from .input_warnings import MAX_FOV, MIN_FOV, warn_about_depth, warn_about_intrinsics
from .messages import note, warn
from .path_options import needs_file_intrinsics, read_start_cameras

DEFAULT_FOV = 60.0  # degrees along the longer side of the image, if nothing is known about the camera
PHOTO_OPTIONS = ("depth", "intrinsics", "fov")
GUESSED = "guessed"  # in metrics.json
_GUESS = "guessed by a small network that knows rooms"

Size = tuple[int, int]


def add_photo_options(source: argparse._ArgumentGroup) -> None:
    """Add ``--image``, ``--depth``, ``--depth-scale``, ``--intrinsics`` and ``--fov`` to a group of options."""
    source.add_argument(
        "--image",
        type=Path,
        metavar="FILE",
        help="the image that the video starts from, in any usual format (HEIC needs pillow-heif), of at "
        "most 200 megapixels. It is turned upright as EXIF says; transparent pixels are composed on white "
        "(default: none)",
    )
    source.add_argument(
        "--depth",
        type=Path,
        metavar="FILE",
        help="depth map of the image: integers of 16 bits in millimeters (PNG, PGM, TIFF, .npy, .npz), or floats in "
        "meters (.npy, .npz, .exr, TIFF, PFM). One of another size is resized (default: estimated by --depth-model, "
        "else guessed by a small network that knows rooms)",
    )
    source.add_argument(
        "--depth-scale",
        type=float,
        metavar="METERS",
        help="meters per unit of --depth or --geometry (default: 0.001 for integers, 1 for floats)",
    )
    source.add_argument(
        "--intrinsics",
        metavar="FILE",
        help="intrinsics of the image's camera: fx,fy,cx,cy itself, in pixels of the upright image or as fractions "
        "fx/W, fy/H, cx/W, cy/H; or a file with these or a 3x3 matrix, as text, JSON or .npy (default: from --fov, "
        "from the file of --cameras, from EXIF, or as --depth-model predicts it)",
    )
    source.add_argument(
        "--fov",
        type=float,
        metavar="DEGREES",
        help=f"horizontal field of view of the image, instead of --intrinsics (default: {DEFAULT_FOV:g} degrees along "
        "the longer side, if nothing else tells the focal length)",
    )


def read_photo(
    args: argparse.Namespace,
    info: PhotoInfo,
    *,
    at_least: Size,
    estimator: DepthEstimator | None,
    use_memory: bool,
) -> tuple[Scene, dict[str, Any]]:
    """Read an image with its intrinsics and depth.

    Args:
        args: the parsed options.
        info: of the image.
        at_least: (H, W) that the image is needed in; a larger one is reduced while it is decoded.
        estimator: estimates the depth if there is no ``--depth``.
        use_memory: whether depth is taken from the memory if it is neither given nor estimated; see
            :func:`add_depth_of_memory`.

    Returns:
        The scene, not cut yet, and entries for ``metrics.json``. One note tells what was assumed.

    Raises:
        DataError: a file is missing or damaged.
    """
    image = read_image(args.image, at_least=at_least)
    size: Size = (image.shape[1], image.shape[2])
    keys, focal_source = _find_cameras(args, info)
    if keys is None and isinstance(estimator, MonocularDepth) and estimator.predicts_focal and not args.depth:
        both = _estimate_both(args, info, image, estimator)
        if both is not None:
            return both
    if keys is not None:
        warn_about_intrinsics(keys, _name_intrinsics(args))
    assumed = focal_source.startswith(("EXIF", "assumed"))
    if keys is None:
        keys = _cameras(centered_intrinsics(max(info.size) / (2 * math.tan(math.radians(DEFAULT_FOV / 2))), info.size),
                        info.size)  # fmt: skip
    scaled = keys.rescale(size)
    depth = _read_depth(args, info.size, size, may_be_invalid=estimator is not None or use_memory)
    source, from_memory = "file", False
    if depth is None and estimator is not None:
        depth, source = estimator(image[:, None], scaled[:1]).depth[0].cpu(), estimator.name
    elif depth is None and use_memory:
        depth, source, from_memory = torch.zeros(size, dtype=torch.float32, device="cpu"), "memory", True
    elif depth is None:
        depth, source = guess_photo_depth(image, scaled[:1]), GUESSED
    if source == GUESSED or assumed:
        _note_assumptions(args.image, keys, focal_source if assumed else "", source == GUESSED)
    scene = Scene(image, depth, scaled, {}, depth_from_memory=from_memory)
    return scene, {"image_depth": source, "focal_length": focal_source}


def guess_photo_depth(image: Tensor, camera: Cameras) -> Tensor:
    """The depth (H, W) of an image (3, H, W) of which nothing but the camera is known."""
    return NanoDepth.load()(image[:, None], camera).depth[0]


def _name_intrinsics(args: argparse.Namespace) -> str:
    return f"--intrinsics {args.intrinsics}" if args.intrinsics else str(args.cameras or args.image)


def _cameras(k: Tensor, size: Size) -> Cameras:
    return Cameras(k, torch.eye(4, dtype=torch.float32, device="cpu"), size)


def _find_cameras(args: argparse.Namespace, info: PhotoInfo) -> tuple[Cameras | None, str]:
    """The image's camera over its full size, or all of --cameras, and where the focal length comes from; None if
    nothing tells it."""
    size = info.size
    if needs_file_intrinsics(args):
        return read_start_cameras(args, size), "--cameras"
    if args.intrinsics:
        return _cameras(read_intrinsics(args.intrinsics, size, integer_centers=args.integer_centers), size), "file"
    if args.fov is not None:
        return _cameras(intrinsics_from_fov(args.fov, size), size), "--fov"
    if info.focal is not None:
        if info.exif_size and abs(math.log(info.exif_size[1] / info.exif_size[0] * size[0] / size[1])) > 0.02:
            warn(
                f"{args.image}: EXIF states {info.exif_size[1]} x {info.exif_size[0]} pixels, the image has "
                f"{size[1]} x {size[0]}: it was cut, and the focal length of EXIF may be wrong; see --fov"
            )
        return _cameras(centered_intrinsics(info.focal, size), size), info.focal_source
    return None, f"assumed: {DEFAULT_FOV:g} degrees along the longer side"


def _estimate_both(
    args: argparse.Namespace, info: PhotoInfo, image: Tensor, estimator: MonocularDepth
) -> tuple[Scene, dict[str, Any]] | None:
    """Take depth and focal length from a network that predicts both; None if its focal length is out of range."""
    size: Size = (image.shape[1], image.shape[2])
    depth = estimator(image[:, None]).depth[0].cpu()
    assert estimator.focal is not None
    focal = estimator.focal[0].item() * info.size[1] / size[1]
    angle = math.degrees(2 * math.atan(info.size[1] / (2 * focal)))
    if not MIN_FOV <= angle <= MAX_FOV:
        warn(f"{args.image}: {estimator.name} predicts a field of view of {angle:.3g} degrees, which is not used")
        return None
    keys = _cameras(centered_intrinsics(focal, info.size), info.size)
    _note_assumptions(args.image, keys, f"predicted by {estimator.name}", False)
    return Scene(image, depth, keys.rescale(size), {}), {
        "image_depth": estimator.name,
        "focal_length": estimator.name,
    }


def _read_depth(args: argparse.Namespace, full: Size, size: Size, *, may_be_invalid: bool) -> Tensor | None:
    """The depth of --depth at a size, None without one. Depth of another size than the image's is resized."""
    if args.depth is None:
        return None
    depth = usable_depth(read_depth(args.depth, scale=args.depth_scale))
    h, w = depth.shape
    if not valid_depth(depth).any():
        text = f"{args.depth}: expected a valid depth (above 0 and below 1e12) somewhere, got none in {w} x {h} pixels"
        if not may_be_invalid:
            raise DataError(f"{text}; without --depth, the depth is estimated by --depth-model or guessed")
        warn(text)
        return None
    if abs(math.log(w / h * full[0] / full[1])) > MAX_ASPECT_ERROR:
        warn(
            f"{args.depth}: {w} x {h} pixels are stretched to the image's aspect of {full[1]} x {full[0]}; does it "
            "belong to the image, and is it upright?"
        )
    elif (h, w) != full:
        note(f"{args.depth}: resized from {w} x {h} to the image's {full[1]} x {full[0]} pixels (nearest neighbor)")
    warn_about_depth(depth, str(args.depth))
    return resize_depth(depth[None], size)[0]


def _note_assumptions(name: object, keys: Cameras, focal_source: str, is_guessed: bool) -> None:
    parts = []
    if focal_source:
        focal, width = keys.intrinsics[0, 0, 0].item(), keys.size[1]
        angle = math.degrees(2 * math.atan(width / (2 * focal)))
        parts.append(
            f"focal length {focal:.0f} pixels, a horizontal field of view of {angle:.3g} degrees ({focal_source}; "
            "--intrinsics or --fov sets it)"
        )
    if is_guessed:
        parts.append(f"depth {_GUESS} (--depth or --depth-model gives a real one)")
    note(f"{name}: {'; '.join(parts)}")


def add_depth_of_memory(scene: Scene, memory: LatentSpatialMemory, codec: Codec, name: str) -> Scene:
    """Render the depth of an image from the memory; guess it if the memory shows nothing there.

    Args:
        scene: at the size of the frames.
        memory: with at least one point.
        codec: the codec of its latents.
        name: of the image, for messages.

    Returns:
        The scene with depth.
    """
    device = memory.cache.xyz.device
    estimate = MemoryDepth(memory, codec.spatial_stride)(scene.image[:, None].to(device), scene.keys[:1].to(device))
    if estimate.valid.any():
        note(f"{name}: depth rendered from the memory; --depth or --depth-model gives another")
        return scene._replace(depth=estimate.depth[0].cpu())
    note(f"{name}: depth {_GUESS}, because the memory shows nothing from its camera")
    return scene._replace(depth=guess_photo_depth(scene.image, scene.keys[:1]), depth_from_memory=False)
