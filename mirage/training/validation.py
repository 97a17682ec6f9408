# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Validation on held-out clips: the loss, and pictures of what the memory shows, the result and the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from ..errors import DataError
from ..io.images import contact_sheet, enlarge, show_holes, write_image
from ..models.embedded import DctCodec
from ..models.wan.codec import WanCodec
from ..models.wan.generator import WanChunkModel
from ..models.wan.timesteps import make_scheduler
from ..rollout import Codec
from .batches import make_sequence, seeded, stack
from .dataset import TrainingData, pad_text
from .loop import StageTrainer

__all__ = ["Validation", "open_codec"]

SHOWN = 3  # frames of a sample


def open_codec(settings: dict[str, Any], model: Path | None) -> Codec | None:
    """Open the codec of the latents of shards.

    Args:
        settings: of the shards.
        model: folder of Wan2.2 in diffusers' layout.

    Returns:
        The codec; None for that of Wan2.2 without its autoencoder.

    Raises:
        DataError: the codec is unknown.
    """
    name = str(settings["codec"])
    block = re.fullmatch(r"dct-([0-9]+)", name)
    if block is not None:
        return DctCodec(int(block[1]), temporal_stride=settings["temporal_stride"])
    if not name.startswith("wan-"):
        raise DataError(f"codec: expected dct-N or wan-C-S, got {name[:60]!r}")
    if model is None or not (model / "vae" / "config.json").is_file():
        return None
    return WanCodec(AutoencoderKLWan.from_pretrained(model, subfolder="vae", torch_dtype=torch.float32).eval())


class _WhiteLatents:
    """The latents of a white video, as :class:`.WanChunkModel` asks the codec for them."""

    def __init__(self, name: str, white: Tensor) -> None:
        self.name, self._white = name, white

    def white_latents(self, count: int, h: int, w: int) -> Tensor:
        assert self._white.shape[2:] == (h, w)
        return self._white[:, :count]


class Validation:
    """Computes the loss on held-out samples and draws pictures, with the running average of the weights.

    Args:
        data: the samples; without held-out ones, those of training are taken.
        codec: decodes latents; None draws no pictures.
        out: folder of the pictures.
    """

    def __init__(self, data: TrainingData, codec: Codec | None, out: Path) -> None:
        self.data, self.codec, self.out = data, codec, out
        self.numbers = data.validation or data.training

    def __call__(self, trainer: StageTrainer) -> dict[str, float]:
        """Validate. All processes call it with the same step.

        Returns:
            The loss, for the log.
        """
        was_training = trainer.model.training
        trainer.model.eval()
        try:
            with torch.no_grad(), _averaged(trainer):
                loss = self._loss(trainer)
                if self.codec is not None and trainer.recipe.validation_steps:
                    self._draw(trainer)
        finally:
            trainer.model.train(was_training)
        return {"validation_loss": loss}

    def _loss(self, trainer: StageTrainer) -> float:
        numbers = self.numbers[: trainer.recipe.validation_samples]
        processes = trainer.accelerator.num_processes
        losses = []
        # Sharded models compute together: every process takes as many turns.
        for first in range(0, len(numbers), processes):
            at = first + trainer.accelerator.process_index
            batch = stack([self._sequence(trainer, numbers[at % len(numbers)])])
            assert not isinstance(batch, DataError)
            loss = trainer.loss(batch.unpack(trainer.accelerator.device))
            losses.append(torch.stack([loss, torch.ones_like(loss)]) if at < len(numbers) else loss.new_zeros(2))
        total: Tensor = trainer.accelerator.reduce(torch.stack(losses).sum(0), "sum")
        return (total[0] / total[1]).item()

    def _sequence(self, trainer: StageTrainer, number: int) -> Any:
        """A sample with the same noise every time, and all of its conditions."""
        tensors = self.data.sample(number).tensors
        generator = seeded(trainer.recipe.seed, "validation", number)
        counts = self._counts(trainer, tensors)
        batch, _ = make_sequence(tensors, counts, trainer.recipe.objective, generator)
        return batch._replace(text=self._text(trainer, number))

    def _counts(self, trainer: StageTrainer, tensors: dict[str, Tensor]) -> tuple[int, int]:
        most = (trainer.settings.references[1], trainer.settings.preceding[1])
        return min(most[0], tensors["references"].shape[1]), min(most[1], tensors["preceding"].shape[1])

    def _text(self, trainer: StageTrainer, number: int) -> Tensor:
        return pad_text(self.data.text(number), trainer.dataset.words, trainer.dataset.text_dim)

    def _draw(self, trainer: StageTrainer) -> None:
        """Generate the latents of the first sample as the pipeline does, and write a picture."""
        number, codec = self.numbers[0], self.codec
        assert codec is not None
        device = trainer.accelerator.device
        tensors = {name: tensor.to(device) for name, tensor in self.data.sample(number).tensors.items()}
        r, p = self._counts(trainer, tensors)
        scheduler = make_scheduler(trainer.recipe.objective.flow_shift)
        text = self._text(trainer, number)[None].to(device)
        white: Any = _WhiteLatents(codec.name, self.data.white_latents())
        model = WanChunkModel(
            trainer.model, scheduler, white, lambda _: (text, None), steps=trainer.recipe.validation_steps
        )
        last = slice(tensors["preceding"].shape[1] - p, None)
        view = tensors["view"].float()
        result = model(
            view,
            tensors["mask"],
            first=tensors["targets"][:, 0].float(),
            preceding=tensors["preceding"][:, last].float(),
            preceding_view=tensors["preceding_view"][:, last].float(),
            preceding_mask=tensors["preceding_mask"][last],
            references=tensors["references"][:, :r].float(),
            prompt="",
            generator=seeded(trainer.recipe.seed, "picture", number),
        )
        if trainer.accelerator.is_main_process:
            self._write(trainer.step, codec, view, tensors["mask"], result, tensors["targets"].float())

    def _write(self, step: int, codec: Codec, view: Tensor, mask: Tensor, result: Tensor, truth: Tensor) -> None:
        count = view.shape[1]
        shown = sorted({round(n * (count - 1) / (SHOWN - 1)) for n in range(SHOWN)})
        rows = []
        for latents in (view, result, truth):
            frames = codec.decode(latents[None])[0, :, :: codec.temporal_stride].cpu()
            rows.append([frames[:, t] for t in shown])
        holes = [enlarge(mask[t].cpu(), codec.spatial_stride) for t in shown]
        rows[0] = [show_holes(image, known) for image, known in zip(rows[0], holes, strict=True)]
        labels = [[f"{name}, latent {t}" for t in shown] for name in ("memory", f"result, step {step}", "truth")]
        self.out.mkdir(parents=True, exist_ok=True)
        write_image(self.out / f"step-{step:08d}.png", contact_sheet(rows, labels))


@contextmanager
def _averaged(trainer: StageTrainer) -> Iterator[None]:
    """The model with the running average of its weights."""
    if trainer.average is None:
        yield
        return
    parameters = list(trainer.state.parameters.values())
    trainer.average.store(parameters)
    trainer.average.copy_to(parameters)
    try:
        yield
    finally:
        trainer.average.restore(parameters)
