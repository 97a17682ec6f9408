# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mirage.cameras import pan, straight
from mirage.errors import DataError
from mirage.memory import LatentSpatialMemory, seen_voxels
from mirage.memory.history import History
from mirage.memory.past_latents import read_latents, store_latents
from mirage.memory.seen_voxels import SeenVoxels
from mirage_kernels import Cameras, keep_sets, load_tensors, overlap, save_tensors

GRID = (6, 8)
START = Cameras(torch.tensor([[4.0, 0, 4], [0, 4, 3], [0, 0, 1]]), torch.eye(4), GRID)
VOXEL = 0.1


def cloud(count: int, g: torch.Generator) -> Tensor:
    """Points around the origin, many to a voxel; some of them nowhere."""
    xyz = torch.randint(-12, 13, (count, 3), generator=g) / 4 + 0.02 * torch.randn(count, 3, generator=g)
    xyz[torch.rand(count, generator=g) < 0.02] = torch.nan
    return xyz


def looking(degrees: float) -> Cameras:
    return pan(START, torch.tensor([1.0]), degrees)


def sets(xyz: Tensor, cameras: Cameras) -> list[set[tuple[float, ...]]]:
    """The voxels in view, by definition."""
    _, _, inside = cameras.project(xyz)
    return [{tuple(cell) for cell in torch.floor(xyz[flags] / VOXEL).tolist()} for flags in inside]


def ious(target: set[tuple[float, ...]], views: list[set[tuple[float, ...]]]) -> list[float]:
    counts = [(len(target & view), len(target | view)) for view in views]
    return [torch.tensor(a / b if b else 0.0, dtype=torch.float64).float().item() for a, b in counts]


@pytest.mark.parametrize("seed", range(20))
def test_points_and_frames_come_and_go(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every change the overlaps are those of Python sets of all points and frames."""
    monkeypatch.setattr(seen_voxels, "MAX_SHORT", 60 if seed % 2 else 1 << 15)  # so that some numbers get longer
    g, choice = torch.Generator().manual_seed(seed), random.Random(seed)
    seen, xyz, cameras, names = SeenVoxels(VOXEL, "cpu"), torch.zeros(0, 3), START[:0], list[int]()
    for step in range(12):
        for _ in range(choice.randint(0, 3)):
            names.append(max(names, default=step) + 1)
            cameras = Cameras.cat([cameras, looking(choice.uniform(0, 360))])
        if choice.random() < 0.4 and len(names) > 1:
            kept = sorted(choice.sample(range(len(names)), choice.randint(1, len(names))))
            names, cameras = [names[k] for k in kept], cameras[kept]
        xyz = torch.cat([xyz, cloud(choice.randint(0, 80), g)])
        bits = seen.update(xyz, cameras, names)
        assert bits.shape[0] == len(names)
        target = looking(choice.uniform(0, 360))
        found = overlap(seen.in_view(xyz, target), bits)[0].tolist()
        assert found == ious(sets(xyz, target)[0], sets(xyz, cameras))


@pytest.mark.parametrize("share", [0.9, 0.2])
def test_removed_points_leave_no_voxels_behind(share: float) -> None:
    """Points of whole voxels are removed: few of them, or so many that everything is computed again."""
    g = torch.Generator().manual_seed(3)
    xyz = cloud(600, g)
    xyz = xyz[xyz.isfinite().all(1)]
    cameras, names = Cameras.cat([looking(a) for a in (0.0, 50.0, 180.0)]), [4, 7, 9]
    seen = SeenVoxels(VOXEL, "cpu")
    seen.update(xyz, cameras, names)
    voxels = torch.floor(xyz / VOXEL)
    keep = (voxels @ torch.tensor([1.3, 7.7, 3.1])).sin().abs() < share
    seen.remap(torch.where(keep, keep.cumsum(0) - 1, -1))
    xyz = torch.cat([xyz[keep], cloud(30, g)])
    target = looking(20.0)
    bits = seen.update(xyz, cameras, names)
    assert overlap(seen.in_view(xyz, target), bits)[0].tolist() == ious(sets(xyz, target)[0], sets(xyz, cameras))
    assert (seen.version.voxels < len(voxels.unique(dim=0))) == (share < 0.5)


def test_the_frame_leaves_that_sees_least_alone() -> None:
    bits = torch.tensor([[0b0111], [0b0110], [0b1000], [0b0001]])
    assert keep_sets(bits, 3).tolist() == [1, 2, 3], "of those that see nothing alone the first"
    assert keep_sets(bits, 2).tolist() == [1, 3]
    assert keep_sets(bits, 4).tolist() == [0, 1, 2, 3]


def walk(memory: LatentSpatialMemory, frames: int, g: torch.Generator) -> Cameras:
    cameras = pan(START, straight(frames), 300.0)
    for t in range(frames):
        depth = 2 + torch.rand(1, *GRID, generator=g)
        memory.write(torch.randn(4, 1, *GRID, generator=g), cameras[t], depth, stamps=[t])
        if t % 5 == 4:
            memory.carve(depth[0] + 0.2, cameras[t], GRID)
    return cameras


@pytest.mark.parametrize("options", [{}, {"max_frames": 8}, {"max_bytes": 30_000}])
def test_a_memory_retrieves_what_a_new_one_would(options: dict[str, int]) -> None:
    """What is kept from call to call changes no result, whenever it was computed."""
    g = torch.Generator().manual_seed(0)
    memory = LatentSpatialMemory(4, **options)
    cameras = walk(memory, 30, g)
    for t in range(0, 30, 3):
        found = memory.retrieve(cameras[t], threshold=0.0)
        expected = memory.history.retrieve(cameras[t], memory.cache.xyz, threshold=0.0)
        assert (found.scores - expected.scores).abs().max() < 0.02, "a voxel may have lost the point that was in view"
        assert len(set(found.stamps.tolist()) ^ set(expected.stamps.tolist())) <= 2
    if not options:
        again = memory.retrieve(cameras[3], threshold=0.0)
        assert torch.equal(again.stamps, memory.retrieve(cameras[3], threshold=0.0).stamps)


def test_an_undone_write_leaves_no_trace_in_retrieval() -> None:
    g = torch.Generator().manual_seed(0)
    memory = LatentSpatialMemory(4)
    cameras = walk(memory, 6, g)
    before = memory.retrieve(cameras[2], threshold=0.0)

    def change() -> None:
        memory.write(torch.ones(4, 1, *GRID), looking(100.0), torch.full((1, *GRID), 1.0), stamps=[99])
        memory.retrieve(looking(100.0))
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        memory.atomic(change)
    memory.write(torch.ones(4, 1, *GRID), looking(200.0), torch.full((1, *GRID), 1.5), stamps=[100])
    after = memory.retrieve(cameras[2], threshold=0.0)
    expected = memory.history.retrieve(cameras[2], memory.cache.xyz, threshold=0.0)
    assert torch.equal(after.scores, expected.scores)
    assert torch.equal(after.stamps, expected.stamps)
    assert 99 not in after.stamps.tolist()
    assert len(before.stamps) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_latents_in_8_bits(dtype: torch.dtype) -> None:
    """Off by half a step of their channel, whatever the channels' sizes; what is not finite is 0."""
    g = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1e-4, 1.0, 50.0, 0.0, 1e4])[:, None, None]
    latent = (sizes * torch.randn(5, 7, 9, generator=g)).to(dtype)
    largest = latent.float().abs().amax((1, 2), keepdim=True)
    latent[1, 0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=dtype)
    stored = store_latents(latent[:, None], dtype, "int8")[0]
    assert stored.nbytes == 5 * 7 * 9 + 4 * 5
    read = read_latents([stored, stored], latent[None, :, :0, :0])
    assert read.shape == (5, 2, 7, 9)
    assert read.dtype == dtype
    wrong = (read[:, 0].float() - latent.nan_to_num(0.0, 0.0, 0.0).float()).abs()
    rounding = {torch.float32: 1e-6, torch.bfloat16: 2**-8, torch.float16: 2**-10}[dtype]
    assert (wrong <= largest * (0.5 / 127 + rounding)).all()


@pytest.mark.parametrize("storage", ["int8", None])
def test_a_history_keeps_its_latents_in_copies_and_files(storage: str | None) -> None:
    memory = LatentSpatialMemory(4, history_storage=storage)  # type: ignore[arg-type]
    walk(memory, 4, torch.Generator().manual_seed(0))
    again = History(4, storage=storage)  # type: ignore[arg-type]
    again.load(memory.history.tensors())
    assert torch.equal(again.latents, memory.history.latents)
    assert memory.history.settings["history_storage"] == storage


def test_the_largest_latents_are_finite() -> None:
    memory = LatentSpatialMemory(2)
    most = torch.finfo(torch.float32).max
    memory.write(
        torch.stack([torch.full((1, *GRID), most), torch.full((1, *GRID), -most)]), START, torch.ones(1, *GRID)
    )
    assert memory.retrieve(START).latents.abs().unique().tolist() == pytest.approx([most], rel=1e-6)


@pytest.mark.parametrize("wrong", ["max_frames", "scales"])
def test_a_history_that_does_not_fit_its_settings_is_refused(wrong: str, tmp_path: Path) -> None:
    memory, path = LatentSpatialMemory(4), tmp_path / "memory.safetensors"
    walk(memory, 3, torch.Generator().manual_seed(0))
    memory.save(path)
    tensors, settings = load_tensors(path, kind="memory", version=2)
    if wrong == "scales":
        tensors["history.scales"] = torch.full_like(tensors["history.scales"], 1e38)
    else:
        settings["max_frames"] = 2
    save_tensors(path, tensors, kind="memory", version=2, settings=settings)
    message = {"scales": r"scales: expected 0 to 2\.68\S+, got 1e\+38", "max_frames": "max_frames: expected at least 3"}
    with pytest.raises(DataError, match=message[wrong]):
        LatentSpatialMemory.load(path)
