# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage eval novel-view``: memories of some frames of a clip, rendered for others."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import DataError, first_line
from ..evaluation._studies import save_image
from ..evaluation.novel_view import ViewedClip, compare_views
from ..evaluation.sample_results import SampleResults, has_scores
from ..evaluation.view_report import OF_CLIP, write_view_report
from ..models.embedded import DctCodec
from .clip_options import check_clip_options, open_clips
from .generate_list import find_shard
from .model_options import EMBEDDED
from .recording_options import LoadedCodec, check_codec_options, load_codec
from .signals import raise_again

PICTURE = 2200  # pixels, width


def evaluate_views(args: argparse.Namespace) -> str:
    """Evaluate the clips, and return a summary.

    Raises:
        DataError: an option is wrong, or a file is missing or damaged.
    """
    _check(args)
    shard = find_shard(args, listed=True)
    codec = _load(args)
    sources, described = open_clips(args, codec.device)
    settings = {
        "apart": args.apart, "memories": args.memories, "codec": codec.codec.name, "size": [args.height, args.width],
        "frames": args.frames, "every": args.every,
    }  # fmt: skip
    results = SampleResults(args.out, settings, lambda result: has_scores(result, args.memories, OF_CLIP, frames=0))

    def evaluate(name: str) -> dict[str, Any]:
        clip = sources[name].read(name)
        numbers = clip.numbers or range(len(clip.frames))
        viewed = ViewedClip(name, clip.frames, clip.depth, clip.cameras, clip.exclude, numbers)
        try:
            scores, picture = compare_views(viewed, codec.codec, args.memories, apart=args.apart, on_frame=raise_again)
        except ValueError as error:
            raise DataError(first_line(error)) from None
        args.out.mkdir(parents=True, exist_ok=True)
        save_image(args.out / f"{name}.jpg", picture, PICTURE)
        return scores

    def report(found: dict[str, Any], failed: dict[str, str]) -> str:
        return write_view_report(args.out, found, results.settings, failed)

    return results.evaluate(described, evaluate, report, shard=shard, on_sample=raise_again)


def _check(args: argparse.Namespace) -> None:
    check_codec_options(args)
    if args.apart < 1:
        raise DataError(f"--apart: expected at least 1, got {args.apart}")
    if len(set(args.memories)) < len(args.memories):
        raise DataError(f"--memories: expected different names, got {' '.join(args.memories)}")


def _load(args: argparse.Namespace) -> LoadedCodec:
    """The codec; of frames, and not of videos, where it can be chosen."""
    loaded = load_codec(args, size=(args.height, args.width))
    if args.model == EMBEDDED:
        loaded = loaded._replace(codec=DctCodec(loaded.codec.spatial_stride, temporal_stride=1))
    check_clip_options(args, loaded.codec.spatial_stride)
    return loaded
