# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the evaluations of clips: which clips, at which size, and where results go."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..errors import DataError
from ..training.clips import ClipSource, SourceOptions, open_sources
from .memory_options import load_depth_model

__all__ = ["add_clip_options", "check_clip_options", "describe_clips", "open_clips"]


def add_clip_options(parser: argparse.ArgumentParser, *, out: str, size: tuple[int, int], frames: int) -> None:
    """Add the options, but for ``--depth-model``.

    Args:
        parser: the parser.
        out: default of ``--out``.
        size: default (H, W).
        frames: default of ``--frames``.
    """
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="procedural:FIRST-LAST for procedural scenes of these seeds; realestate10k:PATH for camera files, with "
        "--videos, and --depth-model unless depth maps lie beside the frames; or the folder or file of a recording, "
        "with @FIRST-LAST for some of its frames",
    )
    parser.add_argument("--out", type=Path, default=Path(out), metavar="FOLDER", help=f"for results (default: {out})")
    parser.add_argument(
        "--shard", metavar="I/N", help="do every N-th clip, from the I-th on (default: as 'accelerate launch' or "
        "'torchrun' numbers its processes; else all)"
    )  # fmt: skip
    for name, default in zip(("height", "width"), size, strict=True):
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="PIXELS", help=f"{name} of the frames (default: {default})"
        )
    parser.add_argument("--frames", type=int, default=frames, metavar="N", help=f"frames of a clip (default: {frames})")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="take one frame of N of recordings (default: 1)"
    )
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="videos of realestate10k: (default: none)")


def check_clip_options(args: argparse.Namespace, step: int) -> None:
    """Check the options.

    Args:
        args: the options.
        step: height and width have to be multiples of it.

    Raises:
        DataError: one of them is out of range.
    """
    for name in ("frames", "every"):
        if getattr(args, name) < 1:
            raise DataError(f"--{name}: expected at least 1, got {getattr(args, name)}")
    for name in ("height", "width"):
        value = getattr(args, name)
        if not 0 < value <= 8192 or value % step:
            raise DataError(f"--{name}: expected a multiple of {step} up to 8192, got {value}")


def open_clips(args: argparse.Namespace, device: torch.device) -> dict[str, ClipSource]:
    """The sources of the clips, by the clips' names.

    Raises:
        DataError: there is no such source, or two clips have the same name.
    """
    estimator = None if args.depth_model is None else load_depth_model(args.depth_model, device)
    options = SourceOptions(
        args.frames, (args.height, args.width), videos=args.videos, estimator=estimator, every=args.every
    )
    found: dict[str, ClipSource] = {}
    for text in args.sources:
        for source in open_sources(text, options):
            for name in source.names:
                if name in found:
                    raise DataError(f"SOURCE: expected clips of different names, got {name} twice")
                found[name] = source
    return found


def describe_clips(sources: dict[str, ClipSource]) -> dict[str, list[object]]:
    """What the clips are made of, as JSON values."""
    return {name: list(getattr(source, "described", [source.origin])) for name, source in sources.items()}
