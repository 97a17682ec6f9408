# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the evaluations of clips: which clips, at which size, and where results go."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from ..evaluation.metrics import MIN_SIDE
from ..training.clips import (
    REALESTATE10K,
    ClipSource,
    RealEstateClips,
    SourceOptions,
    open_sources,
    parse_part_of_recording,
)
from .memory_options import load_depth_model
from .run_options import digest_path

__all__ = ["add_clip_options", "check_clip_options", "open_clips"]


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
        if not MIN_SIDE <= value <= 8192 or value % step:
            raise DataError(f"--{name}: expected a multiple of {step} from {MIN_SIDE} to 8192, got {value}")


def open_clips(args: argparse.Namespace, device: torch.device) -> tuple[dict[str, ClipSource], dict[str, Any]]:
    """Open the sources of the clips.

    Returns:
        The source of each clip by the clip's name, and what the clip is made of, as JSON values.

    Raises:
        DataError: there is no such source, or two clips have the same name.
    """
    estimator = None if args.depth_model is None else load_depth_model(args.depth_model, device)
    options = SourceOptions(
        args.frames, (args.height, args.width), videos=args.videos, estimator=estimator, every=args.every
    )
    found: dict[str, ClipSource] = {}
    described: dict[str, Any] = {}
    for text in args.sources:
        path, _ = parse_part_of_recording(text.removeprefix(REALESTATE10K))
        whole = [digest_path(path)] if path.exists() and not text.startswith(REALESTATE10K) else []
        for source in open_sources(text, options):
            for name in source.names:
                if name in found:
                    raise DataError(f"SOURCE: expected clips of different names, got {name} twice")
                found[name] = source
                # A recording is read as a whole; a clip of RealEstate10K stays what it is when others are added.
                own = map(digest_path, source.files(name)) if isinstance(source, RealEstateClips) else whole
                described[name] = [*getattr(source, "described", [source.origin]), *own]
    return found, described
