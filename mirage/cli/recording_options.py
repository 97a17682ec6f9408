# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the codec, the size and the frames of a recording or of rendered views."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import DataError, first_line
from ..models.embedded import DctCodec
from ..models.nano.files import NANO
from ..models.wan.presets import WAN
from ..rollout import Codec
from .frame_size import MAX_SIDE, check_aspect
from .launchers import default_device
from .model_options import DTYPES, EMBEDDED, MAX_BLOCK, SMALL_SIDE, is_small, missing_for

DEFAULT_BLOCK = 16
_PATCH = 2  # cells, of Wan's transformer, small ones included
_SLICE = re.compile(r"(-?[0-9]+)?:(-?[0-9]+)?(?::([0-9]+)?)?")
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class LoadedCodec(NamedTuple):
    """The codec that the options select.

    Attributes:
        codec: encodes frames to latents and decodes them.
        device: for the memory.
        settings: entries for ``report.json``.
        max_side: pixels; a larger recording is scaled down to it unless a size is given.
        patch: height and width of the latent grid are multiples of this number of cells, as the codec's model needs.
    """

    codec: Codec
    device: torch.device
    settings: dict[str, Any]
    max_side: int = MAX_SIDE
    patch: int = 1


def add_codec_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--block``, ``--dtype``, ``--device`` and ``--tiling`` to a parser."""
    group = parser.add_argument_group("codec")
    group.add_argument(
        "--model",
        default=EMBEDDED,
        metavar="FOLDER",
        help=f"'embedded' for the built-in codec, which needs no download; '{NANO}' for that of mirage-nano; or a "
        f"folder with Wan2.2 in diffusers' layout ({WAN}), of which only the autoencoder is loaded, or of a small "
        "model (default: embedded)",
    )
    group.add_argument(
        "--block",
        type=int,
        metavar="PIXELS",
        help="side of a latent cell of the embedded codec (default: by the size of the frames, or that of --memory)",
    )
    group.add_argument(
        "--dtype", choices=DTYPES, help="of Wan2.2's weights (default: bfloat16 on a GPU, float32 on a CPU)"
    )
    group.add_argument("--device", help="for Wan2.2, such as cuda, cuda:1 or cpu (default: cuda if available)")
    group.add_argument(
        "--tiling", action="store_true", default=None, help="encode and decode Wan2.2's frames in tiles, which needs "
        "less GPU memory (default: whole frames)"
    )  # fmt: skip


def check_codec_options(args: argparse.Namespace) -> None:
    """Check the options for the codec without reading any file.

    Raises:
        DataError: an option is out of range or has no effect on the selected model.
    """
    embedded = args.model == EMBEDDED
    cosine = embedded or is_small(args.model)
    for name in (*(("dtype", "device", "tiling") if cosine else ()), *(() if embedded else ("block",))):
        if getattr(args, name) is not None:
            expected = "--model embedded" if name == "block" else "--model FOLDER with Wan2.2"
            raise DataError(f"--{name}: expected {expected}, got --model {args.model}")
    if args.block is not None and not 4 <= args.block <= MAX_BLOCK:
        expected = "at least 4" if args.block < 4 else f"at most {MAX_BLOCK}"
        raise DataError(f"--block: expected {expected}, got {args.block}")


def memory_block(codec: str) -> int | None:
    """The block of the embedded codec with this name; None for another codec.

    Example:
        >>> memory_block("dct-8"), memory_block("wan-48-16")
        (8, None)
    """
    match = re.fullmatch(r"dct-([0-9]+)", codec)
    return int(match[1]) if match else None


def load_codec(
    args: argparse.Namespace, memory_codec: str | None = None, size: tuple[int, int] | None = None
) -> LoadedCodec:
    """Load the codec that the options select.

    Args:
        args: the parsed options.
        memory_codec: name of the codec of a memory. The embedded codec takes its block from it.
        size: (H, W) of the frames, if known, from which the embedded codec takes its block otherwise.

    Raises:
        DataError: weights are missing or damaged, a package is not installed, or the memory has latents of another
            codec.
    """
    if args.model == EMBEDDED:
        by_size = DEFAULT_BLOCK if size is None else DctCodec.for_size(size).spatial_stride
        block = args.block or memory_block(memory_codec or "") or by_size
        loaded = LoadedCodec(DctCodec(block), torch.device("cpu"), {"codec": f"dct-{block}", "block": block})
    elif is_small(args.model):
        loaded = _load_small(args)
    else:
        loaded = _load_wan(args)
    if memory_codec is not None and loaded.codec.name != memory_codec:
        way = "pass the --model FOLDER that it was made with" if memory_codec.startswith("wan") else "change --block"
        raise DataError(
            f"--memory: expected latents of codec {loaded.codec.name!r}, got latents of {memory_codec!r}; {way}"
        )
    return loaded


def _load_small(args: argparse.Namespace) -> LoadedCodec:
    try:
        from ..models.nano.model import load_small_codec
    except ImportError as error:
        raise missing_for(args.model, "diffusers and peft", error) from None
    try:
        codec = load_small_codec(args.model)
    except DataError as error:
        raise DataError(f"--model {args.model}: {error}") from None
    settings = {"codec": codec.name, "model": args.model}
    return LoadedCodec(codec, torch.device("cpu"), settings, SMALL_SIDE, _PATCH)


def _load_wan(args: argparse.Namespace) -> LoadedCodec:
    try:
        from diffusers import AutoencoderKLWan

        from ..models.wan.codec import WanCodec
    except ImportError as error:
        raise missing_for(args.model, "diffusers and transformers", error) from None
    folder = Path(args.model)
    if not (folder / "vae" / "config.json").is_file():
        raise DataError(
            f"--model: expected a folder with vae/config.json, got {args.model}; download the weights with "
            f"'hf download {WAN} --local-dir FOLDER' and pass that folder"
        )
    device = args.device or default_device()
    dtype = args.dtype or ("float32" if device == "cpu" else "bfloat16")
    try:
        vae = AutoencoderKLWan.from_pretrained(folder, subfolder="vae", torch_dtype=DTYPES[dtype]).to(device).eval()
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        raise DataError(f"--model {args.model}: {first_line(error)}") from None
    if args.tiling:
        vae.enable_tiling()
    codec = WanCodec(vae)
    settings = {"codec": codec.name, "model": args.model, "dtype": dtype}
    return LoadedCodec(codec, torch.device(device), settings, patch=_PATCH)


def add_size_options(group: Any, default: str) -> None:
    """Add ``--height`` and ``--width`` to an argument group.

    Args:
        group: of a parser.
        default: description of the size without the options.
    """
    group.add_argument("--height", type=int, metavar="PIXELS", help=f"height of the frames (default: {default})")
    group.add_argument(
        "--width",
        type=int,
        metavar="PIXELS",
        help="width of the frames; one of the two keeps the aspect, both crop around the center. They are rounded to "
        "multiples of the codec's cells (default: see --height)",
    )


def check_size_options(args: argparse.Namespace, step: int) -> None:
    """Check ``--height`` and ``--width``.

    Raises:
        DataError: one of them is below ``step``, or above 8192.
    """
    for name in ("height", "width"):
        value = getattr(args, name)
        if value is not None and value < step:
            raise DataError(f"--{name}: expected at least {step}, got {value}")
        if value is not None and value > MAX_SIDE:
            raise DataError(f"--{name}: expected at most {MAX_SIDE} pixels, got {value}")


def find_size(args: argparse.Namespace, size: tuple[int, int], step: int) -> tuple[int, int]:
    """Find the size of frames from ``--height`` and ``--width``.

    Args:
        args: the parsed options.
        size: (H, W) of the images.
        step: height and width become multiples of it.

    Returns:
        (H, W). Without the two options, the largest multiples that fit into the image; with one of them, the nearest
        multiples that keep the aspect; with both, the nearest multiples of the two.

    Raises:
        DataError: the image is smaller than ``step``, or the frames are too long.
    """
    height, width = args.height, args.width
    if height is None and width is None:
        if min(size) < step:
            raise DataError(f"image: expected at least {step}x{step} pixels, got {size}")
        return size[0] // step * step, size[1] // step * step
    height = size[0] * width / size[1] if height is None else height
    width = size[1] * args.height / size[0] if width is None else width
    result = max(step, round(height / step) * step), max(step, round(width / step) * step)
    check_aspect(result, "the recording or memory")
    return result


def pick_frames(text: str | None, count: int) -> list[int]:
    """Select frames of a recording.

    Args:
        text: ``"N"`` for N evenly spaced frames including the first and the last, or ``"START:STOP:STEP"`` as in
            Python, with parts that may be left out; None for all frames.
        count: frames of the recording.

    Returns:
        Their numbers in ascending order.

    Raises:
        DataError: the text is neither, or selects no frame.

    Example:
        >>> pick_frames("3", 9), pick_frames("4::2", 9), pick_frames("-2:", 9)
        ([0, 4, 8], [4, 6, 8], [7, 8])
    """
    if text is None:
        return list(range(count))
    match = _SLICE.fullmatch(text.strip())
    if match:
        start, stop, step = (None if part is None else int(part) for part in match.groups())
        numbers = list(range(count))[start:stop:step] if step != 0 else []
    elif text.strip().isdecimal():
        wanted = min(int(text), count)
        numbers = [round(n * (count - 1) / max(wanted - 1, 1)) for n in range(wanted)]
    else:
        raise DataError(f"--frames: expected a number or START:STOP:STEP, got {text!r}")
    if not numbers:
        raise DataError(f"--frames: expected to select frames of {count}, got {text!r}, which selects none")
    return numbers


def parse_part(option: str, text: str) -> tuple[int, int]:
    """Parse which part of the work a process does, such as ``"2/8"``.

    Args:
        option: name of the option, for the error.
        text: its value.

    Returns:
        The part, from 1, and the number of parts.

    Raises:
        DataError: the text is not one.

    Example:
        >>> parse_part("--part", "2/8")
        (2, 8)
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise DataError(f"{option}: expected I/N with I from 1 to N, got {text!r}")
    return int(found[1]), int(found[2])


def parse_bytes(option: str, text: str | None) -> int | None:
    """Parse a number of bytes, such as ``"500M"`` or ``"2G"`` (powers of 1024); None for None.

    Raises:
        DataError: the text is not one.

    Example:
        >>> parse_bytes("--max-bytes", "1.5K")
        1536
    """
    if text is None:
        return None
    match = _BYTES.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise DataError(f"{option}: expected a number of bytes, such as 500M or 2G, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])
