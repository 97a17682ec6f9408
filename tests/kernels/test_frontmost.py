# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""frontmost: which points cameras see."""

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

from mirage_kernels import Cameras, _library, frontmost, splat, testing
from mirage_kernels.testing import same_bits, splat_case


class FrontmostCase(NamedTuple):
    """Arguments of one call of ``frontmost``."""

    xyz: Tensor
    cameras: Cameras
    options: dict[str, Any]

    def run(self) -> Tensor:
        return frontmost(self.xyz, self.cameras, **self.options)


def frontmost_case(
    seed: int,
    *,
    n: int = 200,
    views: int = 2,
    size: tuple[int, int] = (6, 9),
    kind: str = "room",
    valid: bool = False,
    strided: bool = False,
    **options: Any,
) -> FrontmostCase:
    case = splat_case(seed, n=n, views=views, size=size, kind=kind, valid=valid, strided=strided)
    return FrontmostCase(case.xyz, case.cameras, {"valid": case.valid, **options})


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "near": st.sampled_from([0.25, 1.7]),
        "far": st.sampled_from([1.75, 2.0, 3e38, math.inf]),
        "tolerance": st.sampled_from([1e-6, 0.3, 1e30]),
        "cut_off": st.booleans(),
    },
)
CASES = st.builds(
    lambda options, **case: frontmost_case(**case, **options),
    OPTIONS,
    seed=SEEDS,
    n=st.one_of(st.integers(0, 300), st.sampled_from([255, 256, 257, 9000])),
    views=st.integers(0, 4),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kind=st.sampled_from(testing.POINT_KINDS),
    valid=st.booleans(),
    strided=st.booleans(),
)


def oracle(case: FrontmostCase) -> Tensor:
    """One NumPy float32 operation after the other, one point at a time, as documented."""
    f, (h, w), o = np.float32, case.cameras.size, case.options
    near, far = f(o.get("near", 1e-6)), f(o.get("far", math.inf))
    front = torch.zeros(len(case.cameras), len(case.xyz), dtype=torch.bool)
    for v, (k, m) in enumerate(zip(case.cameras.intrinsics.numpy(), case.cameras.world2cam.numpy(), strict=True)):
        cells: dict[tuple[int, int], list[tuple[Any, int]]] = {}
        for n, (x, y, z) in enumerate(case.xyz.numpy()):
            px, py, pz = (((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in m)
            inverse = f(1) / pz
            u, r = (px * inverse) * k[0, 0] + k[0, 2], (py * inverse) * k[1, 1] + k[1, 2]
            if o.get("cut_off"):
                u, r = (f(0) if -1 < a < 0 else a for a in (u, r))
            if near < pz < far and 0 <= u < w and 0 <= r < h and (o["valid"] is None or o["valid"][n]):
                cells.setdefault((int(r), int(u)), []).append((pz, n))
        for points in cells.values():
            limit = min(points)[0] + f(o.get("tolerance", 0.0))
            for depth, n in points:
                front[v, n] = bool(depth <= limit)
    return front


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's overflow, which is part of the cases
@settings(max_examples=examples(60))
@given(seed=SEEDS, kind=st.sampled_from(testing.POINT_KINDS), valid=st.booleans(), options=OPTIONS)
def test_reference_follows_the_contract(seed: int, kind: str, valid: bool, options: dict[str, Any]) -> None:
    case = frontmost_case(seed, n=50, size=(3, 4), kind=kind, valid=valid, **options)
    assert torch.equal(run_reference(case.run), oracle(case))


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(100))
@given(case=CASES)
def test_cpp_equals_reference(case: FrontmostCase, every_backend: EveryBackend) -> None:
    expected = run_reference(case.run)
    for name, result in every_backend(case.run):
        assert same_bits(result, expected), name


def test_the_points_that_splat_draws_are_front_most(every_backend: EveryBackend) -> None:
    case = splat_case(3, n=3000, views=3, kind="ties")
    view = case.run(splat)
    for _, front in every_backend(lambda: frontmost(case.xyz, case.cameras)):
        drawn = torch.zeros_like(front)
        for v, index in enumerate(view.index):
            drawn[v, index[index >= 0]] = True
        assert (front | ~drawn).all()
        same_place = (case.xyz[:, None] == case.xyz).all(2)
        assert torch.equal(front, (drawn[:, None] & same_place).any(2))  # and those at the same place


def test_a_mask_hides_and_reveals() -> None:
    cameras = testing.plain_cameras(1, (4, 4))
    xyz = torch.tensor([[0.0, 0, 2], [0, 0, 1], [0, 0, 1.5]])
    assert frontmost(xyz, cameras).tolist() == [[False, True, False]]
    assert frontmost(xyz, cameras, valid=torch.tensor([1, 0, 1], dtype=torch.uint8)).tolist() == [[False, False, True]]
    assert frontmost(xyz, cameras, near=1.0).tolist() == [[False, False, True]]
    assert frontmost(xyz, cameras, far=1.0).tolist() == [[False, False, False]]
    assert frontmost(xyz, cameras, tolerance=0.5).tolist() == [[False, True, True]]


def test_transforms() -> None:
    case = frontmost_case(1)
    clouds = torch.stack([case.xyz, 1.1 * case.xyz])
    run = lambda xyz: frontmost(xyz, case.cameras, far=2.0)  # noqa: E731
    assert torch.equal(torch.vmap(run)(clouds), torch.stack([run(xyz) for xyz in clouds]))
    assert torch.equal(torch.compile(run, fullgraph=True, backend="aot_eager")(case.xyz), run(case.xyz))
    assert not frontmost(case.xyz.requires_grad_(), case.cameras).requires_grad


@pytest.mark.parametrize("options", [{}, {"valid": True, "cut_off": True}, {"n": 0}, {"views": 0}])
def test_opcheck(namespace: str, options: dict[str, Any]) -> None:
    case = frontmost_case(0, **({"n": 30} | options))
    k, m = case.cameras.intrinsics, case.cameras.world2cam
    args = (case.xyz, k, m, 6, 9, case.options["valid"], 1e-6, 1e39, 0.1, case.options.get("cut_off", False))
    torch.library.opcheck(_library.overload(namespace, "splat_frontmost"), args)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"xyz": torch.zeros(7, 2)}, ValueError, "xyz: expected (N, 3), got (7, 2)"),
    ({"cameras": "one"}, TypeError, "cameras: expected Cameras, got str"),
    ({"valid": torch.zeros(6) > 0}, ValueError, "valid: expected (N=7,), got (6,)"),
    ({"near": 0.0}, ValueError, "near: expected at least 1e-06, got 0.0"),
    ({"near": 2.0, "far": 1.0}, ValueError, "far: expected more than near (2), got 1.0"),
    ({"tolerance": -1.0}, ValueError, "tolerance: expected at least 0, got -1.0"),
    ({"cut_off": 1}, TypeError, "cut_off: expected a bool, got int"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_argument(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"xyz": torch.zeros(7, 3), "cameras": testing.plain_cameras(1, (3, 4))} | wrong
    with pytest.raises(kind) as error:
        frontmost(given.pop("xyz"), given.pop("cameras"), **given)
    assert str(error.value) == message
