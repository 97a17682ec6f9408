# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers, devices and torch's inference mode: what the memory and its history accept."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mirage.memory import LatentSpatialMemory
from mirage.memory.history import History
from mirage.memory.snapshot import restore_snapshot, take_snapshot
from mirage_kernels import Cameras

COUNT, SIZE = 12, (48, 64)
POSES = torch.eye(4).repeat(COUNT, 1, 1)
POSES[:, 0, 3] = 0.1 * torch.arange(COUNT)
CAMERAS = Cameras(torch.tensor([[32.0, 0, 32], [0, 32, 24], [0, 0, 1]]), POSES, SIZE)
LATENTS = torch.randn(4, COUNT, 6, 8, generator=torch.Generator().manual_seed(0))
DEPTH = torch.full((COUNT, *SIZE), 2.0)
DEPTH[:, :8] = 0


def written(**options: Any) -> LatentSpatialMemory:
    memory = LatentSpatialMemory(4, max_frames=8, **options)
    memory.write(LATENTS, CAMERAS, DEPTH, stamps=range(COUNT))
    return memory


def test_numbers_of_numpy() -> None:
    memory = written()
    found = memory.retrieve(CAMERAS[:2], k=np.int64(2), threshold=np.float32(0.0), before=np.int32(11))
    expected = memory.retrieve(CAMERAS[:2], k=2, threshold=0.0, before=11)
    assert torch.equal(found.latents, expected.latents)
    assert torch.equal(found.scores, expected.scores)
    assert LatentSpatialMemory(np.int64(4), max_frames=np.uint8(3), extent_scale=np.float32(0.5)).channels == 4
    assert memory.write(LATENTS[:, :2], CAMERAS[:2], DEPTH[:2], stamps=np.array([3, 4])) == [0, 0]


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize(("name", "wrong", "error"), [
    ("k", -1, ValueError), ("k", 1.5, TypeError), ("k", None, TypeError), ("k", True, TypeError),
    ("threshold", math.nan, ValueError), ("threshold", -0.1, ValueError), ("threshold", 1.1, ValueError),
    ("threshold", "0.1", TypeError), ("threshold", None, TypeError), ("threshold", math.inf, ValueError),
    ("before", 1.5, TypeError), ("before", "1", TypeError), ("before", math.nan, TypeError),
    ("before", 1 << 63, ValueError),
])  # fmt: skip
def test_refused_arguments_of_retrieve(filled: bool, name: str, wrong: Any, error: type[Exception]) -> None:
    memory = written() if filled else LatentSpatialMemory(4)
    with pytest.raises(error, match=f"^{name}: expected .*, got "):
        memory.retrieve(CAMERAS[:2], **{name: wrong})


def test_retrieving_none() -> None:
    assert written().retrieve(CAMERAS[:2], k=0).latents.shape == (4, 0, 6, 8)
    with pytest.raises(TypeError, match="cameras: expected Cameras, got Tensor"):
        written().retrieve(POSES)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "wrong", "error"), [
    ("max_frames", math.nan, TypeError), ("max_frames", 1.5, TypeError), ("max_frames", -1, ValueError),
    ("max_frames", True, TypeError), ("max_frames", None, TypeError), ("max_frames", "3", TypeError),
    ("device", "cuda:99", ValueError), ("device", "gpu", ValueError), ("device", 0, TypeError),
    ("dtype", torch.int64, ValueError), ("dtype", "float32", TypeError),
    ("extent_scale", math.nan, ValueError), ("max_bytes", 1.5, TypeError),
])  # fmt: skip
def test_refused_settings(name: str, wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{name}: expected .*, got "):
        LatentSpatialMemory(4, **{name: wrong})


@pytest.mark.parametrize(("name", "wrong", "error"), [
    ("voxel_size", 0.0, ValueError), ("voxel_size", math.nan, ValueError), ("voxel_size", "0.1", TypeError),
    ("channels", -1, ValueError),
])  # fmt: skip
def test_refused_settings_of_the_history(name: str, wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{name}: expected .*, got "):
        History(**{"channels": 4, name: wrong})


def test_devices_of_files(tmp_path: Path) -> None:
    written().save(tmp_path / "memory.safetensors")
    with pytest.raises(ValueError, match=r"^device: expected a device of this machine, got 'cuda:99'"):
        LatentSpatialMemory.load(tmp_path / "memory.safetensors", device="cuda:99")


@pytest.mark.parametrize("filled", [False, True])
def test_writing_no_frames_changes_nothing(filled: bool) -> None:
    memory = written() if filled else LatentSpatialMemory(4)
    before, nothing, depth = len(memory), LATENTS[:, :0], DEPTH[:0]
    assert memory.write(nothing, CAMERAS[:0], depth) == []
    assert memory.write(nothing, CAMERAS[:0], depth, mask=torch.zeros(0, 6, 8) > 0, fill_depth=True) == []
    assert memory.write(nothing, CAMERAS[:0]) == []
    assert len(memory) == before


def test_a_history_keeps_copies() -> None:
    memory, other = written(), History(4, storage="int8")
    tensors = memory.history.tensors()
    other.load(tensors)
    before = [t.clone() for t in (other.latents, other.surface, other.stamps)]
    for tensor in tensors.values():
        tensor.fill_(3)
    other.latent(0).fill_(3)
    assert all(torch.equal(a, b) for a, b in zip(before, (other.latents, other.surface, other.stamps), strict=True))


def test_settings_cannot_change() -> None:
    """A file of a memory with other settings than the constructor takes could not be loaded."""
    memory = written()
    for one, name in (
        (memory, "codec"),
        *((memory.history, x) for x in ("max_frames", "voxel_size", "origin", "storage")),
    ):
        with pytest.raises(AttributeError, match=name):
            setattr(one, name, getattr(one, name))


def test_stamps_and_latents_of_a_history_are_copies() -> None:
    history = written().history
    for name in ("stamps", "latents"):
        before = getattr(history, name).clone()
        getattr(history, name).fill_(7)
        assert torch.equal(getattr(history, name), before), name


def test_a_file_and_a_copy_keep_the_given_world2cam(tmp_path: Path) -> None:
    """It need not be the exact inverse of cam2world; a memory that is loaded goes on exactly as the other would."""
    poses = CAMERAS.viewmats
    poses[:, :3, :3] *= 1 + 4e-4
    cameras = Cameras.from_world2cam(CAMERAS.intrinsics, poses, SIZE)
    memory = LatentSpatialMemory(4)
    memory.write(LATENTS, cameras, DEPTH)
    memory.save(tmp_path / "a.safetensors")
    expected = cameras.rescale((6, 8)).world2cam
    restored = (LatentSpatialMemory.load(tmp_path / "a.safetensors"), restore_snapshot(take_snapshot(memory)))
    for other in (memory, copy.deepcopy(memory), *restored):
        assert other.history.cameras is not None
        assert torch.equal(other.history.cameras.world2cam, expected)


def state(memory: LatentSpatialMemory) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in memory._tensors().items()}


def test_a_memory_written_in_inference_mode_can_be_written_outside() -> None:
    parts = (slice(0, 3), slice(3, 6), slice(6, 12))
    memories = []
    for modes in ((False, False, False), (True, False, True), (True, True, False)):
        with torch.inference_mode(modes[0]):
            memory = LatentSpatialMemory(4, max_frames=8)
        for inference, part in zip(modes, parts, strict=True):
            with torch.inference_mode(inference):
                memory.write(LATENTS[:, part], CAMERAS[part], DEPTH[part], fill_depth=True)
                memory.write(LATENTS[:, part], CAMERAS[part])
        memory.carve(torch.full(SIZE, 9.0), CAMERAS[0], (6, 8))
        memories.append(state(memory))
    for other in memories[1:]:
        assert all(torch.equal(x, other[name]) for name, x in memories[0].items())


@pytest.mark.parametrize(("options", "message"), [
    ({"codec": None}, "codec: expected a name of at most 200 characters, got None"),
    ({"codec": "a\0b"}, "codec: expected a name"),
    ({"codec": "x" * 201}, "codec: expected a name"),
    ({"max_frames": (1 << 20) + 1}, "max_frames: expected 0 to 1048576"),
])  # fmt: skip
def test_what_a_file_could_not_hold_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatentSpatialMemory(4, **options)


@pytest.mark.parametrize("of_cells", [False, True])
@pytest.mark.parametrize("depth", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_masks_of_other_dtypes(of_cells: bool, depth: bool, dtype: torch.dtype) -> None:
    """Whatever is not 0 masks, also where ``~`` of its bits is not 0."""
    if not of_cells and not depth:
        return
    memory, size = LatentSpatialMemory(4), (6, 8) if of_cells else SIZE
    mask = torch.full((1, *size), 2, dtype=dtype)
    mask[:, : size[0] // 2] = 0
    given = {"depth": DEPTH[:1]} if depth else {}
    same = LatentSpatialMemory(4)
    added = same.write(LATENTS[:, :1], CAMERAS[0], mask=mask != 0, **given)
    assert memory.write(LATENTS[:, :1], CAMERAS[0], mask=mask, **given) == added
    assert 0 <= added[0] < 48


@pytest.mark.parametrize(("wrong", "error", "message"), [
    ({"mask": 3}, TypeError, "mask: expected a tensor, got int"),
    ({"mask": torch.zeros(2, 6, 8, dtype=torch.int64)}, TypeError, "mask: expected bool, uint8, float32"),
    ({"stamps": 3}, TypeError, "stamps: expected a sequence of integers, got int"),
    ({"latents": LATENTS[:, :2, :0]}, ValueError, "latents' grid"),
    ({"latents": LATENTS[:, :2].to("meta")}, ValueError, "latents: expected a tensor on cpu like the memory, got meta"),
])  # fmt: skip
def test_refused_arguments_of_write(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    memory = LatentSpatialMemory(4)
    given = {"latents": LATENTS[:, :2], "cameras": CAMERAS[:2], "depth": DEPTH[:2]} | wrong
    with pytest.raises(error) as raised:
        memory.write(given.pop("latents"), given.pop("cameras"), given.pop("depth"), **given)
    assert str(raised.value).startswith(message)
    assert len(memory) == len(memory.history) == 0


def test_depth_that_rounding_loses(tmp_path: Path) -> None:
    """A kilometer from the origin, points at 20 micrometers lie at the camera: they are not written."""
    pose = torch.eye(4)
    pose[2, 3] = 1000.3
    camera = Cameras(CAMERAS.intrinsics[0], pose, SIZE)
    memory = LatentSpatialMemory(4)
    near = torch.full((2, *SIZE), 2.0)
    near[1] = 2e-5
    memory.write(LATENTS[:, :2], Cameras.cat([camera, camera]), near)
    assert (memory.history.surface > 0).all()
    memory.save(tmp_path / "memory.safetensors")
    assert len(LatentSpatialMemory.load(tmp_path / "memory.safetensors")) == len(memory)
