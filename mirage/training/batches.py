# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of a training run. Each is a function of the seed and of the number of the step.

So a run that is resumed needs no more than the number of its step, and the samples of a step do not depend on how many
processes share them.
"""

from __future__ import annotations

import hashlib
import random
import signal
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf
from torch.utils.data import DataLoader, Dataset

from .dataset import TrainingData, pad_text
from .objective import draw_sigmas
from .recipe import ObjectiveRecipe

__all__ = ["Batch", "BatchPlan", "SequenceDataset", "StepBatch", "load_batches", "make_sequence"]

HOLE_BLOCK = 4  # cells, side of the blocks that become holes


class Batch(NamedTuple):
    """Samples of a batch, or one sample without the first dimension.

    Attributes:
        references: (B, C, R, h, w).
        targets: (B, C, T, h, w).
        preceding: (B, C, P, h, w).
        view: (B, C, T + P, h, w), what the memory shows; zeros in holes.
        mask: (B, T + P, h, w) bool, False in holes.
        text: (B, words, dim).
        sigmas: (B, T).
        noise: (B, C, T, h, w).
    """

    references: Tensor
    targets: Tensor
    preceding: Tensor
    view: Tensor
    mask: Tensor
    text: Tensor
    sigmas: Tensor
    noise: Tensor


class StepBatch(NamedTuple):
    """The samples of one optimizer step, and how many conditions all of them get."""

    numbers: list[int]
    references: int
    preceding: int


class BatchPlan:
    """Divides samples into steps, epoch by epoch.

    Samples of a step have the same numbers of reference and preceding latents. They are therefore taken from one group
    of samples that have as many; the last step of a group is filled up with its first samples.

    Args:
        listed: ``references`` and ``preceding`` of all samples.
        numbers: the samples to use.
        batch: samples of a step, in all processes.
        seed: of order and counts.
        references, preceding: least and largest number that is drawn; samples that have fewer get what they have.
    """

    def __init__(
        self,
        listed: Sequence[dict[str, Any]],
        numbers: Sequence[int],
        batch: int,
        seed: int,
        references: tuple[int, int],
        preceding: tuple[int, int],
    ) -> None:
        self._batch, self._seed, self._ranges = batch, seed, (references, preceding)
        self._groups: dict[tuple[int, int], list[int]] = {}
        for number in numbers:
            key = (min(listed[number]["references"], references[1]), min(listed[number]["preceding"], preceding[1]))
            self._groups.setdefault(key, []).append(number)
        self.steps_per_epoch = sum(-(-len(group) // batch) for group in self._groups.values())
        self._epoch, self._order = -1, list[tuple[tuple[int, int], list[int]]]()

    def _ordered(self, epoch: int) -> list[tuple[tuple[int, int], list[int]]]:
        if epoch != self._epoch:
            rng = random.Random(f"{self._seed}/order/{epoch}")
            order = []
            for key in sorted(self._groups):
                group = rng.sample(self._groups[key], len(self._groups[key]))
                for first in range(0, len(group), self._batch):
                    order.append((key, [group[n % len(group)] for n in range(first, first + self._batch)]))
            rng.shuffle(order)
            self._epoch, self._order = epoch, order
        return self._order

    def step(self, step: int) -> StepBatch:
        """Return the samples of a step."""
        epoch, at = divmod(step, self.steps_per_epoch)
        available, numbers = self._ordered(epoch)[at]
        rng = random.Random(f"{self._seed}/counts/{step}")
        counts = [rng.randint(min(low, most), most) for (low, _), most in zip(self._ranges, available, strict=True)]
        return StepBatch(numbers, counts[0], counts[1])


def seeded(*parts: object) -> torch.Generator:
    """Make a generator whose seed is determined by ``parts``."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:7], "big"))


def make_sequence(
    tensors: dict[str, Tensor],
    counts: tuple[int, int],
    objective: ObjectiveRecipe,
    generator: torch.Generator,
    sigmas: Tensor | None = None,
) -> tuple[Batch, bool]:
    """Draw what a sample is trained with.

    Args:
        tensors: of the sample; see :func:`mirage.training.samples.make_samples`.
        counts: R and P, of which the sample has at least as many.
        objective: what is drawn.
        generator: of random numbers. What is drawn does not depend on ``counts``.
        sigmas: (1, T), noise levels; None draws them.

    Returns:
        The sample with an empty text, and whether its prompt is dropped.
    """
    targets = tensors["targets"].float()
    noise = torch.randn(targets.shape, generator=generator, dtype=torch.float32, device="cpu")
    own = draw_sigmas(1, targets.shape[1], generator, shift=objective.flow_shift)
    alone, dropped, with_holes, share = torch.rand(4, generator=generator, dtype=torch.float32, device="cpu").tolist()
    if "boundary" in tensors and alone < objective.boundary_alone:
        targets[:, 0] = tensors["boundary"].float()
    references, preceding = counts
    last = slice(tensors["preceding"].shape[1] - preceding, None)
    view = torch.cat([tensors["view"], tensors["preceding_view"][:, last]], 1).float()
    mask = torch.cat([tensors["mask"], tensors["preceding_mask"][last]])
    if objective.zero_view:
        mask = torch.zeros_like(mask)
    elif with_holes < objective.hole_dropout:
        rows, columns = (-(-side // HOLE_BLOCK) for side in mask.shape[1:])
        blocks = torch.rand(len(mask), rows, columns, generator=generator, dtype=torch.float32, device="cpu") < share
        mask = mask & ~_enlarge(blocks, (mask.shape[1], mask.shape[2]))
    batch = Batch(
        tensors["references"][:, :references].float(),
        targets,
        tensors["preceding"][:, last].float(),
        torch.where(mask, view, 0),
        mask,
        torch.zeros(0, 0, dtype=torch.float32, device="cpu"),
        (own if sigmas is None else sigmas)[0],
        noise,
    )
    return batch, dropped < objective.prompt_dropout


def _enlarge(blocks: Tensor, size: tuple[int, int]) -> Tensor:
    large = nnf.interpolate(blocks[None].float(), scale_factor=HOLE_BLOCK, mode="nearest")[0] > 0
    return large[:, : size[0], : size[1]]


class SequenceDataset(Dataset[Batch]):
    """The samples of a run by (step, slot): the slot is the sample's place in the step.

    Args:
        data: the samples.
        plan: which of them a step has.
        objective: what is drawn.
        seed: of the draws.
        words, text_dim: of the prompts' embeddings.
    """

    def __init__(
        self, data: TrainingData, plan: BatchPlan, objective: ObjectiveRecipe, seed: int, words: int, text_dim: int
    ) -> None:
        self.data, self.plan, self.objective, self.seed = data, plan, objective, seed
        self.words, self.text_dim = words, text_dim

    def __getitem__(self, place: tuple[int, int]) -> Batch:
        step, slot = place
        numbers, references, preceding = self.plan.step(step)
        number = numbers[slot]
        tensors = self.data.sample(number).tensors
        sigmas = None
        if self.objective.shared_sigmas:
            generator = seeded(self.seed, "sigmas", step)
            sigmas = draw_sigmas(1, tensors["targets"].shape[1], generator, shift=self.objective.flow_shift)
        generator = seeded(self.seed, step, slot)
        batch, is_dropped = make_sequence(tensors, (references, preceding), self.objective, generator, sigmas)
        text = self.data.text(number, empty=is_dropped)
        return batch._replace(text=pad_text(text, self.words, self.text_dim))


def stack(samples: Sequence[Batch]) -> Batch:
    """Make a batch of samples."""
    return Batch._make(torch.stack(parts) for parts in zip(*samples, strict=True))


def places(
    steps: range, batch_size: int, accumulate: int, rank: int, processes: int
) -> Iterator[list[tuple[int, int]]]:
    """The places of the batches of one process: of each step, every ``processes``-th of its parts.

    Example:
        >>> list(places(range(1), 2, 2, 1, 2))
        [[(0, 2), (0, 3)], [(0, 6), (0, 7)]]
    """
    for step in steps:
        for micro in range(accumulate):
            first = (micro * processes + rank) * batch_size
            yield [(step, slot) for slot in range(first, first + batch_size)]


def load_batches(
    dataset: SequenceDataset,
    steps: range,
    *,
    batch_size: int,
    accumulate: int,
    rank: int,
    processes: int,
    workers: int,
    pin_memory: bool,
) -> DataLoader[Batch]:
    """Return a loader of the batches of one process, in the order in which it trains on them.

    Args:
        dataset: the samples.
        steps: the steps to come.
        batch_size: samples of a batch.
        accumulate: batches of a step and process.
        rank, processes: which process this is, and of how many.
        workers: number of processes that read samples; 0 reads them in this one.
        pin_memory: whether batches are put into memory from which a GPU copies faster.
    """
    order = list(places(steps, batch_size, accumulate, rank, processes))
    return DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=stack,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_main_process,
    )


def _leave_signals_to_the_main_process(_: int) -> None:
    """A terminal sends Ctrl-C to all processes, and a scheduler its signals: the main one decides when to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
