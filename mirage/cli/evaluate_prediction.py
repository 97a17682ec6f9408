# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage eval prediction``: clips that a model generates from their first frames."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import DataError, first_line
from ..evaluation._studies import save_image
from ..evaluation.image_to_video import ImageToVideo
from ..evaluation.loop_scores import VARIANTS
from ..evaluation.novel_view import ViewedClip
from ..evaluation.prediction import GENERATOR, predict_clip
from ..evaluation.prediction_report import write_prediction_report
from ..evaluation.sample_results import SampleResults, has_scores
from ..training.clips import RealEstateClips
from .clip_options import add_clip_options, check_clip_options, open_clips
from .evaluate_loops import check_metrics, load_lpips, loop_model
from .generate_list import find_shard
from .launchers import default_device
from .memory_options import add_memory_options, load_memory_options
from .model_options import LoadedModel, add_model_options, check_model_options, load_model
from .run_options import pack_options
from .signals import raise_again

# Options that no result depends on, or that are described by the clips.
_UNUSED = ("device", "out", "shard", "sources", "videos", "frames", "every", "part", "run")


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_clip_options(parser, out="out/prediction", size=(256, 384), frames=49)
    parser.add_argument(
        "--compare",
        nargs="+",
        choices=[*VARIANTS, GENERATOR],
        default=["memory", "none"],
        metavar="NAME",
        help="; ".join(f"'{name}': {text}" for name, text in VARIANTS.items())
        + f"; '{GENERATOR}': that of --generator (default: memory none)",
    )
    parser.add_argument(
        "--generator", type=Path, metavar="FOLDER", help="image-to-video model without cameras and memory, in "
        "diffusers' layout: Wan2.1 or CogVideoX (default: none)"
    )  # fmt: skip
    parser.add_argument(
        "--generator-frames", type=int, default=49, metavar="N", help="frames that it generates at once (default: 49)"
    )
    parser.add_argument("--lpips", action="store_true", help="also compute LPIPS, whose weights torch downloads once "
                        "(default: no)")  # fmt: skip
    parser.add_argument("--chunk", type=int, metavar="N", help="frames of a chunk (default: as in mirage generate)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    add_memory_options(parser, mask=False)
    add_model_options(parser)


def evaluate_prediction(args: argparse.Namespace) -> str:
    """Evaluate the clips, and return a summary.

    Raises:
        DataError: an option is wrong, or a file is missing or damaged.
    """
    _check(args)
    shard = find_shard(args, listed=True)
    check_metrics()
    perceptual = load_lpips() if args.lpips else None
    model = load_model(args, (args.height, args.width))
    model = _set_chunk(args, model)
    sources, described = open_clips(args, model.device)
    memory = load_memory_options(args, model.device)
    generator = _load_generator(args)
    settings = {name: value for name, value in sorted(pack_options(args).items()) if name not in _UNUSED}
    results = SampleResults(args.out, settings, lambda result: has_scores(result, args.compare, frames=2))

    def evaluate(name: str) -> dict[str, Any]:
        clip = sources[name].read(name)
        numbers = clip.numbers or range(len(clip.frames))
        viewed = ViewedClip(name, clip.frames, clip.depth, clip.cameras, clip.exclude, numbers)
        try:
            scores, picture = predict_clip(
                loop_model(model), viewed, args.compare, generator=generator, prompt=args.prompt or clip.caption,
                seed=args.seed, perceptual=perceptual, on_chunk=raise_again, estimator=memory.estimator,
                filters=memory.filters,
            )  # fmt: skip
        except ValueError as error:
            raise DataError(first_line(error)) from None
        args.out.mkdir(parents=True, exist_ok=True)
        save_image(args.out / f"{name}.jpg", picture)
        return scores

    def report(found: dict[str, Any], failed: dict[str, str]) -> str:
        with_paper = any(isinstance(source, RealEstateClips) for source in sources.values())
        return write_prediction_report(args.out, found, results.settings, failed, with_paper=with_paper)

    return results.evaluate(described, evaluate, report, shard=shard, on_sample=raise_again)


def _check(args: argparse.Namespace) -> None:
    check_model_options(args)
    if len(set(args.compare)) < len(args.compare):
        raise DataError(f"--compare: expected different names, got {' '.join(args.compare)}")
    if (GENERATOR in args.compare) != (args.generator is not None):
        raise DataError(f"--generator: expected a folder together with --compare {GENERATOR}, got only one of them")
    if args.chunk is not None and args.chunk < 2:
        raise DataError(f"--chunk: expected at least 2, got {args.chunk}")
    if not 0 <= args.seed < 1 << 63:
        raise DataError(f"--seed: expected at least 0 and less than 2^63, got {args.seed}")


def _set_chunk(args: argparse.Namespace, model: LoadedModel) -> LoadedModel:
    """Check what the model has to do with, and set its chunk."""
    stride = model.codec.temporal_stride
    check_clip_options(args, model.codec.spatial_stride * model.chunk_model.patch)
    if args.frames <= stride:
        raise DataError(f"--frames: expected at least {stride + 1}, got {args.frames}")
    if args.chunk is None:
        return model
    if (args.chunk - 1) % stride:
        raise DataError(f"--chunk: expected a multiple of {stride} plus 1, got {args.chunk}")
    return model._replace(chunk=args.chunk)


def _load_generator(args: argparse.Namespace) -> ImageToVideo | None:
    if args.generator is None:
        return None
    options = {} if args.steps is None else {"num_inference_steps": args.steps}
    try:
        return ImageToVideo.load(args.generator, args.generator_frames, args.device or default_device(), **options)
    except ImportError as error:
        raise DataError(f"--generator: needs diffusers; install it with pip install 'mirage-kernels[wan]' "
                        f"({first_line(error)})") from None  # fmt: skip
    except ValueError as error:
        raise DataError(f"--generator-frames: {str(error).removeprefix('part: ')}") from None
