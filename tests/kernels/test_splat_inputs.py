# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every form in which ``splat`` takes its arguments gives what the plain form gives, bit for bit, on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_backend import READY, EveryBackend, assert_same_on_every_backend, needs_grad, random_gradients, run_reference
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Splat, splat
from mirage_kernels.testing import assert_same, same_bits, splat_case

CASE = splat_case(3, n=200, views=4, channels=3, valid=True)
XYZ, FEATURES, CAMERAS = CASE.xyz, CASE.features, CASE.cameras
VALID = CASE.valid if CASE.valid is not None else torch.ones(200, dtype=torch.bool)
OWN = torch.rand(4, 200, generator=torch.Generator().manual_seed(0)) < 0.5  # a mask for each view
WIDE = XYZ.double() * (1 + 2.0**-30)  # not float32
FAR = 2.5


def rendered(xyz: Tensor = XYZ, features: Tensor | None = FEATURES, **options: Any) -> Splat:
    return splat(xyz, features, CAMERAS, **options)


def view_by_view(masks: Tensor, **options: Any) -> Splat:
    views = [splat(XYZ, FEATURES, CAMERAS[v], valid=mask, **options) for v, mask in enumerate(masks)]
    return Splat(*(torch.cat(parts) for parts in zip(*views, strict=True)))


def nearer_than(far: float) -> Tensor:
    return CAMERAS.project(XYZ)[1] < far


def with_background(view: Splat, background: Tensor) -> Splat:
    features = torch.where(view.mask[:, None], view.features, background.reshape(-1, 1, 1))
    return view._replace(features=features)


COLORS = torch.tensor([1.0, -2.0, 3.0])
FORMS: dict[str, tuple[Callable[[], Splat], Callable[[], Splat]]] = {
    "float64": (lambda: rendered(WIDE), lambda: rendered(WIDE.float())),
    "float64, bilinear": (lambda: rendered(WIDE, mode="bilinear"), lambda: rendered(WIDE.float(), mode="bilinear")),
    "float64 extent": (lambda: rendered(extent=WIDE[:, 0].abs()), lambda: rendered(extent=WIDE[:, 0].abs().float())),
    "uint8 mask": (lambda: rendered(valid=VALID.byte() * 255), lambda: rendered(valid=VALID)),
    "float mask": (lambda: rendered(valid=VALID * 0.25), lambda: rendered(valid=VALID)),
    "bfloat16 mask": (lambda: rendered(valid=VALID.bfloat16()), lambda: rendered(valid=VALID)),
    "masks of views": (lambda: rendered(valid=OWN), lambda: view_by_view(OWN)),
    "masks of views, extent": (lambda: rendered(valid=OWN, extent=0.1), lambda: view_by_view(OWN, extent=0.1)),
    "masks of views, bilinear": (
        lambda: rendered(valid=OWN.float(), mode="bilinear"),
        lambda: view_by_view(OWN, mode="bilinear"),
    ),
    "no features": (lambda: rendered(features=None), lambda: rendered(features=FEATURES[:, :0])),
    "no features, bilinear": (
        lambda: rendered(features=None, mode="bilinear"),
        lambda: rendered(features=FEATURES[:, :0], mode="bilinear"),
    ),
    "far": (lambda: rendered(far=FAR), lambda: view_by_view(nearer_than(FAR))),
    "far, discs": (lambda: rendered(far=FAR, radius=1.5), lambda: view_by_view(nearer_than(FAR), radius=1.5)),
    "far, mask": (lambda: rendered(far=FAR, valid=OWN), lambda: view_by_view(nearer_than(FAR) & OWN)),
    "far, bilinear": (
        lambda: rendered(far=FAR, valid=VALID, mode="bilinear", band=2.0),
        lambda: view_by_view(nearer_than(FAR) & VALID, mode="bilinear", band=2.0),
    ),
    "infinitely far": (lambda: rendered(far=math.inf), rendered),
    "background": (lambda: rendered(background=0.5), lambda: with_background(rendered(), torch.tensor(0.5))),
    "backgrounds": (lambda: rendered(background=COLORS), lambda: with_background(rendered(), COLORS)),
    "background, far, bilinear": (
        lambda: rendered(background=COLORS, far=FAR, mode="bilinear"),
        lambda: with_background(view_by_view(nearer_than(FAR), mode="bilinear"), COLORS),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_equals_the_plain_one(name: str, every_backend: EveryBackend) -> None:
    form, plain = FORMS[name]
    expected = run_reference(plain)
    for backend, result in every_backend(form):
        try:
            assert_same(result, expected)
        except AssertionError as error:
            raise AssertionError(f"{backend}: {error}") from None


def test_far_is_exclusive() -> None:
    at = rendered().depth[rendered().mask].median().item()
    depth = rendered(far=at).depth
    assert bool((depth[depth < math.inf] < at).all())
    assert at in rendered(far=math.nextafter(at, math.inf) * (1 + 1e-6)).depth


LABELS = {
    torch.int64: lambda g: torch.randint(-(2**63), 2**63 - 1, (200, 2), generator=g),
    torch.int32: lambda g: torch.randint(-(2**31), 2**31 - 1, (200, 1), generator=g, dtype=torch.int32),
    torch.uint8: lambda g: torch.randint(0, 256, (200, 3), generator=g, dtype=torch.uint8),
    torch.bool: lambda g: torch.rand(200, 5, generator=g) < 0.5,
}


@pytest.mark.parametrize("dtype", LABELS)
def test_labels_are_copied_bit_for_bit(dtype: torch.dtype, every_backend: EveryBackend) -> None:
    labels = LABELS[dtype](torch.Generator().manual_seed(1))
    index = run_reference(rendered).index
    expected = torch.where((index >= 0)[..., None], labels[index.clamp(min=0)], 0).to(dtype).movedim(-1, 1)
    for backend, view in every_backend(lambda: rendered(features=labels)):
        assert view.features.dtype == dtype, backend
        assert same_bits(view.features, expected), backend
        assert same_bits(view.index, index), backend
    filled = rendered(features=labels, background=1)
    assert bool((filled.features.movedim(1, -1)[index < 0] == 1).all())


def test_labels_of_no_points() -> None:
    view = splat(XYZ[:0], torch.zeros(0, 2, dtype=torch.uint8), CAMERAS)
    assert view.features.shape == (4, 2, *CAMERAS.size)
    assert not view.features.any()


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_gradients_of_float64_flow_through_the_rounding(mode: str) -> None:
    xyz, wide = needs_grad(WIDE.float()), needs_grad(WIDE)
    expected, result = (rendered(x, mode=mode) for x in (xyz, wide))
    outputs = [[view.features, view.depth] for view in (expected, result)]
    (plain,), (through,) = random_gradients(outputs[0], [xyz], 0), random_gradients(outputs[1], [wide], 0)
    assert through.dtype == torch.float64
    assert bool(plain.any())
    assert torch.equal(through, plain.double())


def test_gradients_of_background_and_far() -> None:
    background, features = needs_grad(COLORS), needs_grad(FEATURES)
    view = rendered(features=features, background=background, far=FAR)
    view.features.sum().backward()
    assert background.grad is not None
    assert background.grad.tolist() == [float((~view.mask).sum())] * 3
    assert features.grad is not None
    seen = torch.bincount(view.index[view.mask], minlength=200)
    assert torch.equal(features.grad[:, 0], seen.float())


@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_autocast_changes_nothing(mode: str, backend: str) -> None:
    def run() -> list[Tensor]:
        xyz, features = needs_grad(XYZ), needs_grad(FEATURES)
        view = rendered(xyz, features, mode=mode)
        return [*view, *random_gradients([view.features, view.depth], [xyz, features], 0)]

    with mk.use_backend(backend):
        expected = run()
        with torch.autocast("cpu", torch.bfloat16):
            assert all(map(same_bits, run(), expected))


def test_half_precision_under_autocast_is_explained() -> None:
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(TypeError) as error:
        rendered(XYZ.bfloat16())
    hint = "(torch.autocast is on: compute geometry under torch.autocast(..., enabled=False))"
    assert str(error.value) == f"xyz: expected float32 or float64, got bfloat16 {hint}"


def test_forms_compile() -> None:
    options = {"valid": OWN, "far": FAR, "background": 0.5}
    compiled = torch.compile(lambda: rendered(WIDE, **options), fullgraph=True, backend="aot_eager")
    assert_same(compiled(), rendered(WIDE, **options))


def test_other_operations_take_float64_and_masks(every_backend: EveryBackend) -> None:
    def read(xyz: Tensor, mask: Tensor, footprint: Tensor) -> Splat:
        cache = mk.VoxelCache(0.1, 3)
        cache.insert(xyz, FEATURES, footprint, valid=mask)
        bits = mk.visible(xyz, CAMERAS, valid=mask)
        view = cache.splat(CAMERAS, valid=torch.ones(len(cache), dtype=mask.dtype))
        return view._replace(depth=torch.cat([view.depth.flatten(), bits.float().flatten()]))

    size = WIDE[:, 2].abs() + 0.1
    expected = run_reference(lambda: read(WIDE.float(), VALID, size.float()))
    assert_same_on_every_backend(every_backend, lambda: read(WIDE.float(), VALID, size.float()))
    assert_same(read(WIDE, VALID.byte(), size), expected)
    groups, count = mk.group_voxels(WIDE, 0.1, VALID.float())
    assert count == mk.group_voxels(WIDE.float(), 0.1, VALID).num_groups
    assert torch.equal(groups, mk.group_voxels(WIDE.float(), 0.1, VALID).groups)
