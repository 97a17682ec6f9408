# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of a training run. Each is a function of the seed and of the number of the step.

So a run that is resumed needs no more than the number of its step, and the samples of a step do not depend on how many
processes share them.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import queue
import random
import signal
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as nnf
from torch.utils.data import DataLoader, Dataset

from ..errors import DataError
from .dataset import TrainingData, pad_text
from .objective import draw_sigmas
from .recipe import ObjectiveRecipe

__all__ = ["Batch", "BatchPlan", "PackedBatch", "SequenceDataset", "StepBatch", "load_batches", "make_sequence"]

HOLE_BLOCK = 4  # cells, side of the blocks that become holes
LINGER = 5.0  # seconds that workers go on after SIGTERM
AHEAD = 4  # batches that wait in the process that trains
_Item = TypeVar("_Item")


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


class PackedBatch(NamedTuple):
    """A batch as one tensor, which is passed on between processes and to a GPU in one piece.

    Attributes:
        values: all values, float32.
        shapes: of the parts of a :class:`Batch`.
    """

    values: Tensor
    shapes: tuple[tuple[int, ...], ...]

    def unpack(self, device: torch.device | str = "cpu") -> Batch:
        """Return the batch on a device."""
        values = self.values.to(device, non_blocking=True)
        sizes = [math.prod(shape) for shape in self.shapes]
        parts = [part.reshape(shape) for part, shape in zip(torch.split(values, sizes), self.shapes, strict=True)]
        batch = Batch._make(parts)
        return batch._replace(mask=batch.mask > 0)


class StepBatch(NamedTuple):
    """The samples of one optimizer step, and how many conditions all of them get."""

    numbers: list[int]
    references: int
    preceding: int


class BatchPlan:
    """Divides samples into steps, epoch by epoch.

    Samples of a step have the same numbers of reference and preceding latents, so most steps have samples of one group
    that have as many. What is left of the groups shares steps, in which all get as few as the one that has fewest. The
    last step of an epoch is filled up with samples that were in it before.

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
        seed: object,
        references: tuple[int, int],
        preceding: tuple[int, int],
    ) -> None:
        self._batch, self._seed, self._ranges = batch, seed, (references, preceding)
        self._available = {
            n: (min(listed[n]["references"], references[1]), min(listed[n]["preceding"], preceding[1])) for n in numbers
        }
        self.steps_per_epoch = -(-len(numbers) // batch)
        self._epoch, self._order = -1, list[list[int]]()

    def _ordered(self, epoch: int) -> list[list[int]]:
        if epoch != self._epoch:
            rng = random.Random(f"{self._seed}/order/{epoch}")
            shuffled = rng.sample(list(self._available), len(self._available))
            groups: dict[tuple[int, int], list[int]] = {}
            for number in shuffled:
                groups.setdefault(self._available[number], []).append(number)
            order, left = [], []
            for key in sorted(groups, reverse=True):
                group, full = groups[key], len(groups[key]) // self._batch * self._batch
                order += [group[first : first + self._batch] for first in range(0, full, self._batch)]
                left += group[full:]
            order += [left[first : first + self._batch] for first in range(0, len(left), self._batch)]
            last = order[-1]
            others = [number for number in shuffled if number not in last] or shuffled
            order[-1] = [*last, *itertools.islice(itertools.cycle(others), self._batch - len(last))]
            rng.shuffle(order)
            self._epoch, self._order = epoch, order
        return self._order

    def step(self, step: int) -> StepBatch:
        """Return the samples of a step."""
        epoch, at = divmod(step, self.steps_per_epoch)
        numbers = self._ordered(epoch)[at]
        available = [min(counts) for counts in zip(*(self._available[n] for n in numbers), strict=True)]
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


class SequenceDataset(Dataset["Batch | DataError"]):
    """The samples of a run by (step, slot): the slot is the sample's place in the step.

    Args:
        data: the samples.
        plan: which of them a step has.
        objective: what is drawn.
        seed: of the draws; every stage has its own.
        words, text_dim: of the prompts' embeddings.
    """

    def __init__(
        self, data: TrainingData, plan: BatchPlan, objective: ObjectiveRecipe, seed: object, words: int, text_dim: int
    ) -> None:
        self.data, self.plan, self.objective, self.seed = data, plan, objective, seed
        self.words, self.text_dim = words, text_dim

    def __getitem__(self, place: tuple[int, int]) -> Batch | DataError:
        try:
            return self.sequence(*place)
        except DataError as error:  # a loader would hide its message in a traceback
            return error

    def sequence(self, step: int, slot: int) -> Batch:
        """Make the sample of a place.

        Raises:
            DataError: it is damaged.
        """
        numbers, references, preceding = self.plan.step(step)
        number = numbers[slot]
        sample = self.data.sample(number)
        tensors = sample.tensors
        got = (tensors["references"].shape[1], tensors["preceding"].shape[1])
        if got[0] < references or got[1] < preceding:
            raise DataError(f"{self.data.folder}: {sample.key}: expected as many latents as the index says, got {got}")
        sigmas = None
        if self.objective.shared_sigmas:
            generator = seeded(self.seed, "sigmas", step)
            sigmas = draw_sigmas(1, tensors["targets"].shape[1], generator, shift=self.objective.flow_shift)
        generator = seeded(self.seed, step, slot)
        batch, is_dropped = make_sequence(tensors, (references, preceding), self.objective, generator, sigmas)
        text = self.data.text(number, empty=is_dropped)
        return batch._replace(text=pad_text(text, self.words, self.text_dim))


def stack(samples: Sequence[Batch | DataError]) -> PackedBatch | DataError:
    """Make a batch of samples; or return the error of one of them."""
    batch: list[Batch] = []
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
        batch.append(sample)
    parts = [torch.stack(tensors) for tensors in zip(*batch, strict=True)]
    values = torch.cat([part.flatten().float() for part in parts])
    return PackedBatch(values, tuple(tuple(part.shape) for part in parts))


class Places:
    """The places of the batches of one process: of each step, every ``processes``-th of its parts.

    Args:
        steps: the steps.
        batch_size: samples of a batch.
        accumulate: batches of a step and process.
        rank, processes: which process this is, and of how many.

    Example:
        >>> list(Places(range(1), 2, 2, 1, 2))
        [[(0, 2), (0, 3)], [(0, 6), (0, 7)]]
    """

    def __init__(self, steps: range, batch_size: int, accumulate: int, rank: int, processes: int) -> None:
        self._steps, self._batch_size, self._accumulate = steps, batch_size, accumulate
        self._rank, self._processes = rank, processes

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._steps) * self._accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in self._steps:
            for micro in range(self._accumulate):
                first = (micro * self._processes + self._rank) * self._batch_size
                yield [(step, slot) for slot in range(first, first + self._batch_size)]


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
) -> DataLoader[PackedBatch | DataError]:
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
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=Places(steps, batch_size, accumulate, rank, processes),
        num_workers=workers,
        collate_fn=stack,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_main_process,
    )
    return loader


def read_ahead(loader: Iterable[_Item]) -> Generator[_Item, None, None]:
    """Take items of a loader in a thread, so that the next one is at hand when it is asked for.

    Args:
        loader: gives the items. What it raises is raised here.
    """
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=AHEAD)
    is_closed = threading.Event()

    def put(is_item: bool, value: Any) -> None:
        waits = True
        while waits and not is_closed.is_set():
            with suppress(queue.Full):
                ready.put((is_item, value), timeout=0.1)
                waits = False

    def work() -> None:
        try:
            for item in loader:
                put(True, item)
                if is_closed.is_set():
                    return
            put(False, None)
        except BaseException as error:
            put(False, error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = ready.get()
            if not is_item:
                if value is not None:
                    raise value
                return
            yield value
    finally:
        is_closed.set()
        thread.join()


def _leave_signals_to_the_main_process(_: int) -> None:
    """A terminal sends Ctrl-C to all processes, and a scheduler its signals: the main one decides when to stop.

    SIGTERM is also how Python ends workers that are left when the main process exits, so they do not stay for long.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(LINGER, os._exit, (0,)).start())
