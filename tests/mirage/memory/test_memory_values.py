# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a memory takes and gives: latents that are not finite, scenes far from the origin, and rows near the camera."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.cameras import dolly, pan
from mirage.memory import LatentSpatialMemory
from mirage.memory.snapshot import restore_snapshot, take_snapshot
from mirage.models.embedded.resample import is_unmoved
from mirage_kernels import Cameras

GRID = (12, 20)
START = Cameras(torch.tensor([[160.0, 0, 160], [0, 160, 96], [0, 0, 1]]), torch.eye(4), (192, 320))
FAR = (500_000.0, -4_649_776.25, 120.5)  # UTM coordinates


def latents(seed: int = 0) -> Tensor:
    return torch.randn(6, 1, *GRID, generator=torch.Generator().manual_seed(seed))


def wall(distance: float = 4.0) -> Tensor:
    return torch.full((1, 192, 320), distance)


def warns_of_rejected(message: str) -> Any:
    return pytest.warns(UserWarning, match=rf"memory: {message}; `rejected` counts further ones")


@pytest.mark.parametrize("storage", [None, "int8"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e6])
def test_cells_with_non_finite_latents_are_rejected(value: float, storage: Any) -> None:
    """1e6 is finite, but not in float16."""
    memory = LatentSpatialMemory(6, dtype=torch.float16, storage=storage)
    spoiled = latents()
    spoiled[3, 0, 2:4, 5] = value
    with warns_of_rejected("2 cells were not written: 2 have latents that are not finite"):
        assert memory.write(spoiled, START, wall()) == [238]
    assert memory.rejected == 2
    view = memory.read(START.rescale(GRID))
    assert view.latents.isfinite().all()
    assert memory.history.latents.isfinite().all()
    assert memory.retrieve(START).latents.isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert memory.write(spoiled, pan(START, torch.tensor([1.0]), 90.0), wall(), stamps=[1]) == [238]
        assert memory.rejected == 4
        # good latents fill the gaps
        memory.write(latents(), START, wall(), stamps=[2])
    assert memory.read(START.rescale(GRID)).mask.all()


def test_invented_cells_with_non_finite_latents_are_rejected() -> None:
    memory = LatentSpatialMemory(6)
    depth = wall()
    depth[:, :, :160] = 0
    assert memory.write(latents(), START, depth) == [120]
    spoiled = latents(1)
    spoiled[0, 0, 6, 3] = math.nan
    with warns_of_rejected("1 cells were not written: 1 have latents that are not finite"):
        assert memory.write(spoiled, START) == [119]
    assert memory.history.surface[1, 6, 3] == math.inf  # nothing was observed there
    assert memory.read(START.rescale(GRID)).latents.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64])
def test_latents_of_other_dtypes_are_refused(dtype: torch.dtype) -> None:
    memory = LatentSpatialMemory(6)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(TypeError, match=f"^latents: expected float32, bfloat16 or float16, got {name}$"):
        memory.write(latents().to(dtype), START, wall())
    with pytest.raises(TypeError, match=f"^history_latents: expected float32, bfloat16 or float16, got {name}$"):
        memory.write(latents(), START, wall(), history_latents=latents().to(dtype))
    assert len(memory) == len(memory.history) == 0


def test_a_memory_keeps_no_graph() -> None:
    memory, plain = LatentSpatialMemory(6), LatentSpatialMemory(6)
    memory.write(latents().requires_grad_() * 1, START, wall().requires_grad_() * 1)
    plain.write(latents(), START, wall())
    assert not any(tensor.requires_grad for tensor in memory.history.tensors().values())
    assert not memory.read(START.rescale(GRID)).latents.requires_grad
    copied = copy.deepcopy(memory)
    for name, tensor in plain.history.tensors().items():
        assert torch.equal(copied.history.tensors()[name], tensor)


def test_other_types_are_refused() -> None:
    memory: Any = LatentSpatialMemory(6)
    with pytest.raises(TypeError, match="latents: expected a tensor, got ndarray"):
        memory.write(latents().numpy(), START, wall())
    with pytest.raises(TypeError, match="cameras: expected Cameras, got Tensor"):
        memory.write(latents(), START.cam2world, wall())
    with pytest.raises(TypeError, match="depth: expected float32, got float64"):
        memory.write(latents(), START, wall().double())


def test_a_scene_far_from_the_origin_is_rejected_aloud() -> None:
    memory = LatentSpatialMemory(6)
    with warns_of_rejected("240 cells were not written: 240 are too far from the origin .*"):
        assert memory.write(latents(), START.translate(FAR), wall()) == [0]
    assert memory.rejected == 240
    assert memory.cache.voxel_size is None
    assert memory.write(latents(), START, wall(), stamps=[1]) == [240]  # and a scene at the origin is still possible


def walk(memory: LatentSpatialMemory, place: Any) -> list[Tensor]:
    """Write, read, invent, carve and retrieve along a path that `place` moves in the world."""
    near, aside = dolly(START, torch.tensor([1.0]), 2.0), pan(START, torch.tensor([1.0]), 30.0)
    memory.write(latents(), place(START), wall(), stamps=[0])
    memory.write(latents(1), place(near), wall(2.0), stamps=[1])
    memory.write(latents(2), place(aside), stamps=[2])
    result: list[Tensor] = []
    for camera in (START, near, aside):
        result += memory.read(place(camera).rescale(GRID))
    found = memory.retrieve(place(near), k=2)
    result += [found.latents, found.stamps, found.scores]
    memory.carve(torch.full((192, 320), 9.0), place(near), GRID)
    return [*result, *memory.read(place(START).rescale(GRID))]


@pytest.mark.parametrize("how", ["same", "file", "snapshot"])
def test_an_origin_makes_a_far_scene_a_near_one(how: str, tmp_path: Path) -> None:
    """All results are those at the origin, bit for bit, also of a memory that was saved before and after."""

    def place(cameras: Cameras) -> Cameras:
        return cameras.translate(FAR)

    far = LatentSpatialMemory(6, origin=FAR)
    # Float32 holds positions that far away to within 3 cm: the near path is what it leaves of the far one.
    expected = walk(LatentSpatialMemory(6), lambda cameras: far.history.to_local(place(cameras)))
    if how == "file":
        far.save(tmp_path / "memory.safetensors")
        far = LatentSpatialMemory.load(tmp_path / "memory.safetensors")
    elif how == "snapshot":
        far = restore_snapshot(take_snapshot(far))
    result = walk(far, place)
    for number, (a, b) in enumerate(zip(result, expected, strict=True)):
        assert torch.equal(a, b), number
    assert far.rejected == 0
    assert far.history.origin == FAR
    if how == "file":
        far.save(tmp_path / "memory.safetensors")
        far = LatentSpatialMemory.load(tmp_path / "memory.safetensors")
    elif how == "snapshot":
        far = restore_snapshot(take_snapshot(far))
    again = far.read(place(START).rescale(GRID))
    assert torch.equal(again.latents, result[-7])
    assert is_unmoved(far.cache, again.row[0], far.history.to_local(place(START).rescale(GRID))).any()
    assert far.history.cameras is not None
    assert torch.equal(far.history.cameras.cam2world[0], place(START).cam2world[0])  # in world coordinates


@pytest.mark.long
def test_reads_of_a_far_memory_compile_into_one_graph() -> None:
    memory = LatentSpatialMemory(6, origin=FAR)
    memory.write(latents(), START.translate(FAR), wall())
    camera = START.translate(FAR).rescale(GRID)
    torch.compiler.reset()
    view = torch.compile(memory.read, fullgraph=True, backend="aot_eager")(camera)
    assert all(torch.equal(part, same) for part, same in zip(view, memory.read(camera), strict=True))


@pytest.mark.parametrize(
    ("origin", "kind", "message"),
    [
        ((1.0, 2.0), ValueError, r"origin: expected \(x, y, z\), got \(1.0, 2.0\)"),
        (3.0, ValueError, r"origin: expected \(x, y, z\), got 3.0"),
        ((0.0, math.nan, 0.0), ValueError, r"origin\[1\]: expected at least -1e\+30, got nan"),
        ((0.0, 0.0, "north"), TypeError, r"origin\[2\]: expected a number, got str"),
    ],
)
def test_wrong_origins_are_refused(origin: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        LatentSpatialMemory(6, origin=origin)
    with pytest.raises(kind, match=message.replace("origin", "offset")):
        START.translate(origin)


def test_near_skips_rows_just_in_front_of_the_camera() -> None:
    """A row 1 cm in front of the camera covers the whole view; near leaves the wall behind it."""
    memory = LatentSpatialMemory(6)
    memory.write(latents(), START, wall(), stamps=[0])
    post = torch.full((1, 192, 320), 0.0)
    post[:, 96:112, 160:176] = 2.0
    memory.write(latents(1), START, post, stamps=[1])
    camera = dolly(START, torch.tensor([1.0]), 1.99).rescale(GRID)
    blocked = memory.read(camera)
    assert (blocked.stamp == 1).sum() > 100
    view = memory.read(camera, near=0.5)
    assert (view.stamp != 1).all()
    assert (view.depth > 0.5).all()
    assert view.mask.sum() > 200
    with pytest.raises(ValueError, match=r"near: expected at least 1e-06, got 0"):
        memory.read(camera, near=0)
