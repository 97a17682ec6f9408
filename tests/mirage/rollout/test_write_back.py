# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.cameras import pan, straight
from mirage.depth import DepthEstimate
from mirage.depth.estimator import make_estimate
from mirage.filters import EdgeFilter, Filters, Reason
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec, FillModel
from mirage.rollout import RolloutSession
from mirage.rollout.write_back import MemoryWriter
from mirage_kernels import Cameras

SIZE, GRID = (96, 128), (12, 16)
START = Cameras(torch.tensor([[110.0, 0, 64], [0, 110, 48], [0, 0, 1]]), torch.eye(4), SIZE)
CAMERAS = pan(START, straight(4), 12)
FRAMES = torch.rand(3, 4, *SIZE, generator=torch.Generator().manual_seed(0))


def room() -> Tensor:
    """(T, H, W) z-depth of a wall that slants, so that scale and place both show."""
    x = (torch.arange(SIZE[1]) + 0.5 - 64) / 110
    ray = torch.stack([x, torch.ones_like(x)])  # x and z of the rays in the camera's frame
    depth = []
    for camera in CAMERAS.cam2world:
        normal = camera[[0, 2]][:, [0, 2]].T @ torch.tensor([0.3, 1.0])  # of the wall 0.3 x + z = 3, seen from there
        depth.append((3 / (normal @ ray)).expand(SIZE))
    return torch.stack(depth)


class Estimator:
    name = "scaled"

    def __init__(self, scale: float, metric: bool = True) -> None:
        self.scale, self.metric = scale, metric

    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        assert cameras is not None
        numbers = [int((CAMERAS.cam2world == pose).all((1, 2)).nonzero()[0]) for pose in cameras.cam2world]
        return make_estimate(room()[numbers] * self.scale, metric=self.metric)


def write(memory: LatentSpatialMemory, frames: slice, **options: Any) -> list[Any]:
    given = {name: options.pop(name) for name in ("depth", "exclude", "keep") if name in options}
    count = len(CAMERAS[frames])
    latents = torch.zeros(48, count, *GRID)
    writer = MemoryWriter(memory, **options)
    return writer.write(latents, FRAMES[:, frames], CAMERAS[frames], stamps=list(range(count)), **given)


def test_an_estimate_comes_to_the_memorys_scale() -> None:
    expected, memory = LatentSpatialMemory(48), LatentSpatialMemory(48)
    write(expected, slice(0, 4), depth=room())
    write(memory, slice(0, 1), depth=room()[:1])
    estimated = MemoryWriter(memory, depth=Estimator(1.7)).write(
        torch.zeros(48, 3, *GRID), FRAMES[:, 1:], CAMERAS[1:], stamps=[1, 2, 3]
    )
    for one in estimated:
        assert one.alignment is not None
        assert one.alignment.accepted
        assert one.alignment.scale == pytest.approx(1 / 1.7, rel=0.01)
    assert len(memory) == pytest.approx(len(expected), rel=0.1)
    plane = memory.cache.xyz @ torch.tensor([0.3, 0, 1.0])
    torch.testing.assert_close(plane, torch.full_like(plane, 3), rtol=0.01, atol=0)


def test_a_bad_fit_is_not_written_and_says_why() -> None:
    memory = LatentSpatialMemory(48)
    write(memory, slice(0, 1), depth=room()[:1])
    points, frames = len(memory), len(memory.history)

    class Noise(Estimator):
        def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
            return make_estimate(torch.rand(frames.shape[1], *SIZE, generator=torch.Generator().manual_seed(1)) * 9,
                                 metric=True)  # fmt: skip

    (written,) = MemoryWriter(memory, depth=Noise(1)).write(torch.zeros(48, 1, *GRID), FRAMES[:, 1:2], CAMERAS[1:2])
    assert (written.added, written.carved) == (0, 0)
    assert written.alignment is not None
    assert not written.alignment.accepted
    assert "cells agree with the memory" in written.alignment.reason
    assert len(memory) == points
    assert len(memory.history) == frames + 1, "it is in the history all the same"


def test_only_metric_depth_begins_a_world() -> None:
    latents = torch.zeros(48, 1, *GRID)
    memory = LatentSpatialMemory(48)
    with pytest.raises(ValueError, match="depth: expected metric depth for an empty memory"):
        MemoryWriter(memory, depth=Estimator(1, metric=False)).write(latents, FRAMES[:, :1], CAMERAS[:1])
    assert len(memory) == 0
    (written,) = MemoryWriter(memory, depth=Estimator(1)).write(latents, FRAMES[:, :1], CAMERAS[:1])
    assert written.added == GRID[0] * GRID[1]


def test_what_is_excluded_is_not_written() -> None:
    exclude = torch.zeros(1, *SIZE, dtype=torch.bool)
    exclude[0, 40, 60] = True
    for options in ({}, {"filters": Filters([EdgeFilter()])}):
        memory = LatentSpatialMemory(48)
        (written,) = write(memory, slice(0, 1), depth=room()[:1], exclude=exclude, **options)
        assert written.filter_result is not None
        assert written.filter_result.reason[5, 7] == Reason.EXCLUDED
        assert written.added == GRID[0] * GRID[1] - 1


def test_memory_depth_is_filtered_too() -> None:
    """Frames whose depth is the memory's own: what is excluded stays a hole."""
    memory = LatentSpatialMemory(48)
    write(memory, slice(0, 1), depth=room()[:1])
    exclude = torch.ones(1, *SIZE, dtype=torch.bool)
    (written,) = write(memory, slice(3, 4), exclude=exclude)
    assert written.added == 0
    assert write(memory, slice(3, 4))[0].added > 0


def test_frames_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"frames: expected \(3, 1, 96, 128\), got \(3, 0, 96, 128\)"):
        MemoryWriter(LatentSpatialMemory(48), filters=Filters()).write(
            torch.zeros(48, 1, *GRID), FRAMES[:, :0], CAMERAS[:1], depth=room()[:1]
        )


def start(**options: Any) -> RolloutSession:
    given: dict[str, Any] = {"memory": LatentSpatialMemory(48), "codec": DctCodec(8), "model": FillModel()}
    return RolloutSession(FRAMES[:, 0], options.pop("depth", room()[0]), CAMERAS[:1], **given | options)


def test_a_session_estimates_depth_and_filters() -> None:
    class Flat(Estimator):
        def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
            return make_estimate(2 * room()[:1].expand(frames.shape[1], *SIZE), metric=True)

    steered = start(estimator=Flat(1), filters=Filters([EdgeFilter()]))
    chunk = steered.step(Cameras.cat([CAMERAS[:1]] * 8))
    assert chunk.written == [GRID[0] * GRID[1], 0, 0]
    assert chunk.write_back[0].alignment is None, "the image's depth is given"
    assert [one.alignment.scale for one in chunk.write_back[1:]] == pytest.approx([0.5, 0.5], rel=0.01)
    assert all(one.filter_result is not None for one in chunk.write_back)
    assert start(depth=None, estimator=Flat(1)).step(Cameras.cat([CAMERAS[:1]] * 4)).written == [192, 0]


@pytest.mark.parametrize(("options", "message"), [
    ({"exclude": torch.ones(3, 3) > 0}, r"exclude: expected bool \(H=96, W=128\), got torch.bool \(3, 3\)"),
    ({"exclude": torch.zeros(SIZE)}, r"exclude: expected bool \(H=96, W=128\), got torch.float32 \(96, 128\)"),
    ({"filters": Filters(), "decode": False}, "decode: expected True with an estimator or filters, got False"),
])  # fmt: skip
def test_sessions_with_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        start(**options)
