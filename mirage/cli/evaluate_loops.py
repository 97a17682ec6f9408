# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage eval closed-loop``: walks that return."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

from torch import Tensor

from ..errors import DataError, first_line
from ..evaluation._studies import save_image
from ..evaluation.loop_report import write_report
from ..evaluation.loop_scores import LoopModel, compare_walks
from ..evaluation.sample_results import SampleResults, has_scores
from ..evaluation.walks import WalkStart
from ..memory import LatentSpatialMemory
from .generate import add_line_options, check_walk
from .generate_list import check_inputs, find_shard
from .job_list import Job, read_jobs
from .memory_options import MemoryOptions, load_memory_options
from .messages import note
from .model_options import LoadedModel, reuse_model
from .path_options import plan_path
from .photo_options import GUESSED
from .run_options import describe_walk
from .signals import raise_again
from .start_options import find_source, read_start

# Options that no result depends on.


def evaluate_loops(args: argparse.Namespace) -> str:
    """Evaluate the walks, and return a summary.

    Raises:
        DataError: an option is wrong, or a file is missing or damaged.
    """
    shard = find_shard(args)
    if args.list is not None:
        check_inputs(args)
        jobs = {job.name: job for job in read_jobs(args.list, args, add_line_options)}
    else:
        jobs = {"walk": Job("walk", args)}
    for job in jobs.values():
        try:
            check_walk(job.args)
            if job.args.memory is not None:
                raise DataError("--memory: expected an image, a scene or a geometry file, got a memory")
        except DataError as error:
            raise DataError(f"{args.list}: {job.name}: {error}" if args.list else str(error)) from None
    check_metrics()
    perceptual = load_lpips() if args.lpips else None
    samples = {name: describe_walk(job.args, ("fps", "save_frames")) for name, job in jobs.items()}
    settings = {"laps": args.laps, "compare": args.compare, "lpips": args.lpips}
    results = SampleResults(args.out, settings, lambda result: has_scores(result, args.compare, laps=0, revisits=5))
    load = reuse_model()

    def evaluate(name: str) -> dict[str, Any]:
        job = jobs[name].args
        start, model, options = _open(job, load)
        try:
            scores, picture = compare_walks(
                loop_model(model), start, args.compare, laps=args.laps, perceptual=perceptual, on_chunk=raise_again,
                estimator=options.estimator, filters=options.filters,
            )  # fmt: skip
        except ValueError as error:
            raise DataError(f"{name}: {first_line(error)}") from None
        args.out.mkdir(parents=True, exist_ok=True)
        save_image(args.out / f"{name}.jpg", picture)
        return scores

    def report(found: dict[str, Any], failed: dict[str, str]) -> str:
        return write_report(args.out, found, results.settings, failed)

    return results.evaluate(samples, evaluate, report, shard=shard, on_sample=raise_again)


def check_metrics() -> None:
    """Check that the packages of the measures are installed; a note says what those that are optional would add.

    Raises:
        DataError: scikit-image is missing.
    """
    if importlib.util.find_spec("skimage") is None:
        raise DataError("mirage eval needs scikit-image; install it with pip install 'mirage-kernels[eval]'")
    if importlib.util.find_spec("piq") is None or importlib.util.find_spec("torchvision") is None:
        note("MS-SSIM, HaarPSI and GMSD are left out: they need piq, and a torchvision for the torch that is installed")


def loop_model(model: LoadedModel) -> LoopModel:
    """What walks with a model need."""
    chunk = (model.chunk - 1) // model.codec.temporal_stride + 1
    memory = {**model.memory_options, "device": model.device}
    return LoopModel(model.codec, model.chunk_model, model.session_options, memory, chunk)


def _open(args: argparse.Namespace, load: Any) -> tuple[WalkStart, LoadedModel, MemoryOptions]:
    """Read what a walk starts from, and load the model."""
    source = find_source(args)
    model: LoadedModel = load(args, source.expected_size(args))
    options = load_memory_options(args, model.device)
    if args.chunk is not None:
        model = model._replace(chunk=args.chunk)
    codec = model.codec
    empty = LatentSpatialMemory(codec.channels, device=model.device, codec=codec.name, **model.memory_options)
    step = codec.spatial_stride * model.chunk_model.patch
    begin = read_start(args, source, step, codec=codec, memory=empty, estimator=options.estimator,
                       max_side=model.max_side)  # fmt: skip
    cameras = plan_path(args, begin.scene, is_guessed=begin.settings.get("image_depth") == GUESSED)
    scene = begin.scene
    start = WalkStart("walk", scene.image, scene.depth, cameras, scene.exclude, args.prompt or "", args.seed)
    return start, model, options


def load_lpips() -> Any:
    """LPIPS of two images (Zhang et al. 2018).

    Raises:
        DataError: piq or its weights are missing.
    """
    try:
        import piq  # type: ignore[import-not-found, unused-ignore]

        network = piq.LPIPS()
    except Exception as error:  # of the network, of the disk, or of a package
        raise DataError(f"--lpips: expected piq and the weights of LPIPS, got none ({first_line(error)})") from None

    def distance(a: Tensor, b: Tensor) -> float:
        return float(network(a[None].float(), b[None].float()))

    return distance
