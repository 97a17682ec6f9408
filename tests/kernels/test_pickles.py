# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Copies and pickles carry what they use, and go on by themselves on the device that their tensors have."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_backend import READY
from torch import Tensor, nn

import mirage_kernels as mk
from mirage_kernels import Cameras, VoxelCache, testing
from mirage_kernels.testing import same_bits

N, C = 60, 3
CAMERAS = testing.random_cameras(torch.Generator().manual_seed(0), 2, (6, 9))


def points(seed: int, n: int = N) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, generator=g), torch.rand(n, C, generator=g), torch.rand(n, generator=g) * 0.1 + 0.1


def filled(**options: Any) -> VoxelCache:
    """A cache with room for more rows than it has."""
    cache = VoxelCache(options.pop("voxel_size", 0.2), C, **options)
    xyz, features, footprint = points(1)
    cache.insert(xyz, features.to(cache.dtype), footprint, stamp=1)
    cache.evict(max_rows=len(cache) - 5)
    return cache


def contents(cache: VoxelCache) -> dict[str, Any]:
    """Everything that later calls depend on, without memory that is not used."""
    tensors = {name: tensor.clone() for name, tensor in cache.state_dict().items()}
    stats = {name: value for name, value in cache.memory_stats().items() if not isinstance(value, (dict, float))}
    return {**tensors, **cache.settings, **stats, "capacity": None, "nbytes": None}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    def equal(x: Any, y: Any) -> bool:
        return same_bits(x, y) if isinstance(x, Tensor) else bool(x == y)

    return a.keys() == b.keys() and all(equal(value, b[name]) for name, value in a.items())


def with_torch(value: Any, **options: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **options)


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle 0": lambda x: pickle.loads(pickle.dumps(x, protocol=0)),
    "pickle 2": lambda x: pickle.loads(pickle.dumps(x, protocol=2)),
    "pickle 5": lambda x: pickle.loads(pickle.dumps(x, protocol=5)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "torch": lambda x: with_torch(x, weights_only=False),
    "weights_only": lambda x: with_torch(x, weights_only=True),
    "mapped": lambda x: with_torch(x, weights_only=True, map_location="cpu"),
    "in a list": lambda x: copy.deepcopy([x, {"again": x}])[1]["again"],
    "a copy of a copy": lambda x: copy.copy(pickle.loads(pickle.dumps(x))),
}
OPTIONS: list[dict[str, Any]] = [
    {}, {"voxel_size": "auto"}, {"fusion": "mean"}, {"storage": "int8"}, {"dtype": torch.bfloat16},
    {"eviction": "untouched"}, {"max_rows": 80}, {"max_bytes": 20_000, "extent_scale": 0.0, "fusion": "latest"},
]  # fmt: skip


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_a_cache_goes_on_by_itself(name: str) -> None:
    for options in OPTIONS:
        cache = filled(**options)
        before = contents(cache)
        other = COPIES[name](cache)
        assert same(contents(other), before), options
        assert other.lock is not cache.lock
        xyz, features, footprint = points(2)
        inserted = other.insert(xyz, features.to(cache.dtype), footprint, stamp=2)[:4]
        other.touch(torch.arange(3), 9)
        assert same(contents(cache), before), options
        assert cache.insert(xyz, features.to(cache.dtype), footprint, stamp=2)[:4] == inserted
        cache.touch(torch.arange(3), 9)
        assert same(contents(cache), contents(other)), options
        testing.assert_same(other.splat(CAMERAS), cache.splat(CAMERAS))


def test_a_copy_of_an_empty_cache() -> None:
    for voxel_size in ("auto", 0.2):
        for copied in COPIES.values():
            other = copied(VoxelCache(voxel_size, C))
            assert other.voxel_size == (None if voxel_size == "auto" else pytest.approx(voxel_size))
            assert other.insert(*points(1)).added > 0


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_pickle_of_a_cache_has_no_spare_capacity(options: dict[str, Any]) -> None:
    cache = filled(**options)
    cache._store.state = cache._store.state.resized(cache._store.layout, 100_000)
    used = sum(tensor.nbytes for tensor in cache.state_dict().values())
    for size in (len(pickle.dumps(cache)), sum(len(b) for b in buffers(cache))):
        assert used <= size < used + 3000


def buffers(value: Any) -> list[bytes]:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(value, file)
    archive = torch.PyTorchFileReader(io.BytesIO(file.getvalue()))
    names = [name for name in archive.get_all_records() if name.startswith("data/") or name == "data.pkl"]
    return [archive.get_record(name) for name in names]


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_cameras(name: str) -> None:
    many = Cameras(CAMERAS.intrinsics[0], CAMERAS.cam2world.repeat(500, 1, 1), (6, 9))
    for one in (many[7], many[[7, 3]], many[5:9], many[::400], many.rescale((3, 5))[2], many.crop(1, 2, (3, 4))[2]):
        other = COPIES[name](one)
        assert other.size == one.size
        for part in ("intrinsics", "cam2world", "world2cam"):
            assert same_bits(getattr(other, part), getattr(one, part))
            assert getattr(other, f"_{part}").untyped_storage().nbytes() <= 1000 or name == "copy"
        assert len(pickle.dumps(one)) < 3000


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.cameras, self.cache = nn.Linear(2, 2), CAMERAS, filled()


def test_a_module_with_cameras_and_a_cache() -> None:
    """As in an exponential moving average of weights, which is a deep copy."""
    net = Net()
    for copied in (copy.deepcopy, COPIES["torch"]):
        other = copied(net)
        assert other.cache is not net.cache
        testing.assert_same(other.cache.splat(other.cameras), net.cache.splat(net.cameras))
        other.cache.insert(*points(2))
        assert len(other.cache) > len(net.cache)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7", "xpu:0"])
def test_the_device_of_a_cache_is_that_of_its_tensors(device: str) -> None:
    """What ``torch.load(map_location="cpu")`` leaves of a cache from a GPU: tensors that were moved, and a note of a
    device that this machine does not have."""
    cache = filled()
    cache._store.layout = cache._store.layout._replace(device=torch.device(device))
    for copied in (COPIES["pickle 5"], COPIES["weights_only"], COPIES["mapped"]):
        other = copied(cache)
        assert other.device == torch.device("cpu")
        assert other.to("cpu").insert(*points(2, 3000)).added > 0
        assert other.clone().evict(max_rows=3).shape == (len(other),)


RESULTS: dict[str, Callable[[], Any]] = {
    "unproject": lambda: mk.unproject(torch.ones(2, 6, 9), torch.randn(2, C, 2, 3), CAMERAS),
    "splat": lambda: mk.splat(*points(1)[:2], CAMERAS),
    "splat extent": lambda: mk.splat(*points(1)[:2], CAMERAS, extent=0.1),
    "splat bilinear": lambda: mk.splat(*points(1)[:2], CAMERAS, mode="bilinear"),
    "group_voxels": lambda: mk.group_voxels(points(1)[0], 0.3),
    "insert": lambda: VoxelCache(0.2, C, max_rows=70).insert(*points(1)),
    "evicting insert": lambda: filled(max_rows=70).insert(*points(2)),
    "cache splat": lambda: filled(storage="int8").splat(CAMERAS),
    "evict": lambda: (filled().evict(max_rows=4),),
    "features": lambda: (filled(storage="int8").features(),),
    "visible": lambda: (mk.visible(points(1)[0], CAMERAS),),
}


@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("name", RESULTS)
def test_results_carry_their_own_memory(name: str, backend: Any) -> None:
    with mk.use_backend(backend):
        result = RESULTS[name]()
    tensors = [part for part in result if isinstance(part, Tensor)]
    used = sum(tensor.nbytes for tensor in tensors)
    for tensor in tensors:
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
    assert len(pickle.dumps(result)) < used + 3000
    for other in (copy.deepcopy(result), with_torch(result, weights_only=True)):
        assert type(other) is type(result)
        assert all(same_bits(a, b) for a, b in zip(other, result, strict=True) if isinstance(a, Tensor))


def test_pickles_of_earlier_versions_are_refused() -> None:
    """They hold private attributes of those versions."""
    old = {"_store": None, "dtype": torch.float32, "fusion": "best"}
    states: list[Any] = [old, {"settings": {}, "tensors": {}}, None, []]
    for state in states:
        with pytest.raises(ValueError, match=r"VoxelCache: expected a pickle with settings, tensors, totals, got "):
            VoxelCache.__new__(VoxelCache).__setstate__(state)


def test_tampered_pickles_are_refused() -> None:
    """Unpickling checks what a file's checksum cannot."""
    cache = filled()
    for name, value in (("xyz", torch.nan), ("footprint", -1), ("keys", 5), ("features", torch.inf)):
        state = cache.__getstate__()
        state["tensors"][name][1] = value
        with pytest.raises(ValueError, match=r"(xyz|footprint|keys|features)(\[\d+\])?: expected"):
            VoxelCache.__new__(VoxelCache).__setstate__(state)
    state = CAMERAS.__getstate__()
    state["cam2world"][1] *= 2
    with pytest.raises(ValueError, match=r"cam2world\[1\]: expected"):
        Cameras.__new__(Cameras).__setstate__(state)
