# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from mirage.cameras import pan, straight
from mirage.memory import LatentSpatialMemory
from mirage.memory.history import History
from mirage_kernels import Cameras

GRID = (12, 20)
START = Cameras(torch.tensor([[10.0, 0, 10], [0, 10, 6], [0, 0, 1]]), torch.eye(4), GRID)


def points() -> torch.Tensor:
    """A cylindrical wall at 3 m."""
    angle = torch.linspace(0, 6.28, 2000)
    return torch.stack([3 * angle.sin(), torch.linspace(-1, 1, 2000).repeat(1), 3 * angle.cos()], 1)


def add_frames(history: History, degrees: list[float]) -> None:
    for stamp, angle in enumerate(degrees):
        camera = pan(START, torch.tensor([1.0]), angle)
        history.add(torch.full((4, *GRID), float(stamp)), camera, torch.full(GRID, 3.0), stamp, points())


def voxels_in_view(camera: Cameras) -> set[tuple[int, ...]]:
    """The voxels of 0.1 m inside a view, by definition."""
    _, _, inside = camera.project(points())
    return {tuple(cell) for cell in torch.floor(points()[inside[0]] / 0.1).int().tolist()}


def test_frames_that_look_the_same_way_come_first() -> None:
    history = History(4)
    degrees = [0.0, 90.0, 180.0, 30.0, 8.0, -100.0]
    add_frames(history, degrees)
    target = pan(START, torch.tensor([1.0]), 5.0)
    found = history.retrieve(target, points(), k=3, threshold=0.05)
    scores = []
    for angle in degrees:
        a, b = voxels_in_view(target), voxels_in_view(pan(START, torch.tensor([1.0]), angle))
        scores.append(torch.tensor(len(a & b), dtype=torch.float32) / len(a | b))
    expected = sorted(range(len(degrees)), key=lambda n: (-scores[n], n))[:3]
    assert found.stamps.tolist() == expected
    assert found.scores.tolist() == [scores[n].item() for n in expected]
    assert found.latents[0, :, 0, 0].tolist() == [float(n) for n in expected]
    assert len(found.cameras) == 3


def test_the_union_of_the_target_views_counts() -> None:
    history = History(4)
    add_frames(history, [0.0, 180.0])
    both = Cameras.cat([pan(START, torch.tensor([1.0]), angle) for angle in (0.0, 180.0)])
    found = history.retrieve(both, points())
    assert found.stamps.tolist() == [0, 1] or found.stamps.tolist() == [1, 0]
    assert bool((found.scores < 0.6).all())


def test_threshold_and_before_leave_frames_out() -> None:
    history = History(4)
    add_frames(history, [0.0, 3.0, 180.0])
    assert history.retrieve(START, points(), threshold=0.5).stamps.tolist() == [0, 1]
    assert history.retrieve(START, points(), before=1).stamps.tolist() == [0]
    assert history.retrieve(START, points(), before=0).stamps.tolist() == []
    assert history.retrieve(START, points(), k=1).stamps.tolist() == [0]


def test_an_empty_history_has_nothing_to_show() -> None:
    found = History(4).retrieve(START, points())
    assert found.latents.shape == (4, 0, *GRID)
    assert len(found.scores) == 0


def test_a_full_history_forgets_what_others_see_too() -> None:
    """Many frames look ahead and one looks back: that one stays, however old it is."""
    history = History(4, max_frames=8)
    add_frames(history, [180.0, *(float(n) for n in range(20))])
    assert len(history) <= 8
    assert 0 in history.stamps.tolist()
    assert history.latents.shape[1] == len(history.surface) == len(history)


def test_the_last_of_two_that_saw_the_same_stays() -> None:
    history = History(4, max_frames=32)
    add_frames(history, [180.0, 180.0, *(float(n) for n in range(31))])
    assert len(history) == 30, "three go at once"
    assert history.stamps[0] == 1, "and without the first nobody else sees what the second does"


def test_those_go_first_whose_voxels_others_see_too() -> None:
    """By the letter: one after the other, the frame with the fewest voxels that no other left sees; then the oldest."""
    degrees = torch.rand(80, generator=torch.Generator().manual_seed(0)).pow(4).mul(300).tolist()
    history = History(4, max_frames=32)
    views: dict[int, set[tuple[int, ...]]] = {}
    for stamp, angle in enumerate(degrees):
        camera = pan(START, torch.tensor([1.0]), angle)
        history.add(torch.full((4, *GRID), float(stamp)), camera, torch.full(GRID, 3.0 + stamp), stamp, points())
        views[stamp] = voxels_in_view(camera)
        for _ in range(3 if len(views) > 32 else 0):
            alone = {s: len(views[s].difference(*(views[t] for t in views if t != s))) for s in views}
            first = min(views, key=lambda s: (alone[s], s))
            del views[first]
        assert history.stamps.tolist() == list(views)
    assert history.latents[0, :, 0, 0].tolist() == history.stamps.tolist()
    assert (history.surface[:, 0, 0] - 3).tolist() == history.stamps.tolist()


def places_of(history: History) -> list[int]:
    return [latent.values.data_ptr() for latent in history.version.latents]


def test_a_frame_more_moves_no_other() -> None:
    """The time to add a frame does not grow with the number of frames."""
    history = History(4, max_frames=64)
    add_frames(history, [0.0] * 20)
    before = [*places_of(history), history.surface.data_ptr()]
    add_frames(history, [90.0] * 3)
    assert [*places_of(history)[:20], history.surface.data_ptr()] == before
    assert history.nbytes >= sum(t.nbytes for t in history.tensors().values())


def test_forgetting_moves_no_latent() -> None:
    history = History(4, max_frames=32)
    add_frames(history, [float(n) for n in range(32)])
    before = dict(zip(history.version.names, places_of(history), strict=True))
    add_frames(history, [5.0])
    assert len(history) == 30
    after = dict(zip(history.version.names, places_of(history), strict=True))
    assert {name: place for name, place in after.items() if name in before} == {
        name: place for name, place in before.items() if name in after
    }


def test_the_memory_retrieves_what_saw_its_rows() -> None:
    memory = LatentSpatialMemory(4, history_storage=None)
    cameras = pan(START, straight(5), 120.0)
    latents = torch.randn(4, 5, *GRID)
    memory.write(latents, cameras, torch.full((5, *GRID), 3.0), stamps=range(5))
    found = memory.retrieve(cameras[:1], k=2, threshold=0.2)
    assert found.stamps[0] == 0
    assert found.scores[0] == 1.0
    assert torch.equal(found.latents[:, 0], latents[:, 0])
