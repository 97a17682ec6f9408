# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the start of a video: image, depth, intrinsics, or a saved memory."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..cameras.intrinsics import MAX_ASPECT_ERROR
from ..data.geometry import read_geometry
from ..data.scenes import SCENES, Scene
from ..depth import DepthEstimator
from ..errors import DataError
from ..geometry.grids import resize_depth, usable_depth, valid_depth
from ..io.files import read_image
from ..io.images import enlarge
from ..io.photos import PhotoInfo, read_photo_info
from ..memory import LatentSpatialMemory
from ..rollout import Codec
from .frame_size import FrameSize, check_size_options, choose_size, expected_size, fit_scene, size_before_fit
from .input_warnings import MAX_FOV, MIN_FOV, warn_about_depth, warn_about_exclusion, warn_about_intrinsics
from .memory_options import read_exclusion
from .messages import assign, note
from .model_options import MAX_DEFAULT_SIDE
from .photo_options import PHOTO_OPTIONS, add_depth_of_memory, add_photo_options, read_photo

_NUMBERS = re.compile(r"[\d\s.,;+\-eE\[\]()]*")


class Start(NamedTuple):
    """The start of a video.

    Attributes:
        scene: at the size of the frames.
        settings: entries for ``metrics.json``: where the depth and the focal length come from.
    """

    scene: Scene
    settings: dict[str, Any]


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the start of a video to a parser."""
    source = parser.add_argument_group("input", "One of --image, --scene, --geometry and --memory is needed.")
    add_photo_options(source)
    source.add_argument(
        "--geometry",
        type=Path,
        metavar="FILE",
        help="geometry.npz with depth and cameras, instead of --depth and --intrinsics. The video starts from its "
        "first frame (or from --image, if the file has no frames), and follows its cameras unless a path is given "
        "(default: none)",
    )
    source.add_argument(
        "--scene",
        choices=sorted(SCENES),
        help="an example scene, instead of --image; needs scikit-image (default: none)",
    )
    source.add_argument(
        "--memory",
        type=Path,
        metavar="FILE",
        help="memory.safetensors of an earlier video: continue in the same scene, from its last camera or from --image "
        "(default: none)",
    )
    source.add_argument(
        "--integer-centers",
        action="store_true",
        help="pixel centers have integer coordinates in the calibration, as in OpenCV: add half a pixel to cx and cy "
        "(default: they are at half pixels)",
    )


def check_start_options(args: argparse.Namespace) -> None:
    """Check the options for the start of a video without decoding any file.

    Args:
        args: the parsed options.

    Raises:
        DataError: options are missing, out of range or contradict each other, or a file does not exist.
    """
    check_size_options(args)
    if args.fov is not None and not MIN_FOV <= args.fov <= MAX_FOV:
        raise DataError(f"--fov: expected {MIN_FOV:g} to {MAX_FOV:g} degrees, got {args.fov:g}")
    if args.depth_scale is not None and not (args.depth_scale > 0 and math.isfinite(args.depth_scale)):
        raise DataError(f"--depth-scale: expected a number above 0, got {args.depth_scale:g}")
    if args.intrinsics and args.fov is not None:
        raise DataError("--fov: expected no --intrinsics, got both")
    if args.depth_scale is not None and not (args.depth or args.geometry):
        raise DataError("--depth-scale: expected --depth or --geometry, got neither")
    _check_combinations(args)
    for name in ("image", "depth", "mask", "geometry", "memory", "cameras", "poses"):
        path = getattr(args, name)
        if path is not None and not path.exists():
            raise DataError(f"--{name}: expected a file, got {path}: no such file")
        if path is not None and path.is_dir():
            raise DataError(f"--{name}: expected a file, got {path}: a folder")
    if args.intrinsics and not Path(args.intrinsics).exists() and not _NUMBERS.fullmatch(args.intrinsics):
        raise DataError(f"--intrinsics: expected fx,fy,cx,cy or a file, got {args.intrinsics}: no such file")


def _check_combinations(args: argparse.Namespace) -> None:
    given = [name for name in PHOTO_OPTIONS if getattr(args, name) is not None]
    if args.scene:
        others = [*(["image"] if args.image else []), *given, *(["geometry"] if args.geometry else [])]
        if others:
            raise DataError(f"--scene: expected no other input, got --{others[0]} as well")
    elif args.geometry:
        if given:
            raise DataError(f"--geometry: expected no --depth, --intrinsics or --fov, got --{given[0]} as well")
    elif not args.image:
        if given:
            raise DataError(f"--{given[0]}: expected --image as well, got none")
        if not args.memory:
            raise DataError("--image: expected a file (or use --scene, --geometry or --memory), got none")


class Source(NamedTuple):
    """What a video starts from, before it is brought to the size of the frames.

    Attributes:
        name: for messages.
        photo: of ``--image``, which is not decoded yet; None for another source.
        scene: of ``--scene`` or ``--geometry``.
    """

    name: str
    photo: PhotoInfo | None = None
    scene: Scene | None = None

    def expected_size(self, args: argparse.Namespace) -> tuple[int, int] | None:
        """(H, W) of the frames before rounding; None for ``--memory``."""
        if self.photo is not None:
            return expected_size(args, self.photo.size)
        return None if self.scene is None else expected_size(args, self.scene.keys.size)


def find_source(args: argparse.Namespace) -> Source:
    """Find what the video starts from, and read what is not a photo.

    Raises:
        DataError: a file is missing, damaged or of another size.
    """
    if args.image and not args.geometry:
        return Source(str(args.image), photo=read_photo_info(args.image))
    if args.scene:
        return Source(f"--scene {args.scene}", scene=SCENES[args.scene]())
    if args.geometry:
        return Source(str(args.geometry), scene=_read_geometry(args))
    return Source("--memory")


def read_start(
    args: argparse.Namespace,
    source: Source,
    step: int,
    *,
    codec: Codec,
    memory: LatentSpatialMemory,
    estimator: DepthEstimator | None = None,
    max_side: int = MAX_DEFAULT_SIDE,
) -> Start:
    """Read the start of a video from the files that the options name, and bring it to the size of the frames.

    Args:
        args: the parsed options; :func:`check_start_options` has checked them.
        source: of :func:`find_source`.
        step: the height and width of frames are multiples of it.
        codec: the codec of the memory's latents.
        memory: the memory that is continued, or an empty one.
        estimator: the depth network of ``--depth-model``.
        max_side: pixels; a larger image is scaled down to it unless a size is given.

    Returns:
        The scene, whose depth is 0 where no depth is known, and settings. Notes tell what was assumed.

    Raises:
        DataError: a file is missing, damaged or of another size, or there is no depth at all.
    """
    settings: dict[str, Any] = {}
    name, info = source.name, source.photo
    if info is not None:
        target = _size_of_memory(args, memory, codec, step) or choose_size(args, info.size, step, name, max_side)
        scene, settings = read_photo(
            args,
            info,
            at_least=size_before_fit(args, info.size, target),
            estimator=estimator,
            use_memory=len(memory) > 0,
        )
    else:
        scene = scene_from_memory(memory, codec) if source.scene is None else source.scene
        target = _size_of_memory(args, memory, codec, step) or choose_size(args, scene.keys.size, step, name, max_side)
    size = (scene.image.shape[1], scene.image.shape[2])
    exclude = read_exclusion(args, size, None if info is None else info.size)
    if exclude is not None:
        scene = scene._replace(exclude=exclude if scene.exclude is None else exclude | scene.exclude)
    scene = fit_scene(scene, args, target, name)
    if scene.depth_from_memory and info is not None:
        scene = add_depth_of_memory(scene, memory, codec, name)
    if not valid_depth(scene.depth).any() and estimator is None and len(memory) == 0:
        raise DataError(f"{name}: expected a valid depth (above 0 and below 1e12) somewhere, got none")
    if args.mask:
        warn_about_exclusion(scene.depth, scene.exclude, f"--mask {args.mask}")
    return Start(scene, settings)


def _size_of_memory(args: argparse.Namespace, memory: LatentSpatialMemory, codec: Codec, step: int) -> FrameSize | None:
    """The size of a memory's earlier frames, which further ones must have; None for an empty memory."""
    if memory.history.cameras is None:
        return None
    height, width = (side * codec.spatial_stride for side in memory.history.cameras.size)
    for name, side in (("height", height), ("width", width)):
        given = getattr(args, name)
        if given is not None and given != side:
            raise DataError(f"--{name}: expected {side}, as the frames of {args.memory} have, got {given}")
        if side % step:
            raise DataError(
                f"--memory: expected frames whose {name} is a multiple of {step}, as this model needs, got {side} in "
                f"{args.memory}; mirage remember {assign('--model', args.model)} makes one"
            )
    return FrameSize((height, width), True)


def _read_geometry(args: argparse.Namespace) -> Scene:
    """Read the first frame of a geometry file. Masked pixels are not written to the memory."""
    geometry = read_geometry(args.geometry, integer_centers=args.integer_centers)
    depth = usable_depth(geometry.depths[0] * (1 if args.depth_scale is None else args.depth_scale))
    exclude = None if geometry.masks is None else ~geometry.masks[0]
    if (geometry.frames is None) == (args.image is None):
        got = "none" if args.image is None else "both"
        raise DataError(f"{args.geometry}: expected either frames in the file or --image, got {got}")
    size = (depth.shape[0], depth.shape[1])
    if valid_depth(depth).any():
        warn_about_depth(depth, str(args.geometry))
    warn_about_intrinsics(geometry.cameras, str(args.geometry))
    if geometry.frames is not None:
        return Scene(geometry.frames[0].float() / 255, depth, geometry.cameras, {}, exclude)
    image = read_image(args.image, at_least=size)
    scene = Scene(image, resize_depth(depth[None], (image.shape[1], image.shape[2]))[0], geometry.cameras, {})
    if image.shape[1:] != size:
        change_of_aspect = image.shape[2] / image.shape[1] * size[0] / size[1]
        if abs(math.log(change_of_aspect)) > MAX_ASPECT_ERROR:
            got = f"{image.shape[2]} x {image.shape[1]}"
            raise DataError(f"{args.image}: expected the aspect of the depth, {size[1]} x {size[0]} pixels, got {got}")
        note(f"{args.image}: resized to the size of the depth in {args.geometry}, {size[1]} x {size[0]} pixels")
    scene = scene._replace(keys=geometry.cameras.rescale((image.shape[1], image.shape[2]))).rescale(size)
    return scene._replace(exclude=exclude)


def scene_from_memory(memory: LatentSpatialMemory, codec: Codec) -> Scene:
    """The last frame that was written to a memory, with the depth that the memory renders from its camera.

    Args:
        memory: with at least one frame in its history.
        codec: the codec of its latents.

    Returns:
        The scene at the codec's full resolution; its depth is 0 where the memory renders nothing.

    Raises:
        DataError: no frame was ever written to the memory.
    """
    if memory.history.cameras is None:
        raise DataError("--memory: the file has no frames")
    camera = memory.history.cameras[-1]
    view, step = memory.read(camera, latents=False), codec.spatial_stride
    # The history has the frame as a whole; what the memory renders has holes, and rows of other frames.
    image = codec.decode(memory.history.latent(-1)[None, :, None].float())[0, :, 0].cpu()
    depth = enlarge(torch.where(view.mask, view.depth, 0)[0], step).cpu()
    keys = camera.to("cpu").rescale((image.shape[1], image.shape[2]))
    return Scene(image, depth, keys, {}, depth_from_memory=True)
