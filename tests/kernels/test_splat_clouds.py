# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Several clouds in one call of ``splat``: the bits and the gradients of a loop of calls, on every backend."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from every_backend import EveryBackend, needs_grad, random_gradients, run_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples
from torch import Tensor

from mirage_kernels import Cameras, Splat, _library, splat
from mirage_kernels.testing import assert_same, random_cameras, random_points, same_bits

SIZE = (6, 9)
SHAPES: dict[str, dict[str, Any]] = {
    "points": {},
    "discs": {"radius": 1.5},
    "discs of their own": {"radius": "each"},
    "squares": {"extent": 0.1},
    "squares of their own": {"extent": "each"},
    "near and far": {"near": 0.5, "far": 3.0, "background": 7.0},
}


def cat(views: list[Splat]) -> Splat:
    return Splat(*(torch.cat(parts) for parts in zip(*views, strict=True)))


class Clouds:
    """B clouds of n points, with ``each`` views; or the same points, cut at random rows."""

    def __init__(self, seed: int, clouds: int, n: int, each: int, ragged: bool = False, channels: int = 3) -> None:
        g = torch.Generator().manual_seed(seed)
        self.each, rows = each, clouds * n
        kind = ("room", "border")[seed % 2]
        self.xyz = random_points(g, kind, rows)
        self.features = torch.randn(rows, channels, generator=g)
        self.valid = torch.rand(rows, generator=g) < 0.7 if seed % 3 else None
        self.extent = 0.2 * torch.rand(rows, generator=g)
        self.cameras: Cameras = random_cameras(g, clouds * each, SIZE)
        cuts = sorted(torch.randint(-2, rows + 3, (clouds + 1,), generator=g).tolist())
        self.offsets = torch.tensor(cuts) if ragged else None
        bounds = [min(max(cut, 0), rows) for cut in cuts] if ragged else [n * b for b in range(clouds + 1)]
        self.parts = list(itertools.pairwise(bounds))

    def options(self, options: dict[str, Any], part: slice) -> dict[str, Any]:
        masks = {} if self.valid is None else {"valid": self.valid[part]}
        own = {"extent": self.extent[part], "radius": 10 * self.extent[part]}
        return {**options, **masks, **{name: size for name, size in own.items() if options.get(name) == "each"}}

    def loop(self, xyz: Tensor, features: Tensor, **options: Any) -> Splat:
        views = []
        for b, (first, end) in enumerate(self.parts):
            part, cameras = slice(first, end), self.cameras[self.each * b : self.each * (b + 1)]
            views.append(splat(xyz[part], features[part], cameras, **self.options(options, part)))
        return cat(views)

    def at_once(self, xyz: Tensor, features: Tensor, **options: Any) -> Splat:
        given = self.options(options, slice(None))
        if self.offsets is not None:
            return splat(xyz, features, self.cameras, offsets=self.offsets, **given)
        shape = (len(self.parts), len(xyz) // len(self.parts))
        given = {k: v.view(shape) if isinstance(v, Tensor) else v for k, v in given.items()}
        return splat(xyz.view(*shape, 3), features.view(*shape, features.shape[1]), self.cameras, **given)


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=SEEDS,
    clouds=st.integers(1, 4),
    n=st.sampled_from([0, 1, 40, 300]),
    each=st.sampled_from([1, 2, 5]),
    ragged=st.booleans(),
    shape=st.sampled_from(list(SHAPES)),
)
def test_clouds_equal_a_loop(
    seed: int, clouds: int, n: int, each: int, ragged: bool, shape: str, every_backend: EveryBackend
) -> None:
    case = Clouds(seed, clouds, n, each, ragged)
    expected = run_reference(lambda: case.loop(case.xyz, case.features, **SHAPES[shape]))
    for backend, result in every_backend(lambda: case.at_once(case.xyz, case.features, **SHAPES[shape])):
        try:
            assert_same(result, expected)
        except AssertionError as error:
            raise AssertionError(f"{backend}: {error}") from None


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("clouds", "n", "each"), [(2, 40, 67), (70, 5, 1), (3, 9000, 2)])
def test_more_views_than_a_batch_and_more_points_than_a_block(
    clouds: int, n: int, each: int, ragged: bool, every_backend: EveryBackend
) -> None:
    case = Clouds(1, clouds, n, each, ragged, channels=2)
    expected = run_reference(lambda: case.loop(case.xyz, case.features))
    for backend, result in every_backend(lambda: case.at_once(case.xyz, case.features)):
        assert same_bits(result.index, expected.index), backend
        assert same_bits(result.features, expected.features), backend


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("ragged", [False, True])
def test_gradients_equal_those_of_a_loop(ragged: bool, mode: str, every_backend: EveryBackend) -> None:
    case = Clouds(5, 3, 60, 2, ragged)

    def gradients(render: Any) -> list[Tensor]:
        xyz, features = needs_grad(case.xyz), needs_grad(case.features)
        view = render(xyz, features, mode=mode)
        return random_gradients([view.features, view.depth], [xyz, features], 0)

    # Through the weights of mode "bilinear", backends differ by rounding: each is compared with its own loop.
    loops = dict(every_backend(lambda: gradients(case.loop)))
    for backend, result in every_backend(lambda: gradients(case.at_once)):
        assert all(map(same_bits, result, loops[backend])), backend


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_every_view_has_its_mask(mode: str, every_backend: EveryBackend) -> None:
    case = Clouds(3, 2, 50, 3)
    masks = torch.rand(6, 50, generator=torch.Generator().manual_seed(1)) < 0.5
    xyz, features = case.xyz.view(2, 50, 3), case.features.view(2, 50, 3)

    def loop() -> Splat:
        views = [(xyz[v // 3], features[v // 3], case.cameras[v]) for v in range(6)]
        return cat([splat(*view, valid=mask, mode=mode) for view, mask in zip(views, masks, strict=True)])

    expected = run_reference(loop)
    for _, result in every_backend(lambda: splat(xyz, features, case.cameras, valid=masks, mode=mode)):
        assert_same(result, expected)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_no_clouds_and_no_views(mode: str, every_backend: EveryBackend) -> None:
    none = Clouds(0, 1, 5, 1).cameras[:0]
    forms = [(torch.zeros(0, 5, 3), torch.zeros(0, 5, 2), None), (torch.zeros(3, 5, 3), torch.zeros(3, 5, 2), None)]
    forms.append((torch.zeros(5, 3), torch.zeros(5, 2), torch.zeros(1, dtype=torch.int64)))
    for xyz, features, offsets in forms:
        for _, view in every_backend(lambda: splat(xyz, features, none, offsets=offsets, mode=mode)):  # noqa: B023
            assert view.features.shape == (0, 2, *SIZE)
            assert view.index.shape == (0, *SIZE)


def test_labels_of_clouds() -> None:
    for ragged in (False, True):
        case = Clouds(4, 3, 50, 2, ragged)
        labels = torch.randint(-(2**62), 2**62, (150, 2), generator=torch.Generator().manual_seed(0))
        assert_same(case.at_once(case.xyz, labels), case.loop(case.xyz, labels))


def test_clouds_compile_and_differentiate_under_transforms() -> None:
    case = Clouds(7, 3, 40, 2)
    features = case.features.view(3, 40, 3)

    def loss(xyz: Tensor) -> Tensor:
        depth = splat(xyz, features, case.cameras).depth
        return torch.where(depth.isinf(), 0, depth).sum()

    xyz = case.xyz.view(3, 40, 3)
    plain = needs_grad(xyz)
    loss(plain).backward()
    assert plain.grad is not None
    assert same_bits(torch.func.grad(loss)(xyz), plain.grad)
    compiled = torch.compile(lambda: splat(xyz, features, case.cameras), fullgraph=True, backend="aot_eager")
    assert_same(compiled(), splat(xyz, features, case.cameras))


@pytest.mark.parametrize("ragged", [False, True])
def test_opcheck(ragged: bool, namespace: str) -> None:
    case = Clouds(2, 3, 20, 2, ragged)
    xyz, features = needs_grad(case.xyz), needs_grad(case.features)
    if not ragged:
        xyz, features = needs_grad(case.xyz.view(3, 20, 3)), needs_grad(case.features.view(3, 20, 3))
    views = (case.cameras.intrinsics, case.cameras.world2cam, *SIZE)
    arguments = (xyz, features, *views, None, None, case.offsets, 0.0, 0.0, 1e-6)
    torch.library.opcheck(_library.overload(namespace, "splat_clouds"), arguments)
    points = (xyz.detach(), features.detach())
    torch.library.opcheck(_library.overload(namespace, "splat_clouds", "inference"), (*points, *arguments[2:]))
    if not ragged:
        torch.library.opcheck(_library.overload(namespace, "splat_clouds_plain"), (*points, *views))
