# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""associate: which points of a depth map a map of points lacks."""

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

from mirage_kernels import Cameras, Splat, _library, associate, testing
from mirage_kernels.testing import same_bits

INF = math.inf


class AssociateCase(NamedTuple):
    """Arguments of one call of ``associate``."""

    xyz: Tensor
    depth: Tensor
    footprint: Tensor
    rendered: Splat
    footprints: Tensor
    options: dict[str, Any]

    def run(self) -> Tensor:
        return associate(*self[:5], **self.options)

    def to(self, device: str) -> AssociateCase:
        options = {name: testing.to_device(value, device) for name, value in self.options.items()}
        return AssociateCase(*(testing.to_device(part, device) for part in self[:5]), options)

    def arguments(self) -> tuple[Any, ...]:
        """Those of the operation."""
        o = self.options
        past, cameras = o.get("past"), o.get("past_cameras")
        if past is None or cameras is None:
            past, views = torch.zeros(0, 1, 1), (torch.zeros(0, 3, 3), torch.zeros(0, 3, 4))
        else:
            views = cameras.intrinsics, cameras.world2cam
        view = self.rendered.depth.flatten(), self.rendered.index.flatten()
        given = (*self[:3], o.get("valid"), *view, self.footprints, past, *views)
        return (*given, o.get("tolerance", 0.05), o.get("closer", 2.0))


def associate_case(
    seed: int,
    *,
    n: int = 200,
    rows: int = 50,
    frames: int = 3,
    size: tuple[int, int] = (6, 9),
    kind: str = "room",
    valid: bool = False,
    strided: bool = False,
    **options: Any,
) -> AssociateCase:
    """Points at, before and behind what is rendered, some of which past frames have observed."""
    g = torch.Generator().manual_seed(seed)
    xyz = testing.random_points(g, kind, n)
    cameras = testing.random_cameras(g, max(frames, 1), size)[:frames]
    depth = 0.5 + 3 * torch.rand(n, generator=g)
    around = torch.tensor([0.5, 0.94, 0.95, 0.96, 1.0, 1.04, 1.05, 1.06, 1.1025, 1.11, 2.0])
    rendered = depth * around[torch.randint(0, len(around), (n,), generator=g)]
    footprint = 0.1 * 2.0 ** torch.randint(-2, 3, (n,), generator=g)
    index = torch.randint(-rows // 4 - 1, rows + 2, (n,), generator=g)
    footprints = 0.1 * 2.0 ** torch.randint(-3, 4, (rows,), generator=g)
    past = torch.full((frames, *size), INF)
    _, z, inside = cameras.project(xyz)
    uv = cameras.project(xyz)[0].nan_to_num(0.0).clamp(0, 1e6).long()
    for f in range(frames):  # the surfaces go through some of the points
        at = inside[f].nonzero().squeeze(1)
        past[f, uv[f, at, 1], uv[f, at, 0]] = z[f, at] * around[torch.randint(2, 7, (len(at),), generator=g)]
    if kind == "wild":
        for values in (depth, rendered, footprint, past.flatten()):
            wild = torch.rand(len(values), generator=g) < 0.1
            values[wild] = torch.tensor([0.0, INF, -INF, math.nan, 3e38, -1.0, 1e-40])[
                torch.randint(0, 7, (int(wild.sum()),), generator=g)
            ]
    if strided:
        xyz, depth, past = xyz.repeat(1, 2)[:, :3], depth.repeat_interleave(2)[::2], past.mT.contiguous().mT
    view = Splat(torch.zeros(1, 0, 1, n), rendered[None, None], index[None, None])
    if frames:
        options |= {"past": past, "past_cameras": cameras}
    if valid:
        options["valid"] = torch.rand(n, generator=g) < 0.7
    return AssociateCase(xyz, depth, footprint, view, footprints, options)


OPTIONS = st.fixed_dictionaries(
    {}, optional={"tolerance": st.sampled_from([0.0, 0.1, 1e17]), "closer": st.sampled_from([0.0, 1.0, 4.0, 1e18])}
)
CASES = st.builds(
    lambda options, **case: associate_case(**case, **options),
    OPTIONS,
    seed=SEEDS,
    n=st.one_of(st.integers(0, 300), st.sampled_from([255, 256, 257, 9000])),
    rows=st.integers(0, 60),
    frames=st.one_of(st.integers(0, 5), st.sampled_from([31, 32, 33, 70])),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kind=st.sampled_from(testing.POINT_KINDS),
    valid=st.booleans(),
    strided=st.booleans(),
)


def is_observed(case: AssociateCase, n: int) -> bool:
    f, o = np.float32, case.options
    if o.get("past") is None:
        return False
    tolerance, (h, w) = o.get("tolerance", 0.05), o["past"].shape[1:]
    matrices = zip(o["past_cameras"].intrinsics.numpy(), o["past_cameras"].world2cam.numpy(), strict=True)
    x, y, z = case.xyz[n].numpy()
    for frame, (k, m) in enumerate(matrices):
        px, py, pz = (((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in m)
        inverse = f(1) / pz
        u, v = (px * inverse) * k[0, 0] + k[0, 2], (py * inverse) * k[1, 1] + k[1, 2]
        if not (f(1e-6) < pz < INF and 0 <= u < w and 0 <= v < h):
            continue
        surface = o["past"][frame, int(v), int(u)].numpy()
        as_near = pz / k[0, 0] <= f(1 + tolerance) * case.footprint[n].numpy()
        if as_near and abs(surface - pz) <= f(tolerance) * pz:
            return True
    return False


def oracle(case: AssociateCase) -> list[int]:
    """One point at a time, as documented."""
    f, o, numbers = np.float32, case.options, []
    s, closer = o.get("tolerance", 0.05), f(o.get("closer", 2.0))
    for n in range(len(case.xyz)):
        z, d = case.depth[n].numpy(), case.rendered.depth[0, 0, n].numpy()
        row, footprint = int(case.rendered.index[0, 0, n]), case.footprint[n].numpy()
        if o.get("valid") is not None and not o["valid"][n]:
            numbers.append(0)
        elif not 0 <= row < len(case.footprints):
            numbers.append(1)
        else:
            is_closer = abs(d - z) <= f(s) * z and case.footprints[row].numpy() >= closer * footprint
            observed = is_observed(case, n)
            limit = f((1 + s) * (1 + s)) if observed else f(1 + s)
            in_front = d > z * f(1 + s) and d > z * limit if not observed else d > z * f(1 + s) and not d <= z * limit
            numbers.append(2 if is_closer and not observed else 1 if in_front else 0)
    return numbers


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's overflow, which is part of the cases
@settings(max_examples=examples(30))
@given(seed=SEEDS, kind=st.sampled_from(testing.POINT_KINDS), valid=st.booleans(), options=OPTIONS)
def test_reference_follows_the_contract(seed: int, kind: str, valid: bool, options: dict[str, Any]) -> None:
    case = associate_case(seed, n=60, rows=9, kind=kind, valid=valid, frames=seed % 4, **options)
    assert run_reference(case.run).tolist() == oracle(case)


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(40))
@given(case=CASES)
def test_cpp_equals_reference(case: AssociateCase, every_backend: EveryBackend) -> None:
    expected = run_reference(case.run)
    for name, result in every_backend(case.run):
        assert same_bits(result, expected), name


def one_row(**columns: list[float]) -> AssociateCase:
    """One row of cells; the camera looks along z, and the points lie in the middle of the cells."""
    depth, footprint, drawn, known = (torch.tensor(columns[name]) for name in ("depth", "own", "drawn", "known"))
    n = len(depth)
    cameras = testing.plain_cameras(1, (1, n))
    k = cameras.intrinsics[0]
    x = (torch.arange(n) + 0.5 - k[0, 2]) / k[0, 0]
    xyz = depth.nan_to_num(posinf=1.0)[:, None] * torch.stack(
        [x, ((0.5 - k[1, 2]) / k[1, 1]).expand(n), torch.ones(n)], 1
    )
    index = torch.where(drawn.isfinite(), torch.arange(n), -1)
    return AssociateCase(
        xyz, depth, footprint, Splat(drawn.new_zeros(1, 0, 1, n), drawn[None, None], index[None, None]), known, {}
    )


def test_points_that_the_map_lacks() -> None:
    """Depth and footprint, rendered depth and footprint, and the number of the point."""
    cases = [
        (3.0, 0.1, INF, INF, 1),  # a hole
        (3.0, 0.1, 3.0, 0.1, 0),  # the same
        (3.0, 0.1, 3.2, 0.1, 1),  # the rendered surface is more than 5 % farther
        (3.0, 0.1, 3.14, 0.1, 0),  # within 5 %: the same surface
        (3.0, 0.1, 2.5, 0.1, 0),  # the rendered surface is nearer
        (3.0, 0.1, 3.0, 0.2, 2),  # the same surface from half the distance
        (3.0, 0.1, 3.0, 0.19, 0),
        (3.0, 0.1, 2.5, 0.4, 0),  # nearer, with any footprint
        (INF, 0.1, 3.0, 0.1, 0),  # the new cell has no depth
    ]
    depth, own, drawn, known, numbers = (list(column) for column in zip(*cases, strict=True))
    assert one_row(depth=depth, own=own, drawn=drawn, known=known).run().tolist() == numbers


def test_observed_surfaces_are_not_stored_twice() -> None:
    """At 3 m: rendered depth and footprint, whether a past frame observed the surface, and the number."""
    cases = [
        (INF, INF, True, 1),  # a hole is filled, observed or not
        (3.2, 0.1, False, 1),
        (3.2, 0.1, True, 0),  # within 10 %: a neighbor has moved
        (3.31, 0.1, True, 1),  # farther by more than 10 %
        (3.0, 0.2, False, 2),  # seen from closer
        (3.0, 0.2, True, 0),  # from closer, but another frame was as near
    ]
    drawn, known, observed, numbers = (list(column) for column in zip(*cases, strict=True))
    n = len(cases)
    case = one_row(depth=[3.0] * n, own=[0.1] * n, drawn=drawn, known=known)
    surface = torch.where(torch.tensor(observed), 3.0, INF)[None, None]
    cameras = testing.plain_cameras(1, (1, n))
    near, far = (
        Cameras(cameras.intrinsics * torch.tensor([[s], [1.0], [1.0]]), cameras.cam2world, (1, n)) for s in (1, 1)
    )
    footprint = torch.full((n,), 3.0) / cameras.intrinsics[0, 0, 0]
    case = case._replace(footprint=footprint, footprints=torch.tensor(known) / 0.1 * footprint)
    assert case._replace(options={"past": surface, "past_cameras": near}).run().tolist() == numbers
    smaller = case._replace(footprint=footprint / 1.1, footprints=case.footprints / 1.1)
    alone = [
        number if drawn[i] == INF else one
        for i, (number, one) in enumerate(zip(numbers, case.run().tolist(), strict=True))
    ]
    assert smaller._replace(options={"past": surface, "past_cameras": far}).run().tolist() == alone, (
        "it was not as near"
    )


def test_transforms() -> None:
    case = associate_case(1)
    run = lambda depth: associate(case.xyz, depth, *case[2:5], **case.options)  # noqa: E731
    depths = torch.stack([case.depth, 1.1 * case.depth])
    assert torch.equal(torch.vmap(run)(depths), torch.stack([run(depth) for depth in depths]))
    assert torch.equal(torch.compile(run, fullgraph=True, backend="aot_eager")(case.depth), run(case.depth))
    assert not run(case.depth.requires_grad_()).requires_grad


@pytest.mark.parametrize("options", [{}, {"valid": True}, {"n": 0}, {"frames": 0}, {"rows": 0}])
def test_opcheck(namespace: str, options: dict[str, Any]) -> None:
    case = associate_case(0, **({"n": 30} | options))
    torch.library.opcheck(_library.overload(namespace, "associate"), case.arguments())


VIEW = Splat(torch.zeros(1, 0, 1, 7), torch.ones(1, 1, 7), torch.zeros(1, 1, 7, dtype=torch.int64))
PAST = {"past": torch.ones(2, 3, 4), "past_cameras": testing.plain_cameras(2, (3, 4))}
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"xyz": torch.zeros(7, 2)}, ValueError, "xyz: expected (N, 3), got (7, 2)"),
    ({"depth": torch.zeros(6)}, ValueError, "depth: expected (N=7,), got (6,)"),
    ({"footprint": torch.zeros(7).double()}, TypeError, "footprint: expected float32, got float64"),
    ({"rendered": VIEW.depth}, TypeError, "rendered: expected a Splat, got Tensor"),
    ({"rendered": VIEW._replace(index=VIEW.index.int())}, TypeError, "rendered.index: expected int64, got int32"),
    (
        {"rendered": Splat(VIEW.features, VIEW.depth[..., :6], VIEW.index[..., :6])},
        ValueError,
        "rendered.depth: expected (1, h, w) with h w = N=7, got (1, 1, 6)",
    ),
    ({"footprints": torch.zeros(3, 1)}, ValueError, "footprints: expected (R,), got (3, 1)"),
    ({"valid": torch.zeros(6) > 0}, ValueError, "valid: expected (N=7,), got (6,)"),
    ({"past": PAST["past"]}, TypeError, "past_cameras: expected Cameras, got NoneType"),
    (
        {"past_cameras": PAST["past_cameras"]},
        ValueError,
        "past_cameras: expected None if past is None, got Cameras(2 of 3x4, cpu)",
    ),
    (
        PAST | {"past": torch.ones(2, 4, 3)},
        ValueError,
        "past: expected (F=2, h=3, w=4) like past_cameras, got (2, 4, 3)",
    ),
    ({"tolerance": -1.0}, ValueError, "tolerance: expected at least 0, got -1.0"),
    ({"closer": math.nan}, ValueError, "closer: expected at least 0, got nan"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_argument(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    names = ("xyz", "depth", "footprint", "rendered", "footprints")
    good = (torch.zeros(7, 3), torch.zeros(7), torch.zeros(7), VIEW, torch.zeros(3))
    given: dict[str, Any] = dict(zip(names, good, strict=True)) | wrong
    with pytest.raises(kind) as error:
        associate(*[given.pop(name) for name in names], **given)
    assert str(error.value) == message
