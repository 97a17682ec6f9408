# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A training run: its stages one after the other, each of which can be resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedType, broadcast_object_list

from mirage_kernels import atomic_write

from ..errors import DataError
from ..models.wan.conditioning import Conditioning
from .dataset import TrainingData
from .loop import StageTrainer
from .models import ADAPTER, BASE, export_stage, make_model
from .recipe import Recipe, StageName
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
    known = {str(name) for name in get_available_trackers()}
    if tracker is not None and tracker not in known:
        got = f"{tracker!r}, which is not installed or unknown"
        raise DataError(f"--tracker: expected one of {', '.join(sorted(known)) or 'none that is installed'}, got {got}")
    accelerator = Accelerator(mixed_precision=recipe.precision, log_with=tracker, project_dir=str(out), cpu=cpu)
    kind = accelerator.distributed_type
    is_sharded_by_fsdp1 = kind == DistributedType.FSDP and not accelerator.is_fsdp2
    if is_sharded_by_fsdp1 or kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM, DistributedType.XLA):
        got = "FSDP of version 1 (set fsdp_version: 2)" if is_sharded_by_fsdp1 else kind.value
        raise DataError(
            f"accelerate: expected one process, DDP or FSDP2, got {got}, whose checkpoints are not supported"
        )
    return accelerator


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    model: Path | None = None,
    adapter: Path | None = None,
    accelerator: Accelerator | None = None,
) -> dict[str, Any]:
    """Train the stages of a recipe. A run that was stopped goes on from its last checkpoint.

    Args:
        recipe: the recipe.
        data: folder of shards.
        out: folder of the run: a folder for each stage, with checkpoints, a log, pictures and the result.
        model: folder of the backbone in diffusers' layout, or of a pipeline with its autoencoder; not needed after the
            stage ``base``.
        adapter: file of an adapter to start from, or for the stage ``lora`` without the stage ``adapter``.
        accelerator: of :func:`make_accelerator`, by default.

    Returns:
        For each stage, its folder, its steps and the last loss.

    Raises:
        DataError: the data, the model or the folder do not fit.
    """
    accelerator = make_accelerator(recipe, out) if accelerator is None else accelerator
    samples = TrainingData(data, recipe.held_out)
    conditioning = find_conditioning(recipe, samples)
    if accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / RECIPE) as partial:
            partial.write_text(json.dumps(recipe.to_dict(), indent=1) + "\n")
    accelerator.init_trackers("mirage", config={"preset": recipe.preset, "seed": recipe.seed})
    results: dict[str, Any] = {}
    for stage in recipe.stages:
        results[stage] = _train_stage(stage, recipe, samples, conditioning, out, model, adapter, accelerator)
    accelerator.end_training()
    return results


def find_conditioning(recipe: Recipe, data: TrainingData) -> Conditioning:
    """What the result of a recipe is conditioned on, with what the data determines."""
    settings = data.settings["samples"]
    scales = settings["extent_scales"]
    default = Conditioning()
    is_normalized = recipe.normalize == "yes" or (recipe.normalize == "auto" and data.settings["codec"][:4] != "wan-")
    mean, std = data.statistics() if is_normalized else ((), ())
    found = recipe.conditioning(
        latents_mean=mean,
        latents_std=std,
        reference_threshold=settings["reference_threshold"],
        reference_voxel_size=settings["reference_voxel_size"],
        extent_scale=default.extent_scale if default.extent_scale in scales else max(scales),
    )
    most = {name: min(getattr(found, name), settings[name]) for name in ("num_references", "num_preceding")}
    return Conditioning.from_dict(found.to_dict() | most)


def _train_stage(
    stage: StageName,
    recipe: Recipe,
    data: TrainingData,
    conditioning: Conditioning,
    out: Path,
    model: Path | None,
    adapter: Path | None,
    accelerator: Accelerator,
) -> dict[str, Any]:
    folder = out / stage
    if _is_there(folder / FINISHED):
        finished: dict[str, Any] = json.loads((folder / FINISHED).read_text())
        return finished
    own_backbone, own_adapter = out / "base" / BASE, out / "adapter" / ADAPTER
    if "base" in recipe.stages or own_backbone.exists():
        model_of_stage: Path | None = own_backbone
    else:
        model_of_stage = model
    if stage == "lora" and ("adapter" in recipe.stages or own_adapter.exists()):
        adapter = own_adapter
    torch.manual_seed(recipe.seed)
    made = make_model(
        stage,
        recipe,
        data.settings["channels"],
        conditioning,
        model_of_stage,
        adapter,
        torch.bfloat16 if recipe.precision == "bf16" else torch.float32,
    )
    accelerator.gradient_accumulation_steps = recipe.stage(stage).accumulate
    accelerator.step = 0
    trainer = StageTrainer(accelerator, stage, recipe, data, made, folder)
    trainer.resume()
    trainer.train(Validation(data, open_codec(data.settings, model), folder / "validation"))
    weights = trainer.state.weights()
    result = {"stage": stage, "folder": str(folder), "steps": trainer.step, "waited": trainer.waited}
    if accelerator.is_main_process:
        export_stage(stage, trainer.model, weights, folder)
        with atomic_write(folder / FINISHED) as partial:
            partial.write_text(json.dumps(result) + "\n")
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return result


def _is_there(path: Path) -> bool:
    """Whether a file exists, as the main process sees it."""
    answer = [os.path.isfile(path)]
    broadcast_object_list(answer)
    return answer[0]
