# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments that are tensors but have no values or no dense layout, and values that are no tensors at all: each is
refused by an error that names the argument, before any work. ``make fuzz`` found these."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from every_backend import READY
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, VoxelCache, check, testing

POINTS, FEATURES, DEPTH = torch.rand(4, 3), torch.rand(4, 2), torch.rand(2, 6, 9) + 1
CAMERAS = testing.plain_cameras(2, (6, 9))
CACHE = VoxelCache(0.1, 2)
CACHE.insert(POINTS, FEATURES)
MATRICES = (CAMERAS.intrinsics, CAMERAS.cam2world)
SETTINGS, STATE = CACHE.settings, {name: t.clone() for name, t in CACHE.state_dict().items()}

# Name of the argument, a tensor that is right, and the call.
TENSORS: list[tuple[str, Tensor, Callable[[Any], Any]]] = [
    ("xyz", POINTS, lambda t: mk.splat(t, FEATURES, CAMERAS)),
    ("features", FEATURES, lambda t: mk.splat(POINTS, t, CAMERAS)),
    ("features", FEATURES, lambda t: mk.splat(POINTS, t, CAMERAS, mode="bilinear")),
    ("valid", torch.ones(4, dtype=torch.bool), lambda t: mk.splat(POINTS, FEATURES, CAMERAS, valid=t)),
    ("extent", torch.ones(4), lambda t: mk.splat(POINTS, FEATURES, CAMERAS, extent=t)),
    ("depth", DEPTH, lambda t: mk.unproject(t, torch.rand(2, 1, 3, 3), CAMERAS)),
    ("features", torch.rand(2, 1, 3, 3), lambda t: mk.unproject(DEPTH, t, CAMERAS)),
    ("depth", DEPTH, lambda t: mk.pool_depth(t, (3, 3))),
    ("xyz", POINTS, lambda t: mk.visible(t, CAMERAS)),
    ("a", torch.ones(2, 3, dtype=torch.int64), lambda t: mk.overlap(t, torch.ones(1, 3, dtype=torch.int64))),
    ("xyz", POINTS, lambda t: mk.group_voxels(t, 0.1)),
    ("intrinsics", MATRICES[0], lambda t: Cameras(t, MATRICES[1], (6, 9))),
    ("intrinsics", MATRICES[0][0], lambda t: Cameras(t, MATRICES[1], (6, 9))),
    ("cam2world", MATRICES[1], lambda t: Cameras(MATRICES[0], t, (6, 9))),
    ("cam2world", MATRICES[1][0], lambda t: Cameras(MATRICES[0][0], t, (6, 9))),
    ("world2cam", MATRICES[1], lambda t: Cameras.from_world2cam(MATRICES[0], t, (6, 9))),
    ("world2cam", MATRICES[1][0], lambda t: Cameras.from_world2cam(MATRICES[0][0], t, (6, 9))),
    ("eye", POINTS, lambda t: Cameras.look_at(t, -POINTS, MATRICES[0][0], (6, 9))),
    ("target", POINTS, lambda t: Cameras.look_at(-POINTS, t, MATRICES[0][0], (6, 9))),
    ("cameras", torch.tensor([0, 1]), lambda t: CAMERAS[t]),
    ("times", torch.tensor([0.5]), lambda t: CAMERAS.interpolate(t)),
    ("xyz", POINTS, lambda t: CAMERAS.project(t)),
    ("xyz", POINTS, lambda t: VoxelCache(0.1, 2).insert(t, FEATURES)),
    ("features", FEATURES, lambda t: VoxelCache(0.1, 2).insert(POINTS, t)),
    ("footprint", torch.ones(4), lambda t: VoxelCache(0.1, 2).insert(POINTS, FEATURES, t)),
    ("depth", DEPTH, lambda t: CACHE.clone().carve(t, CAMERAS)),
    ("index", torch.tensor([0, 1]), lambda t: CACHE.clone().touch(t, 1)),
    ("index", torch.tensor([0, 1]), lambda t: CACHE.features(t)),
    ("index", torch.tensor([[[0, 1]]]), lambda t: CACHE.feature_maps(t)),
    ("xyz", STATE["xyz"], lambda t: VoxelCache.from_state_dict(SETTINGS, STATE | {"xyz": t})),
    ("keys", STATE["keys"], lambda t: CACHE.clone().load_state_dict(STATE | {"keys": t})),
]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": lambda t: t.to_sparse(),
    "nested": lambda t: torch.nested.nested_tensor(list(t)),
    "jagged": lambda t: torch.nested.nested_tensor(list(t), layout=torch.jagged),
    "csr": lambda t: t.to_sparse_csr(),
}


@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_that_is_not_dense_is_refused(backend: str, layout: str) -> None:
    for name, tensor, call in TENSORS:
        if (layout == "csr" and tensor.dim() != 2) or (layout == "jagged" and tensor.dim() < 2):
            continue
        with warnings.catch_warnings(), mk.use_backend(backend):
            warnings.simplefilter("ignore")  # of torch: these layouts are not finished
            made = LAYOUTS[layout](tensor)
            with pytest.raises(ValueError, match=f"^{name}: expected a dense tensor, got ") as error:
                call(made)
        assert type(error.value) is ValueError


def test_the_tensors_themselves_are_right() -> None:
    for _, tensor, call in TENSORS:
        call(tensor)


# These read values, and others return a tensor on the same device.
@pytest.mark.parametrize("case", [case for case in TENSORS if case[0] in ("world2cam", "eye", "times")])
def test_a_tensor_without_values_is_refused(case: tuple[str, Tensor, Callable[[Any], Any]]) -> None:
    name, tensor, call = case
    with pytest.raises(ValueError, match=rf"^{name}: expected a tensor with values, got a tensor on meta|^target: "):
        call(tensor.to("meta"))


def test_values_that_do_not_exist_are_not_read() -> None:
    meta = CAMERAS.to("meta")
    assert meta.to("meta").device.type == "meta"
    for call in (
        lambda: mk.group_voxels(POINTS.to("meta"), 0.1),
        lambda: CAMERAS[torch.tensor([0], device="meta")],
        lambda: meta.to("cpu"),
        lambda: Cameras(*(t.to("meta") for t in MATRICES), (6, 9)),
        lambda: meta.interpolate(torch.tensor([0.5])),
        lambda: VoxelCache.from_state_dict(SETTINGS, {name: t.to("meta") for name, t in STATE.items()}),
    ):
        with pytest.raises(
            ValueError, match=r"^(xyz|cameras|cam2world|keys): expected a tensor with values, got a tensor on meta$"
        ):
            call()


@pytest.mark.parametrize("empty", [(2, 0, 9), (2, 6, 0), (0, 0, 0)])
@pytest.mark.parametrize("backend", READY)
def test_depth_maps_without_pixels_are_refused(backend: str, empty: tuple[int, ...]) -> None:
    with mk.use_backend(backend), pytest.raises(ValueError, match=r"^depth's size"):
        mk.pool_depth(torch.rand(empty), (2, 2))


@pytest.mark.parametrize("value", [np.zeros(3), np.zeros((2, 2)), torch.zeros(2, 2), np.array(None), None, 3, "\n" * 9])
def test_a_mode_of_any_type_is_refused_in_one_line(value: Any) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "mode": lambda: mk.splat(POINTS, FEATURES, CAMERAS, mode=value),
        "pooling": lambda: mk.pool_depth(DEPTH, (2, 2), pooling=value),
        "grid": lambda: mk.pool_depth(DEPTH, value),
        "size": lambda: CAMERAS.rescale(value),
        "fusion": lambda: VoxelCache(0.1, 2, fusion=value),
        "offset": lambda: CAMERAS.translate(value),
    }
    for name, call in calls.items():
        if name == "offset" and isinstance(value, np.ndarray) and value.shape == (3,):
            continue
        with pytest.raises((ValueError, TypeError), match=rf"^{name}: expected .*, got .*") as error:
            call()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500


def test_integers_that_python_does_not_print_are_named() -> None:
    huge = 10**5000
    for call in (
        lambda: check.integer("value", huge, 0),
        lambda: check.number("value", huge),
        lambda: check.size("value", (huge, 1)),
        lambda: check.choice("value", (huge,), ("a",)),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"^value(\[0\])?: expected "):
            call()
    with pytest.raises(IndexError, match=r"^cameras: expected an index of 2 cameras, got an integer of 16610 bits$"):
        CAMERAS[huge]


@pytest.mark.parametrize("value", [None, 3, np.array(1.0)])
def test_what_does_not_iterate_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^cameras: expected a sequence of Cameras, got "):
        Cameras.cat(value)
    with pytest.raises(TypeError, match=r"^up: expected 3 numbers, got "):
        Cameras.look_at(POINTS, -POINTS, MATRICES[0][0], (6, 9), up=value)


@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("rows", [0, 4])
def test_a_row_that_does_not_exist_is_named(backend: str, rows: int) -> None:
    cache = VoxelCache(0.1, 2)
    with mk.use_backend(backend):
        cache.insert(POINTS[:rows], FEATURES[:rows])
        for index in (rows, 99, 1 << 40):
            with pytest.raises(IndexError, match=f"^index: expected rows below {rows}, got {index}$"):
                cache.features(torch.tensor([-1, index]))
            with pytest.raises(IndexError, match=f"^index: expected rows below {rows}, got {index}$"):
                cache.feature_maps(torch.tensor([[[index]]]))


@pytest.mark.parametrize(
    ("key", "message"),
    [("unknown", "also unknown"), ("self", "also self"), ("device", "also device"), (7, "also 7"), (None, "also None")],
)
def test_entries_of_a_state_that_do_not_belong_there_are_named(key: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^settings: expected those of a cache, got {message}$"):
        VoxelCache.from_state_dict(SETTINGS | {key: 1}, STATE)
    with pytest.raises(ValueError, match=f"^tensors: expected keys, .*, got {message}$"):
        VoxelCache.from_state_dict(SETTINGS, STATE | {key: torch.zeros(1)})
    with pytest.raises(ValueError, match=r"^settings: expected an entry 'channels', got none$"):
        VoxelCache.from_state_dict({name: v for name, v in SETTINGS.items() if name != "channels"}, STATE)


@pytest.mark.parametrize(
    "make", [lambda: CAMERAS.crop(1e20, -1e25, (6, 9)), lambda: CAMERAS.crop(0, 1e30, (6, 9)).rescale((600, 9))]
)
def test_cameras_beyond_the_constructor_survive_a_pickle(make: Callable[[], Cameras]) -> None:
    cameras = make()
    for other in (pickle.loads(pickle.dumps(cameras)), copy.deepcopy(cameras)):
        for name in ("intrinsics", "cam2world", "world2cam"):
            assert testing.same_bits(getattr(other, name), getattr(cameras, name))
        assert other.size == cameras.size
        assert other._limits == cameras._limits
    for field, value in (("limits", (1.0,)), ("limits", (0.0, 1, 1, 1)), ("limits", (1.0, 2, 1, 2)), ("limits", None)):
        with pytest.raises((ValueError, TypeError), match=r"^limits|^intrinsics"):
            Cameras.__new__(Cameras).__setstate__(cameras.__getstate__() | {field: value})
    skewed = cameras.__getstate__()
    skewed["intrinsics"][0, 0, 1] = 0.5
    with pytest.raises(ValueError, match=r"^intrinsics: expected values within"):
        Cameras.__new__(Cameras).__setstate__(skewed)


def test_a_table_without_an_empty_slot_ends() -> None:
    from mirage_kernels.ops.voxel_cache.voxel_cache_index_reference import look_up

    keys = torch.arange(64)
    assert look_up(torch.tensor([99]), keys, torch.arange(64, dtype=torch.int32)).tolist() == [-1]
