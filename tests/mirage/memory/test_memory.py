# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mirage.cameras import dolly, out_and_back, pan, straight
from mirage.errors import DataError
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras, load_tensors, save_tensors

GRID = (12, 20)
START = Cameras(torch.tensor([[160.0, 0, 160], [0, 160, 96], [0, 0, 1]]), torch.eye(4), (192, 320))


def latents(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(48, count, *GRID, generator=torch.Generator().manual_seed(seed))


def wall(distance: float) -> torch.Tensor:
    return torch.full((1, 192, 320), distance)


def room() -> torch.Tensor:
    """A wall at 4 m with a box at 2 m before it."""
    depth = wall(4.0)
    depth[:, 64:128, 112:208] = 2.0
    return depth


def test_a_written_view_reads_back_bit_for_bit() -> None:
    memory = LatentSpatialMemory(48)
    frame = latents(1)
    assert memory.write(frame, START, room(), stamps=[7]) == [240]
    view = memory.read(START.rescale(GRID))
    assert view.mask.all()
    assert torch.equal(view.latents, frame)
    assert bool((view.stamp == 7).all())
    torch.testing.assert_close(view.depth, room()[:, 8::16, 8::16])
    torch.testing.assert_close(view.footprint, view.depth / 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_latents_are_kept_in_the_memorys_dtype(dtype: torch.dtype) -> None:
    memory = LatentSpatialMemory(48, dtype=dtype)
    memory.write(latents(1), START, wall(2.0))
    assert torch.equal(memory.read(START.rescale(GRID)).latents, latents(1).to(dtype))


@pytest.mark.parametrize("options", [{}, {"blend": True, "offsets": True}])
def test_reading_compiles_into_one_graph(options: dict[str, bool]) -> None:
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, room())
    camera = START.rescale(GRID)
    torch.compiler.reset()
    view = torch.compile(memory.read, fullgraph=True, backend="aot_eager")(camera, **options)
    for part, same in zip(view, memory.read(camera, **options), strict=True):
        assert torch.equal(part, same)


def test_reading_between_the_written_views() -> None:
    """A camera a third of a cell to the side: the view is shifted, or resampled at the centers of its cells."""
    memory, columns = LatentSpatialMemory(4), torch.arange(20.0).expand(4, 1, 12, 20)
    memory.write(columns, START, wall(4.0))
    moved = START.translate((4.0 / 10 / 3, 0.0, 0.0)).rescale(GRID)  # a cell is 4 / 10 wide
    plain, blended = (memory.read(moved, blend=blend, offsets=True) for blend in (False, True))
    assert plain.offset.shape == (2, 1, 12, 20)
    torch.testing.assert_close(plain.offset[0, :, :, :19], torch.full((1, 12, 19), -1 / 3), atol=1e-4, rtol=0)
    assert torch.equal(plain.latents[..., :19], columns[..., :19])
    torch.testing.assert_close(blended.latents[..., :18], columns[..., :18] + 1 / 3, atol=1e-4, rtol=0)
    assert memory.read(moved).offset.shape == (0, 1, 12, 20)
    assert memory.read(moved, latents=False, blend=True).latents.shape[0] == 0
    own = memory.read(START.rescale(GRID), blend=True).latents
    torch.testing.assert_close(own, columns, atol=1e-4, rtol=0)


def test_reading_an_empty_memory() -> None:
    view = LatentSpatialMemory(48).read(START.rescale(GRID))
    assert view.latents.shape == (48, 1, *GRID)
    assert not view.mask.any()
    assert bool((view.stamp == -1).all())


def test_writing_the_same_frame_again_adds_nothing() -> None:
    memory = LatentSpatialMemory(48)
    assert memory.write(latents(2), Cameras.cat([START, START]), torch.cat([room(), room()])) == [240, 0]


def test_reading_changes_nothing() -> None:
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, room())
    before = {name: tensor.clone() for name, tensor in memory._tensors().items()}
    memory.read(pan(START, straight(5), 30).rescale(GRID))
    assert all(torch.equal(before[name], tensor) for name, tensor in memory._tensors().items())


def test_a_closer_look_is_written_once_and_then_shown() -> None:
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, wall(4.0))
    near = dolly(START, torch.tensor([1.0]), 2.0)  # twice as near
    assert memory.write(latents(1, 1), near, wall(2.0)) == [240]
    assert torch.equal(memory.read(near.rescale(GRID)).latents, latents(1, 1))
    assert memory.write(latents(1, 2), START, wall(4.0)) == [0], "a more distant look adds nothing"
    assert memory.write(latents(1, 3), near, wall(2.0)) == [0]


def test_a_coarse_look_still_shows_where_no_closer_one_does() -> None:
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, wall(4.0))
    near = dolly(START, torch.tensor([1.0]), 2.0)
    mask = torch.zeros(1, 192, 320, dtype=torch.bool)
    mask[:, :, :160] = True
    memory.write(latents(1, 1), near, wall(2.0), mask=mask)
    view = memory.read(near.rescale(GRID))
    assert view.mask.all()
    assert torch.equal(view.latents[..., 10:], latents(1, 1)[..., 10:])
    assert bool((view.footprint[..., :10] > view.footprint[..., 10:]).all())
    whole = memory.read(START.rescale(GRID))
    assert whole.mask.all()


def test_something_new_in_front_is_written() -> None:
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, wall(4.0))
    assert memory.write(latents(1, 1), START, room()) == [4 * 6]


def test_the_history_keeps_other_latents_if_told_to() -> None:
    memory = LatentSpatialMemory(48, history_storage=None)
    memory.write(latents(1), START, room(), history_latents=latents(1, 1))
    assert torch.equal(memory.read(START.rescale(GRID)).latents, latents(1))
    assert torch.equal(memory.retrieve(START).latents, latents(1, 1))
    assert memory.device == torch.device("cpu")


def test_masked_pixels_are_not_written() -> None:
    memory = LatentSpatialMemory(48)
    mask = torch.zeros(1, 192, 320, dtype=torch.bool)
    mask[0, 5, 5] = True
    assert memory.write(latents(1), START, wall(4.0), mask=mask) == [239]
    assert not memory.read(START.rescale(GRID)).mask[0, 0, 0]


def test_imagined_frames_write_only_their_holes() -> None:
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, wall(4.0))
    aside = pan(START, torch.tensor([1.0]), 20)
    holes = ~memory.read(aside.rescale(GRID)).mask
    assert holes.any()
    imagined = latents(1, 1)
    assert memory.write(imagined, aside) == [int(holes.sum())]
    view = memory.read(aside.rescale(GRID))
    assert view.mask.all()
    assert torch.equal(view.latents[:, holes], imagined[:, holes])
    assert memory.write(imagined, aside) == [0]


def test_imagined_surface_never_hides_what_a_view_saw() -> None:
    """A hole beside a near box, whose far side is not known: the depth of the box itself would hide the wall."""
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, room())
    before = memory.read(START.rescale(GRID))
    path = dolly(START, out_and_back(9), -1.0)
    for shift in (0.4, -0.4):
        pose = path.cam2world.clone()
        pose[:, 0, 3] += shift * out_and_back(9)
        memory.write(latents(9, 1), Cameras(path.intrinsics, pose, path.size))
    after = memory.read(START.rescale(GRID))
    assert torch.equal(after.latents, before.latents)
    assert torch.equal(after.depth, before.depth)
    assert bool((after.stamp == 0).all())


def test_occluders_behind_other_occluders_are_found() -> None:
    """Two candidates in one cell, both before the wall: the z-buffer shows only the nearer one at first."""
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, wall(4.0))
    xyz = torch.tensor([[0.05, 0.05, 2.0], [0.06, 0.06, 3.0], [0.05, 0.05, 3.99], [0.05, 0.05, 5.0]])
    occluders = memory.history.find_occluders(xyz, torch.full((4,), 0.0065), torch.ones(4, dtype=torch.bool))
    assert occluders.tolist() == [True, True, False, False]


def test_save_and_load(tmp_path: Path) -> None:
    memory = LatentSpatialMemory(48, dtype=torch.bfloat16, extent_scale=0.55, max_frames=9, codec="dct-16")
    memory.write(latents(1), START, room())
    memory.write(latents(3, 1), pan(START, straight(3), 25), stamps=[0, 4, 8])
    near = dolly(START, torch.tensor([1.0]), 2.0)
    memory.write(latents(1, 2), near, wall(2.0), stamps=[12])
    memory.save(tmp_path / "memory.safetensors")
    loaded = LatentSpatialMemory.load(tmp_path / "memory.safetensors")
    assert (loaded.cache.extent_scale, loaded.history.max_frames, loaded.codec) == (0.55, 9, "dct-16")
    cameras = Cameras.cat([pan(START, straight(4), 20), near])
    for a, b in zip(loaded.read(cameras.rescale(GRID)), memory.read(cameras.rescale(GRID)), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(loaded.retrieve(near).latents, memory.retrieve(near).latents)
    assert loaded.write(latents(5, 2), cameras) == memory.write(latents(5, 2), cameras)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.safetensors"]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.safetensors"
    memory = LatentSpatialMemory(48)
    memory.write(latents(1), START, room())
    memory.save(path)
    whole = path.read_bytes()
    tensors, settings = load_tensors(path, kind="memory", version=2)
    with pytest.raises(DataError, match="no such file"):
        LatentSpatialMemory.load(tmp_path / "other.safetensors")
    flipped = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
    for damaged in (whole[: len(whole) // 2], whole[:5], b"", b"hello" * 100, flipped):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="expected a memory file, got a damaged file"):
            LatentSpatialMemory.load(path)
    for kind, version, message in (("voxel_cache", 2, "got a voxel_cache file"), ("memory", 1, "got version 1")):
        save_tensors(path, tensors, kind=kind, version=version, settings=settings)
        with pytest.raises(DataError, match=message):
            LatentSpatialMemory.load(path)
    for wrong in (
        {"cache.xyz": tensors["cache.xyz"][:-1]},
        {"cache.stamp": tensors["cache.stamp"].int()},
        {"coarse": tensors["coarse"][1:]},
        {"history.cam2world": tensors["history.cam2world"] * 2},
        {"history.surface": tensors["history.surface"].repeat(2, 1, 1)},
        {"history.latents": tensors["history.latents"][:5]},
        {"other.thing": tensors["coarse"]},
    ):
        save_tensors(path, {**tensors, **wrong}, kind="memory", version=2, settings=settings)
        with pytest.raises(DataError, match="got a file that does not fit together"):
            LatentSpatialMemory.load(path)
    for missing in ("cache.xyz", "coarse", "history.stamps"):
        rest = {name: t for name, t in tensors.items() if name != missing}
        save_tensors(path, rest, kind="memory", version=2, settings=settings)
        with pytest.raises(DataError, match="got a file that does not fit together"):
            LatentSpatialMemory.load(path)


def test_wrong_arguments() -> None:
    memory = LatentSpatialMemory(48)
    with pytest.raises(ValueError, match=r"latents: expected \(C=48, T=1, h, w\), got \(16, 1, 12, 20\)"):
        memory.write(torch.zeros(16, 1, *GRID), START)
    with pytest.raises(ValueError, match=r"latents: expected \(C=48, T=1, h, w\), got \(48, 2, 12, 20\)"):
        memory.write(latents(2), START)
    with pytest.raises(ValueError, match=r"depth: expected \(T=1, H, W\), got \(192, 320\)"):
        memory.write(latents(1), START, wall(1.0)[0])
    with pytest.raises(ValueError, match=r"mask: expected \(1, 12, 20\), got \(1, 192, 320\)"):
        memory.write(latents(1), START, mask=wall(1.0) > 0)
    with pytest.raises(ValueError, match=r"stamps: expected T=1 numbers, got 2"):
        memory.write(latents(1), START, room(), stamps=[1, 2])
    with pytest.raises(ValueError, match=r"history_latents: expected \(48, 1, 12, 20\) like latents, got \(48, 2, 12"):
        memory.write(latents(1), START, room(), history_latents=latents(2))
    assert len(memory) == 0
    memory.write(latents(1), START, room())
    with pytest.raises(ValueError, match=r"latents: expected a grid of \(12, 20\) like earlier frames"):
        memory.write(latents(1)[..., :6, :10], START, room())


def test_a_budget_keeps_flags_with_their_rows() -> None:
    """Rows that move when others are evicted take what is known of them along."""
    memory = LatentSpatialMemory(48, max_bytes=200_000)
    near = dolly(START, torch.tensor([1.0]), 2.0)
    for lap in range(6):
        memory.write(latents(1, lap), pan(START, torch.tensor([1.0]), 60.0 * lap), wall(4.0), stamps=[2 * lap])
        memory.write(latents(1, 9), near, wall(2.0), stamps=[2 * lap + 1])
        assert memory.cache.nbytes <= 200_000
    assert memory.cache.memory_stats()["evicted"] > 0
    assert torch.equal(memory.read(near.rescale(GRID)).latents, latents(1, 9))


def test_int8_latents_come_back_within_half_a_step() -> None:
    memory = LatentSpatialMemory(48, storage="int8")
    memory.write(latents(1), START, room())
    view = memory.read(START.rescale(GRID)).latents
    assert bool(((view - latents(1)).abs() <= latents(1).abs().amax(0) / 127 / 2 * 1.001).all())
