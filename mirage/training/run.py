# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A training run: its stages one after the other, each of which can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedType, LoggerType, broadcast_object_list

from mirage_kernels import atomic_write

from ..errors import DataError
from ..io.files import read_json
from ..models.wan.conditioning import Conditioning
from .dataset import TrainingData
from .loop import StageTrainer
from .models import ADAPTER, BASE, export_stage, keep_backbone, make_model
from .recipe import STAGES, Recipe, StageName
from .resume import describe_stage, find_difference
from .validation import Validation, open_codec

__all__ = ["make_accelerator", "train"]

FINISHED, RECIPE = "finished.json", "recipe.json"


def make_accelerator(recipe: Recipe, out: Path, tracker: str | None = None, *, cpu: bool = False) -> Accelerator:
    """Make the accelerator of a run. What ``accelerate launch`` has configured holds.

    Args:
        recipe: the recipe.
        out: folder of the run.
        tracker: name of a tracker of accelerate, such as ``"tensorboard"``.
        cpu: whether to train on the CPU although there is a GPU.

    Raises:
        DataError: the tracker is unknown or not installed, or ``accelerate launch`` has configured what checkpoints do
            not support.
    """
    if tracker is not None and tracker not in (kinds := [kind.value for kind in LoggerType if kind.value != "all"]):
        raise DataError(f"--tracker: expected one of {', '.join(sorted(kinds))}, got {tracker!r}")
    if tracker is not None and tracker not in map(str, get_available_trackers()):
        raise DataError(f"--tracker: {tracker} is not installed: pip install {tracker}")
    accelerator = Accelerator(mixed_precision=recipe.precision, log_with=tracker, project_dir=str(out), cpu=cpu)
    kind = accelerator.distributed_type
    is_sharded_by_fsdp1 = kind == DistributedType.FSDP and not accelerator.is_fsdp2
    if is_sharded_by_fsdp1 or kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM, DistributedType.XLA):
        got = "FSDP of version 1 (set fsdp_version: 2)" if is_sharded_by_fsdp1 else kind.value
        raise DataError(
            f"accelerate: expected one process, DDP or FSDP2, got {got}, whose checkpoints are not supported"
        )
    return accelerator


class Source(NamedTuple):
    """Files that a run begins with.

    Attributes:
        model: folder of the backbone in diffusers' layout, or of a pipeline with its autoencoder; not needed after the
            stage ``base``.
        adapter: an adapter to start from, or for the stage ``lora`` without the stage ``adapter``.
    """

    model: Path | None = None
    adapter: Path | None = None


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    model: Path | None = None,
    adapter: Path | None = None,
    accelerator: Accelerator | None = None,
    note: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train the stages of a recipe. A run that was stopped goes on from its last checkpoint.

    A stage that is finished is not trained again. If its recipe has more steps now, and no later stage has begun, it
    goes on.

    Args:
        recipe: the recipe.
        data: folder of shards.
        out: folder of the run: a folder for each stage, with checkpoints, a log, pictures and the result.
        model: folder of the backbone in diffusers' layout, or of a pipeline with its autoencoder; not needed after the
            stage ``base``.
        adapter: file of an adapter to start from, or for the stage ``lora`` without the stage ``adapter``.
        accelerator: of :func:`make_accelerator`, by default.
        note: called in the main process with what a user wants to know.
        should_stop: asked after every step.

    Returns:
        For each stage, its steps, and the fraction of the time that was spent waiting for data.

    Raises:
        DataError: the data, the model or the folder do not fit.
        TrainingStoppedError: ``should_stop`` returned True, and a checkpoint was written.
    """
    accelerator = make_accelerator(recipe, out) if accelerator is None else accelerator
    note = note if accelerator.is_main_process else lambda _: None
    samples = TrainingData(data, recipe.held_out)
    conditioning = find_conditioning(recipe, samples)
    finished = {stage: _find_finished(stage, recipe, samples, out, accelerator) for stage in recipe.stages}
    if accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / RECIPE) as partial:
            partial.write_text(json.dumps(recipe.to_dict(), indent=1) + "\n")
    note(samples.summary())
    accelerator.init_trackers("mirage", config={"preset": recipe.preset, "seed": recipe.seed})
    results: dict[str, Any] = {}
    source = Source(model, adapter)
    for stage in recipe.stages:
        done = finished[stage]
        if done is not None:
            note(f"{out / stage}: finished with {done['steps']} steps before")
            results[stage] = done
            continue
        results[stage] = _train_stage(stage, recipe, samples, conditioning, out, source, accelerator, note, should_stop)
    accelerator.end_training()
    return results


def _find_finished(
    stage: StageName, recipe: Recipe, data: TrainingData, out: Path, accelerator: Accelerator
) -> dict[str, Any] | None:
    """What a stage has left if it is finished; None if it has to be trained, or to go on.

    Raises:
        DataError: it was trained with another recipe or data, or cannot go on because a later stage has begun.
    """
    path = out / stage / FINISHED
    found: list[Any] = [path.is_file()]
    broadcast_object_list(found)
    if not found[0]:
        return None
    done: dict[str, Any] = read_finished(path)
    new = describe_stage(recipe, stage, accelerator.num_processes, data.fingerprint)
    difference = find_difference(done.get("recipe"), new)
    if difference is not None:
        raise DataError(f"{path}: expected a stage of this recipe and data, got {difference}; use another --out")
    if done["steps"] >= recipe.stage(stage).steps:
        return done
    later = STAGES[STAGES.index(stage) + 1 :]
    begun = next((name for name in later if (out / name).exists()), None)
    if begun is not None:
        expected = f"{done['steps']} {stage}.steps, because the stage {begun} has begun from them"
        raise DataError(f"{path}: expected {expected}, got {recipe.stage(stage).steps}; use another --out")
    return None


def read_finished(path: Path) -> dict[str, Any]:
    """Read what a finished stage has left.

    Raises:
        DataError: the file is damaged.
    """
    done = read_json(path, "the result of a stage")
    if not isinstance(done, dict) or not isinstance(done.get("steps"), int) or not isinstance(done.get("recipe"), dict):
        raise DataError(f"{path}: expected the result of a stage, got {str(done)[:60]}")
    return done


def find_conditioning(recipe: Recipe, data: TrainingData) -> Conditioning:
    """What the result of a recipe is conditioned on, with what the data determines."""
    settings = data.settings["samples"]
    scales = settings["extent_scales"]
    default = Conditioning()
    is_normalized = recipe.normalize == "yes" or (recipe.normalize == "auto" and data.settings["codec"][:4] != "wan-")
    mean, std = flatten(*data.statistics(), recipe.normalize_power) if is_normalized else ((), ())
    found = recipe.conditioning(
        codec=data.settings["codec"],
        temporal_stride=data.settings["temporal_stride"],
        num_targets=settings["targets"],
        latents_mean=mean,
        latents_std=std,
        reference_threshold=settings["reference_threshold"],
        reference_voxel_size=settings["reference_voxel_size"],
        extent_scale=default.extent_scale if default.extent_scale in scales else max(scales),
    )
    listed = [data.reader.listed[number] for number in data.training]
    most = {
        f"num_{name}": min(getattr(found, f"num_{name}"), max(sample[name] for sample in listed))
        for name in ("references", "preceding")
    }
    return Conditioning.from_dict(found.to_dict() | most)


def flatten(
    mean: tuple[float, ...], std: tuple[float, ...], power: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Normalize channels less the smaller ``power`` is: those of less variance keep some of it, and matter less.

    Args:
        mean, std: of each channel of the latents.
        power: 1 gives all channels a variance of 1; 0 divides all by the same number. The mean of their variances is 1.

    Returns:
        Mean and divisor of each channel.

    Example:
        >>> flatten((0.0, 1.0), (4.0, 1.0), 0.5)[1]
        (3.16..., 1.58...)
    """
    divisors = [value**power for value in std]
    variance = sum((value / divisor) ** 2 for value, divisor in zip(std, divisors, strict=True)) / len(std)
    return mean, tuple(divisor * variance**0.5 for divisor in divisors)


def check_adapter(path: Path, trained: Conditioning, new: Conditioning) -> None:
    """Check that LoRA is trained with the inputs that the adapter was trained with.

    Args:
        path: of the adapter.
        trained: what the adapter's file says.
        new: what follows from recipe and data.

    Raises:
        DataError: a value differs that the adapter cannot do without.
    """
    before, now = ({name: getattr(values, name) for name in _FIXED} for values in (trained, new))
    difference = find_difference(before, now)
    if difference is not None:
        raise DataError(f"{path}: expected an adapter that was trained as LoRA is to be, got {difference}")


_FIXED = ("mask", "flow_shift", "max_sequence_length", "codec", "temporal_stride", "prediction")


def check_pipeline(model: Path | None, data: TrainingData) -> None:
    """Check that a pipeline's backbone is for the latents of the shards.

    Raises:
        DataError: its codec is another one.
    """
    codec = data.settings["codec"]
    if model is not None and (model / "vae" / "config.json").is_file() and not codec.startswith("wan-"):
        raise DataError(f"--model: expected a backbone for latents of {codec!r}, got {model}, a pipeline with an "
                        "autoencoder; build the shards with --model too")  # fmt: skip


def adapter_is_ambiguous(recipe: Recipe, source: Source, own: Path) -> bool:
    """Whether the stage lora could take an adapter of this folder or another one."""
    if source.adapter is None or "adapter" in recipe.stages or not own.exists():
        return False
    return source.adapter.resolve() != own.resolve()


def _train_stage(
    stage: StageName,
    recipe: Recipe,
    data: TrainingData,
    conditioning: Conditioning,
    out: Path,
    source: Source,
    accelerator: Accelerator,
    note: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    folder = out / stage
    own_backbone, own_adapter = out / "base" / BASE, out / "adapter" / ADAPTER
    if stage == "lora" and adapter_is_ambiguous(recipe, source, own_adapter):
        raise DataError(
            f"--adapter: expected none, because {own_adapter} exists, got {source.adapter}; use another --out"
        )
    has_backbone = "base" in recipe.stages or (out / "base" / FINISHED).is_file()
    backbone = own_backbone if has_backbone else source.model
    adapter = source.adapter
    if stage == "lora" and ("adapter" in recipe.stages or own_adapter.exists()):
        adapter = own_adapter
    if stage != "base":
        note(f"{stage}: backbone {backbone}" + (f", adapter {adapter}" if adapter is not None else ""))
        if backbone != own_backbone:
            check_pipeline(backbone, data)
        conditioning = keep_backbone(backbone, conditioning)
    torch.manual_seed(recipe.seed)
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    made = make_model(stage, recipe, data.settings["channels"], conditioning, backbone, adapter, dtype)
    if stage == "lora" and adapter is not None:
        check_adapter(adapter, made.conditioning, conditioning)
    accelerator.gradient_accumulation_steps = recipe.stage(stage).accumulate
    accelerator.step = 0
    trainer = StageTrainer(accelerator, stage, recipe, data, made, folder)
    if stage == "lora" and adapter == own_adapter and (out / "adapter" / FINISHED).is_file():
        before = read_finished(out / "adapter" / FINISHED)["recipe"].get("backbone weights")
        if before != trainer.described["backbone weights"]:
            raise DataError(f"--model: expected the backbone that {own_adapter} was trained with, got {backbone}")
    trainer.resume()
    note(trainer.summary())
    trainer.train(Validation(data, open_codec(data.settings, source.model), folder / "validation"), should_stop)
    weights = trainer.state.weights()
    result = {"stage": stage, "steps": trainer.step, "waited": trainer.waited, "recipe": trainer.described}
    if accelerator.is_main_process:
        export_stage(stage, trainer.model, weights, folder)
        with atomic_write(folder / FINISHED) as partial:
            partial.write_text(json.dumps(result) + "\n")
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return result
