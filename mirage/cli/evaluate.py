# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage eval``: how consistent walks are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..evaluation.loop_scores import VARIANTS
from .evaluate_prediction import add_prediction_options, evaluate_prediction
from .generate import add_video_options
from .generate_list import add_list_options
from .memory_options import add_memory_options
from .model_options import add_model_options
from .path_options import add_path_options
from .recording_options import add_codec_options
from .start_options import add_start_options
from .view_options import add_view_options

_PARSER: Any = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
_DESCRIPTION = "Measure how well a video world model remembers what it has shown."
_EXAMPLES = """\
examples:
  Each has its own help:
    mirage eval closed-loop --help
    mirage eval novel-view --help
    mirage eval prediction --help
"""
_LOOP = """\
Walk along paths that leave and return, with the memory and without, and compare what is seen again with what was seen
before. Results of single walks are in OUT/samples, and finished walks are skipped; when all are there, summary.json,
summary.md and figures are written.
"""
_LOOP_EXAMPLES = """\
examples:
  The example scene, ten times around the same loop, with mirage-nano:
    mirage eval closed-loop --scene motorcycle --trajectory pan --frames 49 --laps 10 --model nano --out out/loops

  Many walks, in two processes:
    accelerate launch --multi_gpu --num_processes 2 --module mirage eval closed-loop --list walks.jsonl \\
        --model WAN --adapter FILE
"""
_VIEWS = """\
Fill memories with the frames of a clip that are some frames older than a target, and render them for the target's
camera: what they know, where it is, and how well it agrees. The memories differ from the first in one thing each.
Results of single clips are in OUT/samples, and finished clips are skipped; when all are there, summary.json,
summary.md and a figure are written.
"""
_VIEWS_EXAMPLES = """\
examples:
  All memories, on a recording and on procedural scenes, where the truth is exact:
    mirage eval novel-view kitchen/ procedural:0-3 --frames 129

  Colored points and latents, with Wan2.2's autoencoder:
    mirage eval novel-view kitchen/ --memories default colored --model WAN --height 704 --width 1280
"""
_PREDICTION = """\
Generate clips from their first frame and its depth along their own paths, and go back the same way: how well the frames
agree with the clip's, and the last one with the first. These are the two tables of RealEstate10K in papers on video
world models. Results of single clips are in OUT/samples, and finished clips are skipped; when all are there,
summary.json, summary.md and a figure are written.
"""
_PREDICTION_EXAMPLES = """\
examples:
  RealEstate10K, with local videos and estimated depth:
    mirage eval prediction realestate10k:cameras --videos videos --depth-model DEPTH --model WAN --adapter FILE \\
        --height 704 --width 1280 --compare memory none colored

  Procedural scenes, where the truth is exact, with mirage-nano:
    mirage eval prediction procedural:10000000-10000007 --model nano

  A model without cameras and memory, in the same table:
    mirage eval prediction kitchen/ --compare memory generator --generator COGVIDEOX --height 480 --width 720
"""


def add_eval(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "eval",
        help="measure how consistent walks are",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        **_PARSER,
    )
    parts = parser.add_subparsers(dest="part", required=True)
    _add_closed_loop(parts)
    _add_novel_view(parts)
    prediction = parts.add_parser(
        "prediction",
        help="generate clips from their first frames, and go back",
        description=_PREDICTION,
        epilog=_PREDICTION_EXAMPLES,
        **_PARSER,
    )
    add_prediction_options(prediction)
    prediction.set_defaults(run=evaluate_prediction)


def _add_closed_loop(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    loop = parts.add_parser(
        "closed-loop",
        help="leave, return, and compare",
        description=_LOOP,
        epilog=_LOOP_EXAMPLES,
        **_PARSER,
    )
    add_start_options(loop)
    add_path_options(loop)
    output = loop.add_argument_group("evaluation")
    output.add_argument(
        "--out", type=Path, default=Path("out/eval"), metavar="FOLDER", help="for results (default: out/eval)"
    )
    add_list_options(output, "walk")
    output.add_argument(
        "--compare",
        nargs="+",
        choices=VARIANTS,
        default=["memory", "none"],
        help="; ".join(f"'{name}': {text}" for name, text in VARIANTS.items()) + " (default: memory none)",
    )
    output.add_argument("--laps", type=int, default=1, metavar="N", help="walk the path so many times (default: 1)")
    output.add_argument(
        "--lpips", action="store_true", help="also compute LPIPS, whose weights torch downloads once (default: no)"
    )
    add_video_options(loop)
    add_memory_options(loop)
    add_model_options(loop)
    loop.set_defaults(run=_run_closed_loop)


def _add_novel_view(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    views = parts.add_parser(
        "novel-view",
        help="remember some frames, and look from where others were",
        description=_VIEWS,
        epilog=_VIEWS_EXAMPLES,
        **_PARSER,
    )
    add_view_options(views)
    add_codec_options(views)
    views.set_defaults(run=_run_novel_view)


def _run_novel_view(args: argparse.Namespace) -> str:
    from .evaluate_views import evaluate_views

    return evaluate_views(args)


def _run_closed_loop(args: argparse.Namespace) -> str:
    from .evaluate_loops import evaluate_loops

    if not 1 <= args.laps <= 1000:
        raise DataError(f"--laps: expected 1 to 1000, got {args.laps}")
    if len(set(args.compare)) < len(args.compare):
        raise DataError(f"--compare: expected different names, got {' '.join(args.compare)}")
    return evaluate_loops(args)
