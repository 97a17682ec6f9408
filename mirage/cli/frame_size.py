# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the size of the frames, and how an image of another size is brought to it."""

from __future__ import annotations

import argparse
import math
from typing import NamedTuple

from ..data.scenes import Scene
from ..errors import DataError
from .messages import note
from .model_options import MAX_DEFAULT_SIDE, SMALL_SIDE

MAX_SIDE = 8192  # pixels, of frames
MAX_ASPECT = 32  # of frames; previews and contact sheets of longer ones show nothing
FITS = ("crop", "pad", "squash")
_MIN_NOTED_CUT = (8, 0.02)  # pixels of the frames, and share of a side, above which a cut is noted

Size = tuple[int, int]


class FrameSize(NamedTuple):
    """The size of the frames.

    Attributes:
        size: (H, W).
        is_scaled: whether the image is scaled to it; otherwise pixels are cut or added to get multiples of a step.
    """

    size: Size
    is_scaled: bool


def add_size_options(group: argparse._ArgumentGroup) -> None:
    """Add ``--height``, ``--width`` and ``--fit`` to a group of options."""
    sides = f"{MAX_DEFAULT_SIDE} on its longer side, to {SMALL_SIDE} for small models"
    default = f"(default: the image's, scaled down to {sides})"
    group.add_argument(
        "--height", type=int, metavar="PIXELS", help=f"height of the frames; alone it keeps the aspect {default}"
    )
    group.add_argument(
        "--width", type=int, metavar="PIXELS", help=f"width of the frames; alone it keeps the aspect {default}"
    )
    group.add_argument(
        "--fit",
        choices=FITS,
        default="crop",
        help="what to do if the frames have another aspect than the image: cut the image, pad it by repeating its edge "
        "(the added pixels are kept out of the memory), or squash it (default: crop)",
    )


def check_size_options(args: argparse.Namespace) -> None:
    """Check ``--height`` and ``--width`` without reading any file.

    Raises:
        DataError: one is below 1 or above 8192.
    """
    for name in ("height", "width"):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= MAX_SIDE:
            raise DataError(f"--{name}: expected 1 to {MAX_SIDE} pixels, got {value}")


def expected_size(args: argparse.Namespace, size: Size) -> Size:
    """About the size that :func:`choose_size` will choose, for a choice of the step that depends on it.

    Args:
        args: the parsed options.
        size: (H, W) of the image.
    """
    height, width = args.height, args.width
    if height is None and width is None:
        scale = min(1.0, MAX_DEFAULT_SIDE / max(size))
    else:
        scale = height / size[0] if width is None else width / size[1]
    return height or max(round(size[0] * scale), 1), width or max(round(size[1] * scale), 1)


def check_aspect(size: Size, name: object) -> None:
    """Check that frames are not too long.

    Args:
        size: (H, W) of the frames.
        name: of the image, for messages.

    Raises:
        DataError: one side is more than 32 times the other.
    """
    if max(size) > MAX_ASPECT * min(size):
        expected = f"sides of frames that differ by a factor of at most {MAX_ASPECT}"
        raise DataError(f"--height, --width: expected {expected}, got {_wide(size)} pixels for {name}")


def choose_size(
    args: argparse.Namespace, size: Size, step: int, name: object, max_side: int = MAX_DEFAULT_SIDE
) -> FrameSize:
    """Choose the size of the frames.

    Args:
        args: the parsed options.
        size: (H, W) of the image.
        step: the height and width of frames are multiples of it.
        name: of the image, for messages.
        max_side: pixels; a larger image is scaled down to it unless a size is given.

    Raises:
        DataError: both sides are given and one is not a multiple of ``step``, or the image is too small or too long.
    """
    frames = _choose_size(args, size, step, name, max_side)
    check_aspect(frames.size, name)
    if max(frames.size) > max_side and max_side < MAX_DEFAULT_SIDE:
        note(f"{name}: frames of {_wide(frames.size)} pixels take longer and are not better, because the model was "
             f"trained with {max_side} pixels a side")  # fmt: skip
    return frames


def _choose_size(args: argparse.Namespace, size: Size, step: int, name: object, max_side: int) -> FrameSize:
    given = (args.height, args.width)
    if None not in given:
        if any(side % step for side in given):
            nearest = " and ".join(str(max(round(side / step), 1) * step) for side in given)
            got = f"{given[0]} and {given[1]} (nearest: {nearest})"
            raise DataError(f"--height, --width: expected multiples of {step}, got {got}")
        return FrameSize(given, True)
    if given == (None, None):
        scale = min(1.0, max_side / max(size))
        if scale == 1:
            return FrameSize(_multiples_near(size, step, args.fit, name), args.fit == "squash")
        target = tuple(max(round(side * scale / step), 1) * step for side in size)
        if args.fit != "squash" and max(target) > max_side:
            target = tuple(min(side, max_side // step * step) for side in target)
        note(
            f"{name}: {_wide(size)} pixels (width x height), frames of {_wide(target)}; --width or --height sets "
            "another size"
        )
        return FrameSize((target[0], target[1]), True)
    axis = 0 if args.width is None else 1
    wanted = given[axis]
    side = max(round(wanted / step), 1) * step
    if side != wanted:
        note(f"--{('height', 'width')[axis]}: {wanted} is rounded to {side}, a multiple of {step}")
    other = max(round(size[1 - axis] / size[axis] * side / step), 1) * step
    if other > MAX_SIDE:
        option = ("width", "height")[axis]
        raise DataError(f"--{option}: expected a number as well, because {name} is {_wide(size)} pixels; got none")
    return FrameSize((side, other) if axis == 0 else (other, side), True)


def _multiples_near(size: Size, step: int, fit: str, name: object) -> Size:
    """The size itself in multiples of ``step``: below if the image is cut, above if it is padded, else the nearest."""
    if fit == "crop":
        sides = [side // step for side in size]
        if not all(sides):
            raise DataError(
                f"{name}: expected at least {step}x{step} pixels, got {_wide(size)}; enlarge it with --height or "
                "--width, or use --fit pad"
            )
    else:
        sides = [-(-side // step) if fit == "pad" else max(round(side / step), 1) for side in size]
    return sides[0] * step, sides[1] * step


def _wide(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]}"


def size_before_fit(args: argparse.Namespace, size: Size, frames: FrameSize) -> Size:
    """The size (H, W) that the whole image is scaled to before it is cut or padded to that of the frames."""
    target = frames.size
    if not frames.is_scaled:
        return size
    if args.fit == "squash":
        return target
    scales = [wanted / side for wanted, side in zip(target, size, strict=True)]
    scale = max(scales) if args.fit == "crop" else min(scales)
    return max(math.ceil(size[0] * scale), 1), max(math.ceil(size[1] * scale), 1)


def fit_scene(scene: Scene, args: argparse.Namespace, frames: FrameSize, name: object) -> Scene:
    """Bring a scene to the size of the frames, as ``--fit`` says.

    Args:
        scene: of any size.
        args: the parsed options.
        frames: the size of the frames.
        name: of the image, for messages.

    Returns:
        The scene of that size. A note tells what more than a few pixels were cut, added or squashed.
    """
    size, target = (scene.depth.shape[0], scene.depth.shape[1]), frames.size
    if size == target:
        return scene
    scales = [wanted / side for wanted, side in zip(target, size, strict=True)]
    if args.fit == "squash":
        change = scales[1] / scales[0]
        if abs(math.log(change)) > _MIN_NOTED_CUT[1]:
            note(f"{name}: squashed to frames of {_wide(target)} pixels, {change:.3g} times as wide; see --fit")
        return scene.rescale(target)
    if args.fit == "pad":
        scale = min(scales) if frames.is_scaled else 1.0
        inner = tuple(min(max(round(side * scale), 1), limit) for side, limit in zip(size, target, strict=True))
        added = [limit - side for side, limit in zip(inner, target, strict=True)]
        if any(_is_noted(pixels, side) for pixels, side in zip(added, target, strict=True)):
            note(f"{name}: padded with {added[1]} columns and {added[0]} rows to frames of {_wide(target)} pixels")
        return scene.rescale((inner[0], inner[1])).pad(target)
    # The window is a whole number of pixels, so it can be of another aspect by a part of a pixel: the cameras follow.
    scale = max(scales) if frames.is_scaled else 1.0
    window = tuple(min(max(round(side / scale), 1), limit) for side, limit in zip(target, size, strict=True))
    cut = [side - kept for side, kept in zip(size, window, strict=True)]
    if any(_is_noted(pixels * scale, side * scale) for pixels, side in zip(cut, size, strict=True)):
        share = 1 - window[0] * window[1] / (size[0] * size[1])
        note(f"{name}: {share:.0%} of the image is cut to frames of {_wide(target)} pixels; see --fit")
    corner = (cut[0] // 2, cut[1] // 2) if frames.is_scaled else (0, 0)
    return scene.crop(*corner, (window[0], window[1])).rescale(target)


def _is_noted(pixels: float, side: float) -> bool:
    return pixels > _MIN_NOTED_CUT[0] and pixels > _MIN_NOTED_CUT[1] * side
