# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""cell_offsets and blend_cells: where points lie in their cells, and features resampled at the centers of cells."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from every_backend import EveryBackend, run_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples, fixture_is_pure
from torch import Tensor

from mirage_kernels import Cameras, _library, blend_cells, cell_offsets, splat, testing
from mirage_kernels.testing import same_bits, same_sums

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


class BlendCase(NamedTuple):
    """Arguments of one call of ``blend_cells``."""

    features: Tensor
    offsets: Tensor
    depth: Tensor
    band: float

    def run(self) -> Tensor:
        return blend_cells(self.features, self.offsets, self.depth, band=self.band)


def blend_case(
    seed: int,
    *,
    views: int = 2,
    channels: int = 3,
    size: tuple[int, int] = (6, 9),
    dtype: torch.dtype = torch.float32,
    band: float = 0.05,
    wild: bool = False,
    strided: bool = False,
) -> BlendCase:
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(views, channels, *size, generator=g)
    offsets = 1.2 * torch.rand(views, 2, *size, generator=g) - 0.6
    depth = 2 + 0.2 * torch.rand(views, *size, generator=g)
    depth[torch.rand(depth.shape, generator=g) < 0.1] = torch.inf
    if wild:
        special = torch.tensor([math.nan, math.inf, -math.inf, 0.5, -0.5, 1e-45, -0.0])
        for tensor in (features, offsets, depth):
            some = torch.rand(tensor.shape, generator=g) < 0.1
            tensor[some] = special[torch.randint(7, tensor.shape, generator=g)][some]
    if strided:
        features = features.transpose(2, 3).contiguous().transpose(2, 3)
    return BlendCase(features.to(dtype), offsets, depth, band)


CASES = st.builds(
    blend_case,
    SEEDS,
    views=st.integers(0, 3),
    channels=st.integers(0, 5),
    size=st.tuples(st.integers(1, 10), st.one_of(st.integers(1, 40), st.sampled_from([64, 65]))),
    dtype=st.sampled_from(DTYPES),
    band=st.sampled_from([0.0, 0.05, 1e18]),
    wild=st.booleans(),
    strided=st.booleans(),
)


def oracle(case: BlendCase) -> Tensor:
    """One NumPy float32 operation after the other, one cell at a time, as documented."""
    f = np.float32
    values, offsets, depth = case.features.numpy(), case.offsets.numpy(), case.depth.numpy()
    out = values.copy()
    views, channels, h, w = values.shape
    for v, i, j in np.ndindex(views, h, w):
        total, sums, own = f(0), np.zeros(channels, f), depth[v, i, j]
        for down, across in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)):
            r, c = i + down, j + across
            if not (0 <= r < h and 0 <= c < w):
                continue
            (x, y), z = offsets[v, :, r, c], depth[v, r, c]
            if not (abs(x) <= 0.5 and abs(y) <= 0.5 and np.isfinite(z) and np.isfinite(own)):
                continue
            x, y = abs(f(across) + x), abs(f(down) + y)
            if abs(z - own) <= f(case.band) * own and x < 1 and y < 1 and (1 - x) * (1 - y) > 0:
                total += (1 - x) * (1 - y)
                sums += ((1 - x) * (1 - y)) * values[v, :, r, c]
        if total > f(1e-4):
            out[v, :, i, j] = sums * (f(1) / total)
    return torch.from_numpy(out)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=examples(40))
@given(seed=SEEDS, wild=st.booleans(), band=st.sampled_from([0.0, 0.05, 1e18]))
def test_reference_follows_the_contract(seed: int, wild: bool, band: float) -> None:
    case = blend_case(seed, size=(4, 5), wild=wild, band=band)
    assert same_sums(run_reference(case.run), oracle(case))


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(60))
@given(case=CASES)
def test_cpp_equals_reference(case: BlendCase, every_backend: EveryBackend) -> None:
    expected = run_reference(case.run)
    for name, result in every_backend(case.run):
        assert same_sums(result, expected), name


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("size", [(30, 52), (1, 1100), (5, 4100)])  # several threads; more vectors than are listed
def test_large_maps(size: tuple[int, int], every_backend: EveryBackend) -> None:
    case = blend_case(3, size=size, channels=2, dtype=torch.bfloat16)
    expected = run_reference(case.run)
    for name, result in every_backend(case.run):
        assert same_sums(result, expected), name


def rendered(seed: int, kind: str = "room", n: int = 300, views: int = 3) -> tuple[Tensor, Tensor, Cameras]:
    case = testing.splat_case(seed, n=n, views=views, kind=kind)
    return case.xyz, splat(case.xyz, None, case.cameras, radius=1.0).index, case.cameras


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(40))
@given(seed=SEEDS, kind=st.sampled_from(testing.POINT_KINDS), n=st.sampled_from([0, 1, 300]), views=st.integers(0, 3))
def test_offsets_equal_reference(seed: int, kind: str, n: int, views: int, every_backend: EveryBackend) -> None:
    xyz, index, cameras = rendered(seed, kind, n, views)
    index.view(-1)[::7] = n + 3  # no point: a hole
    expected = run_reference(lambda: cell_offsets(xyz, index, cameras))
    for name, result in every_backend(lambda: cell_offsets(xyz, index, cameras)):
        assert same_sums(result, expected), name


def test_offsets_are_those_of_project() -> None:
    xyz, index, cameras = rendered(1)
    offsets = cell_offsets(xyz, index, cameras)
    uv, _, _ = cameras.project(xyz)
    for v, i, j in (index >= 0).nonzero().tolist():
        u, r = uv[v, index[v, i, j]]
        assert torch.equal(offsets[v, :, i, j], torch.stack([u - (j + 0.5), r - (i + 0.5)]))
    assert not offsets.movedim(1, -1)[index < 0].any()


def test_a_ramp_is_resampled_exactly() -> None:
    """Points a third of a cell to the right of the centers, whose features grow by 3 a column."""
    features = (3 * torch.arange(6.0)).expand(1, 2, 4, 6).contiguous()
    offsets = torch.stack([torch.full((4, 6), 1 / 3), torch.zeros(4, 6)])[None]
    blended = blend_cells(features, offsets, torch.full((1, 4, 6), 2.0))
    assert torch.allclose(blended[..., 1:], features[..., 1:] - 1, atol=1e-5)
    assert torch.equal(blended[..., 0], features[..., 0])  # nothing lies on its other side


def test_surfaces_do_not_mix() -> None:
    depth = torch.full((1, 1, 4), 2.0)
    depth[..., 2:] = 3.0
    features = torch.tensor([0.0, 0, 8, 8]).reshape(1, 1, 1, 4)
    offsets = torch.zeros(1, 2, 1, 4)
    offsets[:, 0] = 0.25
    assert torch.equal(blend_cells(features, offsets, depth), features)
    assert blend_cells(features, offsets, depth, band=1.0)[0, 0, 0, 2] == 6


def test_transforms() -> None:
    case = blend_case(5)
    run = lambda f, o, d: blend_cells(f, o, d, band=0.05)  # noqa: E731
    assert same_bits(torch.compile(run, fullgraph=True, backend="aot_eager")(*case[:3]), case.run())
    assert not blend_cells(case.features.requires_grad_(), *case[1:3]).requires_grad
    xyz, index, cameras = rendered(2)
    compiled = torch.compile(cell_offsets, fullgraph=True, backend="aot_eager")(xyz, index, cameras)
    assert same_bits(compiled, cell_offsets(xyz, index, cameras))


@pytest.mark.parametrize("options", [{}, {"views": 0}, {"channels": 0}, {"dtype": torch.bfloat16}])
def test_opcheck(namespace: str, options: dict[str, Any]) -> None:
    case = blend_case(0, **options)
    torch.library.opcheck(_library.overload(namespace, "splat_blend"), tuple(case))
    xyz, index, cameras = rendered(0)
    views = (cameras.intrinsics, cameras.world2cam)
    torch.library.opcheck(_library.overload(namespace, "splat_offsets"), (xyz, index, *views))


FEATURES, OFFSETS, DEPTH = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), torch.ones(1, 3, 4)
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"features": FEATURES[0]}, ValueError, "features: expected (V, C, h, w), got (2, 3, 4)"),
    ({"features": FEATURES.double()}, TypeError, "features: expected float32, bfloat16 or float16, got float64"),
    ({"offsets": OFFSETS[:, :1]}, ValueError, "offsets: expected (V=1, 2, h=3, w=4), got (1, 1, 3, 4)"),
    ({"depth": DEPTH[0]}, ValueError, "depth: expected (V=1, h=3, w=4), got (3, 4)"),
    ({"band": -1.0}, ValueError, "band: expected at least 0, got -1.0"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_argument(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"features": FEATURES, "offsets": OFFSETS, "depth": DEPTH} | wrong
    with pytest.raises(kind) as error:
        blend_cells(given.pop("features"), given.pop("offsets"), given.pop("depth"), **given)
    assert str(error.value) == message


WRONG_OFFSETS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"xyz": torch.zeros(7, 2)}, ValueError, "xyz: expected (N, 3), got (7, 2)"),
    ({"index": torch.zeros(1, 3, 4)}, TypeError, "index: expected int64, got float32"),
    ({"index": torch.zeros(2, 3, 4).long()}, ValueError,
     "index: expected (V=1, h=3, w=4) like cameras, got (2, 3, 4)"),
    ({"cameras": "one"}, TypeError, "cameras: expected Cameras, got str"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG_OFFSETS, ids=[message for _, _, message in WRONG_OFFSETS])
def test_wrong_argument_of_offsets(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    cameras = testing.plain_cameras(1, (3, 4))
    given = {"xyz": torch.zeros(7, 3), "index": torch.zeros(1, 3, 4).long(), "cameras": cameras} | wrong
    with pytest.raises(kind) as error:
        cell_offsets(given["xyz"], given["index"], given["cameras"])
    assert str(error.value) == message
