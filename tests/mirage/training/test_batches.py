# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Batches: functions of seed and step that do not depend on how many processes share them."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mirage.training.batches import BatchPlan, Places, SequenceDataset, load_batches, make_sequence, read_ahead, seeded
from mirage.training.dataset import TrainingData, pad_text
from mirage.training.recipe import ObjectiveRecipe


def listed(count: int = 30) -> list[dict[str, Any]]:
    return [{"references": n % 5, "preceding": n % 3} for n in range(count)]


def plan(batch: int = 4, seed: int = 0, references: tuple[int, int] = (0, 4)) -> BatchPlan:
    return BatchPlan(listed(), range(30), batch, seed, references, (0, 2))


def test_an_epoch_has_every_sample() -> None:
    made = plan()
    for epoch in range(3):
        steps = [made.step(epoch * made.steps_per_epoch + n) for n in range(made.steps_per_epoch)]
        assert {number for step in steps for number in step.numbers} == set(range(30))
        for step in steps:
            assert len(step.numbers) == 4
            assert all(listed()[n]["references"] >= step.references for n in step.numbers)
            assert all(listed()[n]["preceding"] >= step.preceding for n in step.numbers)
    assert plan().step(7) == made.step(7)  # whatever was asked for before
    assert [plan(seed=1).step(n) for n in range(9)] != [made.step(n) for n in range(9)]


def test_a_rare_sample_is_not_seen_more_often() -> None:
    listed = [{"references": 0, "preceding": 0}] * 200 + [{"references": 1, "preceding": 2}]
    made = BatchPlan(listed, range(201), 64, 0, (0, 4), (0, 2))
    assert made.steps_per_epoch == 4
    seen = Counter(number for n in range(4) for number in made.step(n).numbers)
    assert set(seen) == set(range(201))
    assert max(seen.values()) <= 2
    small = BatchPlan(listed, [200], 8, 0, (0, 4), (0, 2)).step(0)
    assert small.numbers == [200] * 8


def test_all_counts_are_drawn() -> None:
    made = BatchPlan(listed(240), range(240), 4, 0, (0, 4), (0, 2))
    counts = Counter((made.step(n).references, made.step(n).preceding) for n in range(600))
    assert {r for r, _ in counts} == set(range(5))
    assert {p for _, p in counts} == set(range(3))
    least = BatchPlan(listed(), range(30), 4, 0, (2, 3), (1, 1))
    drawn = [least.step(n) for n in range(100)]
    for step in drawn:
        most = min(listed()[n]["references"] for n in step.numbers)
        assert step.references >= min(2, most)


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "processes"), [(4, 1, 1), (2, 2, 1), (2, 1, 2), (1, 2, 2), (1, 1, 4)]
)
def test_processes_share_a_step(batch_size: int, accumulate: int, processes: int) -> None:
    parts = [Places(range(3), batch_size, accumulate, rank, processes) for rank in range(processes)]
    got = [place for rank in parts for places_of in rank for place in places_of]
    assert sorted(got) == [(step, slot) for step in range(3) for slot in range(4)]


def tensors() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = {"targets": (6, 4, 8, 12), "view": (6, 4, 8, 12), "preceding": (6, 2, 8, 12), "boundary": (6, 8, 12),
              "preceding_view": (6, 2, 8, 12), "references": (6, 3, 8, 12)}  # fmt: skip
    made = {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}
    made["mask"], made["preceding_mask"] = (
        torch.ones(4, 8, 12, dtype=torch.bool),
        torch.ones(2, 8, 12, dtype=torch.bool),
    )
    return made


def draws(objective: ObjectiveRecipe, counts: tuple[int, int] = (3, 2), count: int = 200) -> list[Any]:
    return [make_sequence(tensors(), counts, objective, seeded(0, n)) for n in range(count)]


def test_what_is_drawn_for_a_sample() -> None:
    source = tensors()
    made = draws(ObjectiveRecipe(boundary_alone=0.5, prompt_dropout=0.2, hole_dropout=0.3))
    alone = sum(torch.equal(batch.targets[:, 0], source["boundary"]) for batch, _ in made)
    assert 70 < alone < 130
    assert 20 < sum(dropped for _, dropped in made) < 60
    with_holes = [batch for batch, _ in made if not batch.mask.all()]
    assert 35 < len(with_holes) < 85
    for batch in with_holes:
        assert (batch.view.movedim(0, -1)[~batch.mask] == 0).all()
        blocks = batch.mask.reshape(6, 2, 4, 3, 4)
        assert (blocks.amin((2, 4)) == blocks.amax((2, 4))).all()  # whole blocks of cells
    first = made[0][0]
    assert first.references.shape[1] == 3
    assert torch.equal(first.preceding, source["preceding"])
    assert first.view.shape[1] == 6


def test_draws_do_not_depend_on_the_counts() -> None:
    objective = ObjectiveRecipe()
    for (a, dropped), (b, same) in zip(draws(objective, (3, 2), 20), draws(objective, (1, 1), 20), strict=True):
        assert torch.equal(a.noise, b.noise)
        assert torch.equal(a.sigmas, b.sigmas)
        assert torch.equal(a.targets, b.targets)
        assert dropped == same
        assert torch.equal(b.preceding, tensors()["preceding"][:, 1:])  # the last one, next to the chunk
        assert torch.equal(b.references, tensors()["references"][:, :1])  # the best one


def test_a_view_that_is_left_out() -> None:
    for batch, _ in draws(ObjectiveRecipe(zero_view=True), count=3):
        assert not batch.mask.any()
        assert not batch.view.any()


def dataset(shards: Path, objective: ObjectiveRecipe | None = None, batch: int = 4) -> SequenceDataset:
    data = TrainingData(shards)
    made = BatchPlan(data.reader.listed, data.training, batch, 0, (0, 4), (0, 2))
    return SequenceDataset(data, made, objective or ObjectiveRecipe(), 0, 3, 8)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_what_the_steps_have(shards: Path, workers: int) -> None:
    source = dataset(shards)
    loader = load_batches(source, range(2, 5), batch_size=2, accumulate=2, rank=0, processes=1, workers=workers,
                          pin_memory=False)  # fmt: skip
    batches = list(loader)
    assert len(batches) == 6
    for number, batch in enumerate(batches):
        step, micro = 2 + number // 2, number % 2
        for slot in range(2):
            one = source.sequence(step, 2 * micro + slot)
            assert all(torch.equal(part[slot], own) for part, own in zip(batch.unpack(), one, strict=True))


def test_reading_ahead() -> None:
    assert list(read_ahead(range(20))) == list(range(20))

    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    items = read_ahead(broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="x"):
        next(items)
    before = threading.active_count()
    endless = read_ahead(itertools.count())
    assert next(endless) == 0
    endless.close()
    assert threading.active_count() == before


def test_shared_sigmas(shards: Path) -> None:
    shared, own = (dataset(shards, ObjectiveRecipe(shared_sigmas=flag)) for flag in (True, False))
    assert torch.equal(shared.sequence(3, 0).sigmas, shared.sequence(3, 1).sigmas)
    assert not torch.equal(shared.sequence(3, 0).sigmas, shared.sequence(4, 0).sigmas)
    assert not torch.equal(own.sequence(3, 0).sigmas, own.sequence(3, 1).sigmas)


def test_texts_are_padded_as_the_pipeline_pads_them() -> None:
    text = torch.ones(2, 4)
    assert torch.equal(pad_text(text, 3, 4), torch.tensor([[1.0] * 4, [1.0] * 4, [0.0] * 4]))
    assert torch.equal(pad_text(text, 1, 4), torch.ones(1, 4))
    assert not pad_text(None, 2, 4).any()
    with pytest.raises(ValueError, match="text: expected embeddings of dim 3, as the model takes, got 4"):
        pad_text(text, 3, 3)
