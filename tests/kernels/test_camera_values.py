# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras own their tensors, what selects them, and the range of their values."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_backend import READY
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, splat, testing, unproject
from mirage_kernels.testing import same_bits

K = torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]])
SIZE = (44, 80)
FIVE = testing.random_cameras(torch.Generator().manual_seed(0), 5, SIZE)


def poses(count: int = 3) -> Tensor:
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, 2, 3] = torch.arange(float(count))
    return pose


def state(cameras: Cameras) -> list[Any]:
    return [cameras.intrinsics.tolist(), cameras.cam2world.tolist(), cameras.world2cam.tolist(), cameras.size]


def from_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(x.numpy().copy())


GIVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "tensor": torch.clone,
    "float64": Tensor.double,
    "numpy": from_numpy,
    "view": lambda x: torch.stack([x, x])[0],
    "transposed": lambda x: x.mT.contiguous().mT,
}


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("make", [Cameras, Cameras.from_world2cam])
@pytest.mark.parametrize("one", [True, False])
def test_changes_of_what_was_given_do_not_reach_the_cameras(kind: str, make: Any, one: bool) -> None:
    k, m = GIVEN[kind](K if one else K.expand(3, 3, 3)), GIVEN[kind](poses()[1] if one else poses())
    cameras = make(k, m, SIZE)
    before = state(cameras)
    k.mul_(2)
    m.add_(1)
    assert state(cameras) == before


def test_a_running_pose_gives_different_cameras() -> None:
    pose, cameras = torch.eye(4), []
    for z in range(3):
        pose[2, 3] = z
        cameras.append(Cameras(K, pose, SIZE))
    depth, features = torch.full((1, *SIZE), 2.0), torch.randn(1, 4, *SIZE)
    points = [unproject(depth, features, camera) for camera in cameras]
    assert [p.xyz[1800, 2].item() for p in points] == [2, 3, 4]
    assert all(same_bits(splat(p.xyz, p.features, c).features, features) for p, c in zip(points, cameras, strict=True))


HANDED_OUT = {
    "intrinsics": lambda c: c.intrinsics,
    "cam2world": lambda c: c.cam2world,
    "world2cam": lambda c: c.world2cam,
    "centers": lambda c: c.centers,
    "of a slice": lambda c: c[1:].cam2world,
    "of one": lambda c: c[1].intrinsics,
    "of the same size": lambda c: c.rescale(SIZE).cam2world,
    "of another size": lambda c: c.rescale((4, 5)).world2cam,
    "of the same device": lambda c: c.to("cpu").cam2world,
    "of a window": lambda c: c.crop(1, 2, (3, 4)).cam2world,
    "of one in cat": lambda c: Cameras.cat([c]).cam2world,
    "of a key frame": lambda c: c.interpolate(torch.arange(3.0)).cam2world,
    "a pickled tensor": lambda c: c.__getstate__()["cam2world"],
}


@pytest.mark.parametrize("name", HANDED_OUT)
def test_changes_of_what_was_handed_out_do_not_reach_the_cameras(name: str) -> None:
    cameras = Cameras(K, poses(), SIZE)
    before = state(cameras)
    HANDED_OUT[name](cameras).add_(1)
    HANDED_OUT[name](cameras).numpy().fill(7)
    assert state(cameras) == before


@pytest.mark.parametrize("name", ["intrinsics", "cam2world", "world2cam", "size", "centers", "device"])
def test_attributes_cannot_be_set(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Cameras(K, poses(), SIZE), name, None)


def test_operations_read_the_tensors_and_not_copies() -> None:
    """An operation that reads a public attribute copies it in every call, which costs as much as a small call."""
    package = Path(mk.__file__).parent
    attribute = re.compile(r"cameras(\._?rescaled?\(\w+\))?\.(intrinsics|cam2world|world2cam|centers)\b")
    for path in package.glob("ops/**/*.py"):
        assert not attribute.search(path.read_text()), path


# --- selection ---

SELECTIONS: list[tuple[Any, list[int]]] = [
    (1, [1]), (-5, [0]), (np.int64(2), [2]), (np.uint8(4), [4]), (np.array(3), [3]), (torch.tensor(1), [1]),
    (torch.tensor(-1, dtype=torch.int16), [4]), (torch.tensor(2, dtype=torch.uint8), [2]),
    (slice(None), [0, 1, 2, 3, 4]), (slice(1, 4, 2), [1, 3]), (slice(None, None, -2), [4, 2, 0]),
    (slice(np.int64(1), torch.tensor(3)), [1, 2]), (slice(7, 9), []), ([], []), ([0, -1, 0], [0, 4, 0]),
    ([np.int64(1), torch.tensor(2)], [1, 2]), (range(1, 4), [1, 2, 3]), ([True, False, False, True, False], [0, 3]),
    (torch.tensor([3, -2]), [3, 3]), (torch.tensor([0, 1], dtype=torch.uint8), [0, 1]),
    (torch.tensor([1, 0, 0, 0, 1]).bool(), [0, 4]), (np.array([4, 0]), [4, 0]), (np.arange(5) > 2, [3, 4]),
    (np.arange(5)[::-2], [4, 2, 0]),
    (torch.empty(0, dtype=torch.int64), []),
]  # fmt: skip


@pytest.mark.parametrize(("index", "numbers"), SELECTIONS, ids=[repr(index) for index, _ in SELECTIONS])
def test_selected_cameras(index: Any, numbers: list[int]) -> None:
    selected = FIVE[index]
    assert isinstance(selected, Cameras)
    assert len(selected) == len(numbers)
    for name in ("intrinsics", "cam2world", "world2cam"):
        assert same_bits(getattr(selected, name), getattr(FIVE, name)[numbers])
    assert splat(torch.zeros(1, 3), torch.zeros(1, 2), selected).features.shape == (len(numbers), 2, *SIZE)


REFUSED: list[tuple[Any, type[Exception]]] = [
    *((index, TypeError) for index in (None, (0,), (0, 1), (slice(None), 0), 1.0, "1", ..., True, np.float32(1))),
    *((index, TypeError) for index in (torch.tensor(True), torch.tensor([[0]]), torch.tensor([0.0]), torch.eye(5) > 0)),
    *((index, TypeError) for index in ([0.0], [[0]], [True, 1], [None], np.eye(5), {0}, {0: 1}, np.array([0.0]))),
    *((index, TypeError) for index in (slice(0.0, 1), slice("a"), slice(None, None, 1.5), np.array("a"), b"a", 1j)),
    *(
        (index, IndexError)
        for index in (5, -6, np.int64(5), 2**70, [5], [0, -6], torch.tensor(5), torch.tensor([0, 5]))
    ),
    *((index, IndexError) for index in ([True], torch.ones(4).bool(), torch.ones(6).bool(), np.array([7]))),
    (slice(None, None, 0), ValueError),
    (FIVE, TypeError),
]


@pytest.mark.parametrize(("index", "error"), REFUSED, ids=[repr(index) for index, _ in REFUSED])
def test_refused_indices(index: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^cameras: expected .*, got "):
        FIVE[index]


@pytest.mark.parametrize(
    ("device", "error"),
    [
        *((device, TypeError) for device in (torch.float16, torch.float64, None, 0, 1.5, K, FIVE)),
        *((device, ValueError) for device in ("float16", "cuda:99", torch.device("cuda:99"), "", "xpu:7")),
    ],
)
def test_refused_devices(device: Any, error: type[Exception]) -> None:
    for call in (FIVE.to, mk.VoxelCache(0.1, 2).to, lambda d: mk.VoxelCache(0.1, 2, device=d)):
        with pytest.raises(error, match=r"^device: expected .*, got "):
            call(device)


def test_the_cpu_has_one_name() -> None:
    assert mk.VoxelCache(0.1, 2, device="cpu:0").device == FIVE.to("cpu:0").device == torch.device("cpu")


def test_cat_of_other_things() -> None:
    with pytest.raises(TypeError, match=r"cameras\[1\]: expected Cameras, got Tensor"):
        Cameras.cat([FIVE, K])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"cameras\[1\]: expected cameras on cpu like cameras\[0\], got meta"):
        Cameras.cat([FIVE, FIVE.to("meta")])


def test_cameras_on_meta_have_no_values_to_check() -> None:
    with pytest.raises(ValueError, match="cam2world: expected a tensor with values, got a tensor on meta"):
        Cameras(K.to("meta"), poses().to("meta"), SIZE)


# --- ranges ---


@pytest.mark.parametrize("top", [np.float32(1), np.int64(1), np.float16(1.0), 1, 1.0])
def test_numbers_of_numpy(top: Any) -> None:
    assert state(FIVE.crop(top, np.int32(2), (np.int64(3), np.uint8(4)))) == state(FIVE.crop(1, 2, (3, 4)))  # type: ignore[arg-type]
    assert state(Cameras(K, poses(), np.array(SIZE).tolist())) == state(Cameras(K, poses(), [np.int16(44), 80]))  # type: ignore[arg-type, list-item]


@pytest.mark.parametrize(
    "wrong", [float("nan"), float("inf"), 1e39, 2**200, np.float32("nan"), 1e31, torch.tensor(float("nan"))]
)
@pytest.mark.parametrize("name", ["top", "left"])
def test_windows_out_of_range(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        FIVE.crop(**{"top": 0, "left": 0, name: wrong}, size=(3, 4))
    for other in (None, "1", 1j, torch.zeros(2)):
        with pytest.raises(TypeError, match=f"^{name}: expected a number, got "):
            FIVE.crop(**{"top": 0, "left": 0, name: other}, size=(3, 4))


MAX_SIZE = (127, 1 << 24)


def zoom(cameras: Cameras, window: tuple[int, int], size: tuple[int, int]) -> None:
    for _ in range(12):
        cameras = cameras.crop(0, 0, window).rescale(size)
        assert bool(cameras.intrinsics.isfinite().all())
        assert cameras.intrinsics[0, 0, 0].item() >= 2.0**-126


def test_sizes_that_overflow_are_refused() -> None:
    """Zooming by 2^24 again and again is an error before a value leaves float32, and never an infinite focal length."""
    for start, window, size in ((1.0, (1, 1), MAX_SIZE), (2.0**-60, MAX_SIZE, (1, 1))):
        cameras = Cameras(torch.diag(torch.tensor([start, start, 1.0])), torch.eye(4), window)
        with pytest.raises(ValueError, match="size: expected a size for which float32 can represent the intrinsics"):
            zoom(cameras, window, size)


def test_rescaling_back_and_forth_never_ends() -> None:
    cameras = FIVE
    for _ in range(300):
        cameras = cameras.rescale((705, 1283)).crop(1, 1, (704, 1282)).rescale(SIZE)
    assert bool(cameras.intrinsics.isfinite().all())


RANGES = [
    (0, 0, 2.0**65, r"intrinsics\[0\] fx: expected a focal length of 2\^-64 to 2\^64 cells, got"),
    (1, 1, 2.0**-65, r"intrinsics\[0\] fy: expected a focal length of 2\^-64 to 2\^64 cells, got"),
    (0, 2, -(2.0**65), r"intrinsics\[0\] cx: expected at most 2\^64 cells from the grid's corner, got"),
    (1, 2, 2.0**65, r"intrinsics\[0\] cy: expected at most 2\^64 cells from the grid's corner, got"),
]


@pytest.mark.parametrize("backend", [name for name in READY if name in ("cpp", "reference")])
@pytest.mark.parametrize(("row", "column", "value", "message"), RANGES)
def test_intrinsics_out_of_range(backend: str, row: int, column: int, value: float, message: str) -> None:
    k = K.clone()
    with mk.use_backend(backend):  # type: ignore[arg-type]
        k[row, column] = value / 2 if abs(value) > 1 else value * 2
        Cameras(k, torch.eye(4), SIZE)
        k[row, column] = value
        with pytest.raises(ValueError, match=message):
            Cameras(k, torch.eye(4), SIZE)


@pytest.mark.parametrize("backend", [name for name in READY if name in ("cpp", "reference")])
def test_positions_whose_inverse_overflows(backend: str) -> None:
    pose = FIVE.cam2world[0]
    with mk.use_backend(backend):  # type: ignore[arg-type]
        pose[:3, 3] = 2.0**126
        assert bool(Cameras(K, pose, SIZE).world2cam.isfinite().all())
        pose[1, 3] = 2.0**126 * 1.001
        with pytest.raises(ValueError, match=r"cam2world\[0\]: expected a position within 2\^126 of the origin"):
            Cameras(K, pose, SIZE)


# --- copies, and inference mode ---


def test_a_pickle_carries_its_own_cameras_only() -> None:
    many = Cameras(K, torch.eye(4).repeat(1000, 1, 1), SIZE)
    assert len(pickle.dumps(many[7])) < 3000
    for copied in (pickle.loads(pickle.dumps(FIVE)), copy.copy(FIVE), copy.deepcopy(FIVE)):
        assert state(copied) == state(FIVE)
        assert state(copied.rescale((4, 5))) == state(FIVE.rescale((4, 5)))


def test_pickles_of_earlier_versions() -> None:
    old = Cameras.__new__(Cameras)
    tensors = {name: getattr(FIVE, name) for name in ("intrinsics", "cam2world", "world2cam")}
    old.__setstate__({**tensors, "size": SIZE})
    assert state(old) == state(FIVE)


IN_INFERENCE_MODE: dict[str, Callable[[], Cameras]] = {
    "new": lambda: Cameras(K.clone(), poses(), SIZE),
    "world2cam": lambda: Cameras.from_world2cam(K.clone(), poses(), SIZE),
    "look_at": lambda: Cameras.look_at(torch.zeros(1, 3), torch.ones(3), K, SIZE),
    "one": lambda: FIVE[np.int64(1)],
    "mask": lambda: FIVE[[True, False, True, False, True]],
    "cat": lambda: Cameras.cat([FIVE, FIVE]),
    "rescale": lambda: FIVE.rescale((22, 40)),
    "crop": lambda: FIVE.crop(1, 2, (30, 40)),
    "interpolate": lambda: FIVE.interpolate(torch.tensor([0.5])),
    "to": lambda: FIVE.to("cpu"),
    "pickle": lambda: pickle.loads(pickle.dumps(FIVE)),
    "deepcopy": lambda: copy.deepcopy(FIVE),
}


@pytest.mark.parametrize("name", IN_INFERENCE_MODE)
def test_cameras_of_inference_mode_train(name: str) -> None:
    with torch.inference_mode():
        cameras = IN_INFERENCE_MODE[name]()
    xyz = (torch.rand(50, 3) + torch.tensor([-0.5, -0.5, 2])).requires_grad_()
    features = torch.randn(50, 4, requires_grad=True)
    for mode in ("nearest", "bilinear"):
        view = splat(xyz, features, cameras, mode=mode)  # type: ignore[arg-type]
        (view.features.sum() + view.depth[view.mask].sum()).backward()
    depth = torch.full((len(cameras), *cameras.size), 2.0, requires_grad=True)
    points = unproject(depth, torch.zeros(len(cameras), 1, 2, 3), cameras)
    points.xyz.sum().backward()
    assert depth.grad is not None


@pytest.mark.parametrize("backend", [name for name in READY if name in ("cpp", "reference")])
@pytest.mark.parametrize("options", [{}, {"fusion": "mean"}, {"storage": "int8", "eviction": "untouched"}])
def test_a_cache_of_inference_mode_can_be_changed_outside(backend: str, options: dict[str, Any]) -> None:
    xyz, features = torch.rand(200, 3), torch.randn(200, 4)
    with mk.use_backend(backend):  # type: ignore[arg-type]
        with torch.inference_mode():
            inside = [mk.VoxelCache(0.2, 4, **options) for _ in range(2)]
            inside[0].insert(xyz, features)
            inside.append(inside[0].clone())
            inside[2].evict(max_rows=9)
            inside[2].touch(torch.zeros(1, dtype=torch.int64), 3)
        for cache in inside:
            cache.insert(xyz * 3, features)
            cache.touch(torch.zeros(1, dtype=torch.int64), 3)
            cache.carve(torch.full((5, *SIZE), 9.0), FIVE)
            cache.insert(xyz, features)
