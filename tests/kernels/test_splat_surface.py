# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""VoxelCache.splat_surface: points and squares of a cache, composited."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from every_backend import EveryBackend, run_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples, fixture_is_pure
from test_voxel_cache import room
from torch import Tensor

from mirage_kernels import Cameras, Splat, VoxelCache, _library, testing
from mirage_kernels.testing import same_bits

MASKS = ("valid", "behind", "below")


def cameras_of(seed: int, views: int = 2, size: tuple[int, int] = (6, 9)) -> Cameras:
    return testing.random_cameras(torch.Generator().manual_seed(seed), views, size)


def composed(cache: VoxelCache, cameras: Cameras, **options: Any) -> tuple[Tensor, Tensor]:
    """The same from renderings of ``VoxelCache.splat``, cell by cell."""
    first, tolerance = options.get("first_scale", 0.0), options.get("tolerance", 0.05)
    near, scale = options.get("near", 1e-6), options.get("extent_scale")

    def draw(mask: Tensor | None, extent: float | None) -> Splat:
        return cache.splat(cameras, valid=mask, extent_scale=extent, features=False, near=near)

    def over(a: tuple[Tensor, Tensor], b: Splat | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        depth, index = (b.depth, b.index) if isinstance(b, Splat) else b
        farther = a[0] > depth * torch.tensor(1 + tolerance)
        return torch.where(farther, depth, a[0]), torch.where(farther, index, a[1])

    def surface(mask: Tensor | None) -> tuple[Tensor, Tensor]:
        points = draw(mask, first)
        return over((points.depth, points.index), draw(mask, scale))

    result = surface(options.get("valid"))
    if options.get("behind") is not None:
        result = over(result, draw(options["behind"], scale))
    if options.get("below") is not None:
        under, hole = surface(options["below"]), result[1] < 0
        result = torch.where(hole, under[0], result[0]), torch.where(hole, under[1], result[1])
    return result


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "first_scale": st.sampled_from([0.0, 0.5, 0.65]),
        "extent_scale": st.sampled_from([None, 0.0, 0.5, 2.0]),
        "tolerance": st.sampled_from([0.0, 0.3, 1e18]),
        "near": st.sampled_from([1e-6, 1.5]),
    },
)


def with_masks(cache: VoxelCache, seed: int, names: list[str], options: dict[str, Any]) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)
    return {**options, **{name: torch.rand(len(cache), generator=g) < 0.5 for name in names}}


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(40))
@given(
    seed=SEEDS,
    storage=st.sampled_from([None, "int8"]),
    names=st.lists(st.sampled_from(MASKS), unique=True),
    views=st.integers(0, 3),
    options=OPTIONS,
)
def test_every_backend_composes_the_renderings(
    seed: int, storage: str | None, names: list[str], views: int, options: dict[str, Any], every_backend: EveryBackend
) -> None:
    cache, cameras = room(storage=storage), cameras_of(seed, views)
    options = with_masks(cache, seed, names, options)
    expected = run_reference(lambda: composed(cache, cameras, **options))
    for name, view in every_backend(lambda: cache.splat_surface(cameras, **options)):
        assert same_bits(view.depth, expected[0]), name
        assert same_bits(view.index, expected[1]), name
        assert (view.features.shape, view.features.dtype) == ((views, 0, 6, 9), cache.dtype)


def test_squares_close_gaps_and_hide_what_is_behind() -> None:
    """Two near rows left and right, and a far one between them."""
    cache = VoxelCache(0.1, channels=1, extent_scale=1.0)
    cache.insert(
        torch.tensor([[-0.75, 0.0, 2.0], [0.75, 0.0, 2.0], [0.25, 0.0, 4.0]]), torch.zeros(3, 1), torch.ones(3)
    )
    left, right, far = (int((cache.xyz[:, 0] == x).nonzero()) for x in (-0.75, 0.75, 0.25))
    camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 0.5], [0, 0, 1]]), torch.eye(4), size=(1, 4))

    def shown(**options: Any) -> list[int]:
        return cache.splat_surface(camera, **options).index.flatten().tolist()

    is_far = torch.arange(3) == far
    assert cache.splat(camera, extent_scale=0).index.flatten().tolist() == [left, -1, far, right]
    assert shown() == [left, left, min(left, right) if left < right else right, right]
    assert far not in shown()
    assert shown(valid=is_far) == [-1, far, far, -1]
    assert shown(valid=is_far, below=~is_far) == [left, far, far, right]
    assert far not in shown(valid=is_far, behind=~is_far)


def test_empty_cache_and_empty_masks() -> None:
    cameras = cameras_of(0)
    empty = VoxelCache(0.1, channels=3).splat_surface(cameras, valid=torch.zeros(0, dtype=torch.bool))
    assert (empty.index == -1).all()
    assert empty.depth.isinf().all()
    cache = room()
    none = torch.zeros(len(cache), dtype=torch.bool)
    assert (cache.splat_surface(cameras, valid=none, behind=none, below=none).index == -1).all()


def test_compiled() -> None:
    cache, cameras = room(), cameras_of(1)
    run = torch.compile(lambda views: cache.splat_surface(views)[1:], fullgraph=True, backend="aot_eager")
    for result, expected in zip(run(cameras), cache.splat_surface(cameras)[1:], strict=True):
        assert same_bits(result, expected)


def test_opcheck(namespace: str) -> None:
    cache, cameras = room(), cameras_of(2)
    s, rows = cache.state, len(cache)
    masks = [torch.rand(rows, generator=torch.Generator().manual_seed(n)) < 0.5 for n in range(3)]
    views = (cameras.intrinsics, cameras.world2cam, 6, 9)
    args = (s.xyz[:rows], s.footprint[:rows], *views, *masks, 0.0, 0.6, 0.1, 0.05, *s.boxes, 1e-6)
    torch.library.opcheck(_library.overload(namespace, "splat_surface"), args)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cameras": "one"}, TypeError, "cameras: expected Cameras, got str"),
    ({"valid": torch.zeros(2) > 0}, ValueError, "valid: expected (rows=3,), got (2,)"),
    ({"behind": torch.zeros(3).int()}, TypeError,
     "behind: expected bool, uint8, float32, float64, bfloat16 or float16, got int32"),
    ({"below": [True]}, TypeError, "below: expected a tensor, got list"),
    ({"first_scale": -1.0}, ValueError, "first_scale: expected at least 0, got -1.0"),
    ({"extent_scale": "1"}, TypeError, "extent_scale: expected a number, got str"),
    ({"tolerance": 1e19}, ValueError, "tolerance: expected at most 1e+18, got 1e+19"),
    ({"near": 0.0}, ValueError, "near: expected at least 1e-06, got 0.0"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_argument(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    cache = VoxelCache(0.5, channels=1)
    cache.insert(torch.eye(3), torch.zeros(3, 1))
    with pytest.raises(kind) as error:
        cache.splat_surface(**({"cameras": testing.plain_cameras(1, (3, 4))} | wrong))
    assert str(error.value) == message
