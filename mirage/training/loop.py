# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop of one stage, on accelerate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from tqdm import tqdm  # type: ignore[import-untyped]

from ..errors import DataError
from .batches import Batch, BatchPlan, SequenceDataset, load_batches, read_ahead
from .checkpoints import TrainingState, find_checkpoints, whole
from .dataset import TrainingData
from .fingerprints import sample_model
from .log import RunLog
from .objective import TrainingSequence, flow_matching_loss
from .recipe import Recipe, StageName, StageRecipe
from .resume import describe_stage, find_difference

__all__ = ["StageTrainer", "TrainingStoppedError", "make_optimizer", "rate_factor"]

CHECKPOINTS = "checkpoints"


class TrainingStoppedError(Exception):
    """Training was asked to stop, and has written a checkpoint.

    Args:
        stage: the stage.
        step: number of steps that were done.
    """

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(f"stopped after step {step} of the stage {stage}")


def rate_factor(step: int, recipe: StageRecipe) -> float:
    """Return the factor of the learning rate in a step.

    Example:
        >>> recipe = StageRecipe(steps=11, warmup=2, schedule="cosine")
        >>> [round(rate_factor(step, recipe), 3) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.587, 0.03]
    """
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    if recipe.schedule == "constant":
        return 1.0
    share = (step - recipe.warmup) / max(recipe.steps - recipe.warmup, 1)
    return 0.5 + 0.5 * math.cos(math.pi * min(share, 1.0))


def make_optimizer(parameters: list[nn.Parameter], recipe: StageRecipe) -> torch.optim.Optimizer:
    """Make the optimizer of a stage.

    Raises:
        DataError: bitsandbytes is needed and not installed.
    """
    options = {"lr": recipe.learning_rate, "betas": (recipe.beta1, recipe.beta2), "eps": recipe.epsilon,
               "weight_decay": recipe.weight_decay}  # fmt: skip
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **options)  # type: ignore[arg-type]
    try:
        import bitsandbytes  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise DataError("optimizer: adamw8bit needs bitsandbytes: pip install bitsandbytes") from None
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(parameters, **options)
    return optimizer


class StageTrainer:
    """Trains a model for one stage.

    Args:
        accelerator: places the model and synchronizes processes.
        stage: the stage.
        recipe: the recipe.
        data: the samples.
        model: the model of the stage; see :func:`mirage.training.models.make_model`.
        out: folder of the stage.

    Attributes:
        model: the model without what accelerate wraps it in.
        step: number of steps that were done.
        waited: fraction of the time since the first batch came that was spent waiting for data.
    """

    def __init__(
        self, accelerator: Accelerator, stage: StageName, recipe: Recipe, data: TrainingData, model: Any, out: Path
    ) -> None:
        self.accelerator, self.stage, self.recipe, self.data, self.out = accelerator, stage, recipe, data, out
        self.settings: StageRecipe = recipe.stage(stage)
        self.conditioning = model.conditioning
        self._weights = sample_model(model)
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad], self.settings)
        self._wrapped, self._optimizer = accelerator.prepare(model, optimizer)
        self.model = accelerator.unwrap_model(self._wrapped)
        by_name = dict(self.model.named_parameters())
        parameters = {name: by_name[name] for name in names}
        self.average: EMAModel | None = None
        if self.settings.ema:
            self.average = EMAModel(parameters.values(), decay=self.settings.ema)
        shadows = [] if self.average is None else self.average.shadow_params
        self.state = TrainingState(parameters, self._optimizer, shadows)
        self.step, self.waited = 0, 0.0
        self.log = RunLog(out / "log.jsonl", accelerator)
        self.dataset = self._make_dataset()
        self._white = self._make_white()

    @property
    def batch(self) -> int:
        """Samples of a step, in all processes."""
        processes: int = self.accelerator.num_processes
        return self.settings.batch_size * self.settings.accumulate * processes

    def summary(self) -> str:
        """What is trained, in a line."""
        trained = sum(parameter.numel() for parameter in self.state.parameters.values())
        total = sum(parameter.numel() for parameter in self.model.parameters())
        start = f"going on from step {self.step}" if self.step else "from the start"
        where = f"{self.accelerator.num_processes} x {self.accelerator.device.type}"
        return (
            f"{self.stage}: {trained / 1e6:.3g} of {total / 1e6:.3g} million weights, {self.batch} samples per step, "
            f"{where}, precision {self.recipe.precision}, {start}"
        )

    def _make_dataset(self) -> SequenceDataset:
        listed, numbers, seed = self.data.reader.listed, self.data.training, f"{self.recipe.seed}/{self.stage}"
        for name in ("references", "preceding"):
            low, most = getattr(self.settings, name)[0], max(listed[number][name] for number in numbers)
            if low > most:
                raise DataError(f"{self.stage}.{name}: expected at least {low}, got samples with at most {most}")
        plan = BatchPlan(listed, numbers, self.batch, seed, self.settings.references, self.settings.preceding)
        words, text_dim = self.recipe.max_sequence_length, self.model.config.text_dim
        return SequenceDataset(self.data, plan, self.recipe.objective, seed, words, text_dim)

    def _make_white(self) -> Tensor | None:
        """The latents of a white video on the device, once for all steps; None for a mask instead."""
        channels = self.model.config.control_channels - self.model.config.in_channels
        if channels == 1:
            return None
        white: Tensor = self.conditioning.normalize(self.data.white_latents())[:channels]
        return white.to(self.accelerator.device)

    def resume(self) -> bool:
        """Return to the last checkpoint.

        Returns:
            Whether there is one.

        Raises:
            DataError: it is damaged, or of another recipe.
        """
        found = find_checkpoints(self.out / CHECKPOINTS)
        if not found:
            self.log.keep_until(0)
            return False
        path = found[-1][1]
        settings = self.state.load(path, lambda stored: self._check(path, stored))
        self.step = settings["step"]
        if self.average is not None:
            self.average.optimization_step = self.step
        self.log.keep_until(self.step)
        return True

    def _check(self, path: Path, settings: dict[str, Any]) -> None:
        difference = find_difference(settings["recipe"], self.described)
        if difference is not None:
            raise DataError(f"{path}: expected a checkpoint of this run, got {difference}; use another --out")

    @property
    def described(self) -> dict[str, Any]:
        """What must be the same in a run that resumes this one."""
        described = describe_stage(self.recipe, self.stage, self.accelerator.num_processes, self.data.fingerprint)
        # The stage base trains the backbone, which begins with random weights.
        return described if self.stage == "base" else described | self._weights

    def loss(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch on the device of the model."""
        references, targets, preceding, view, mask, text, sigmas, noise = batch
        normalize = self.conditioning.normalize
        references, targets, preceding = normalize(references), normalize(targets), normalize(preceding)
        control = None
        if self.stage != "base":
            white = None if self._white is None else self._white[:, : view.shape[2]]
            control = self.conditioning.control(self.conditioning.normalize_view(view, mask), mask, white)
        sequence = TrainingSequence(references, targets, preceding, control, text)
        weights, known_weight = None, self.settings.known_weight
        if self.stage != "base" and known_weight < 1:
            weights = torch.where(mask[:, : targets.shape[2]], known_weight, 1.0)
        min_sigma = self.recipe.objective.min_sigma
        return flow_matching_loss(self._wrapped, sequence, sigmas, noise, min_sigma=min_sigma, weights=weights)

    def train(
        self,
        validate: Callable[[StageTrainer], dict[str, float]] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train up to the last step, with checkpoints on the way and at the end.

        Args:
            validate: called now and then; returns values for the log. All processes call it.
            should_stop: asked after every step. If one process is to stop, all of them do.

        Raises:
            DataError: a sample is damaged, or the loss is not finite any more.
            TrainingStoppedError: after the checkpoint, if it was to stop.
        """
        recipe, settings, accelerator = self.recipe, self.settings, self.accelerator
        loader = load_batches(
            self.dataset,
            range(self.step, settings.steps),
            batch_size=settings.batch_size,
            accumulate=settings.accumulate,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
            workers=recipe.workers,
            pin_memory=accelerator.device.type == "cuda",
        )
        started, waiting = 0.0, 0.0
        bar = tqdm(total=settings.steps, initial=self.step, desc=self.stage, unit="step",
                   disable=not accelerator.is_main_process)  # fmt: skip
        with bar, closing(read_ahead(loader)) if recipe.workers else nullcontext(iter(loader)) as batches:
            while self.step < settings.steps:
                values, seconds = self._step(batches, should_stop)
                is_stopped = float(values.pop("stop")) > 0
                if not started:  # the first batch waits for the workers to start
                    started = time.perf_counter()
                else:
                    waiting += seconds
                    self.waited = waiting / max(time.perf_counter() - started, 1e-9)
                self.step += 1
                bar.update()
                if self._is_due(recipe.log_every):
                    loss = self._check_finite(values)
                    bar.set_postfix(loss=f"{loss:.4f}")
                    self.log.add(self.step, {n: float(v) for n, v in values.items()} | {"waited": self.waited})
                if validate is not None and self._is_due(recipe.validate_every):
                    self.log.add(self.step, validate(self))
                if self._is_due(recipe.checkpoint_every) or is_stopped:
                    self._check_finite(values)
                    self.save()
                if is_stopped:
                    raise TrainingStoppedError(self.stage, self.step)

    def _check_finite(self, values: dict[str, Any]) -> float:
        """Return the loss of a step, before anything is written that does not serve any more.

        Raises:
            DataError: the loss or a weight is not finite.
        """
        loss = float(values["loss"])
        local = (p.to_local() if isinstance(p, DTensor) else p for p in self.state.parameters.values())
        is_finite = math.isfinite(loss) and all(bool(weights.isfinite().all()) for weights in local)
        device = self.accelerator.device
        share = self.accelerator.reduce(torch.tensor(float(is_finite), dtype=torch.float32, device=device), "mean")
        if float(share) < 1:
            last = [step for step, _ in find_checkpoints(self.out / CHECKPOINTS)][-1:]
            got = f"a loss of {loss:.4g} in step {self.step}; the last checkpoint is of step {last[0] if last else 0}"
            raise DataError(f"{self.stage}: expected finite weights and a finite loss, got {got}")
        return loss

    def _is_due(self, every: int) -> bool:
        return every > 0 and (self.step % every == 0 or self.step == self.settings.steps)

    def _step(self, batches: Any, should_stop: Callable[[], bool]) -> tuple[dict[str, Any], float]:
        """Do one step, and return values for the log and the seconds of waiting for data."""
        # Dropout, where a recipe has any, follows from the step too.
        torch.manual_seed((self.recipe.seed << 20) + self.step * self.accelerator.num_processes
                          + self.accelerator.process_index)  # fmt: skip
        rate = self.settings.learning_rate * rate_factor(self.step, self.settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses, waiting, norm = [], 0.0, None
        for _ in range(self.settings.accumulate):
            started = time.perf_counter()
            batch = next(batches)
            if isinstance(batch, DataError):
                raise batch
            waiting += time.perf_counter() - started
            with self.accelerator.accumulate(self._wrapped):
                loss = self.loss(batch.unpack(self.accelerator.device))
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients and self.settings.clip_norm:
                    norm = self.accelerator.clip_grad_norm_(self.state.parameters.values(), self.settings.clip_norm)
                self._optimizer.step()
                self._optimizer.zero_grad()
            losses.append(loss.detach())
        if self.average is not None:
            self.average.step(self.state.parameters.values())
        mean = torch.stack(losses).mean()
        both = self.accelerator.reduce(torch.stack([mean, mean.new_tensor(float(should_stop()))]), "mean")
        values = {"loss": both[0], "stop": both[1], "learning_rate": rate}
        return values if norm is None else values | {"gradient_norm": whole(norm)}, waiting

    def save(self) -> None:
        """Write a checkpoint. All processes must call it."""
        settings = {"stage": self.stage, "recipe": self.described}
        is_main = self.accelerator.is_main_process
        self.state.save(self.out / CHECKPOINTS, self.step, settings, self.recipe.keep_checkpoints, write=is_main)
        self.accelerator.wait_for_everyone()
