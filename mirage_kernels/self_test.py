# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Self-test of an installation: compares a backend with the reference on a few small cases of every operation.

``python -m mirage_kernels`` runs it for every available backend.

Example:
    >>> from mirage_kernels import self_test
    >>> self_test.differs("reference", "cpu", "overlap") is None
    True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import backend, testing
from ._modes import COMPOSITE_MODES, FUSIONS, POOLINGS, BackendName
from .cameras import Cameras
from .ops.associate.associate import associate
from .ops.overlap.overlap import overlap, visible
from .ops.quantize.quantize import quantize
from .ops.splat.splat import splat
from .ops.splat.splat_blend import blend_cells, cell_offsets
from .ops.splat.splat_composite import composite
from .ops.splat.splat_frontmost import frontmost
from .ops.splat.splat_sum import splat_sum
from .ops.unproject.unproject import unproject
from .ops.voxel_cache.voxel_cache import VoxelCache


class Sum(NamedTuple):
    """A result that is a sum, in which any NaN equals any other NaN."""

    value: Tensor


Outputs = Iterator[Tensor | Sum]


def _run(
    case: Any,
    function: Callable[..., Any],
    device: str,
    differentiate: tuple[str, ...] = (),
    sums: bool = False,
    **options: Any,
) -> Outputs:
    """Yield the results, and the gradients of the inputs named in ``differentiate`` of sum(output^2) / 2."""
    case = testing.to_device(case, device)
    leaves = [getattr(case, name).clone().requires_grad_() for name in differentiate]
    result = case._replace(**dict(zip(differentiate, leaves, strict=True))).run(function, **options)
    result = result if isinstance(result, tuple) else (result,)
    yield from (Sum(part.detach()) if sums else part.detach() for part in result)
    if leaves:
        outputs = [part for part in result if part.requires_grad]
        weights = [part.detach().nan_to_num(posinf=0) for part in outputs]
        yield from map(Sum, torch.autograd.grad(outputs, leaves, weights))


def _unproject(device: str) -> Outputs:
    for seed, pooling in enumerate(POOLINGS):
        dtype = (torch.float32, torch.bfloat16, torch.float16)[seed % 3]
        case = testing.unproject_case(
            seed, size=(13, 20), dtype=dtype, mask=seed % 2 == 1, pooling=pooling, min_valid=2
        )
        yield from _run(case, unproject, device, ("depth", "features"))


def _splat(device: str) -> Outputs:
    for seed, shape in enumerate(({}, {"extent": "each", "valid": True}, {"radius": 1.5}, {"kind": "wild"})):
        case = testing.splat_case(seed, dtype=(torch.float32, torch.bfloat16)[seed % 2], **shape)  # type: ignore[arg-type]
        yield from _run(case, splat, device, ("xyz", "features"))
    yield from _run(testing.splat_case(4, valid=True), splat, device, ("features",), sums=True, mode="bilinear")


def _composite(device: str) -> Outputs:
    for seed, mode in enumerate(COMPOSITE_MODES):
        shape: dict[str, Any] = ({}, {"extent": "each", "valid": True}, {"radius": 1.5})[seed]
        case = testing.to_device(
            testing.splat_case(seed, dtype=(torch.float32, torch.bfloat16)[seed % 2], **shape), device
        )
        xyz, features = (tensor.clone().requires_grad_() for tensor in (case.xyz, case.features))
        layers = case._replace(xyz=xyz).run(splat, k=4)
        yield from (part.detach() for part in layers)
        blended = composite(features, layers, (1 - layers.distance2 / 9).clamp(min=0), mode=mode)
        yield Sum(blended.detach())
        yield from map(Sum, torch.autograd.grad(blended, (xyz, features), blended.detach()))


def _frontmost(device: str) -> Outputs:
    for seed, kind in enumerate(("room", "ties", "wild")):
        case = testing.to_device(testing.splat_case(seed, n=700, views=3, kind=kind, valid=seed == 0), device)
        yield frontmost(case.xyz, case.cameras, valid=case.valid, tolerance=0.01 * seed, cut_off=seed == 1)


def _associate(device: str) -> Outputs:
    for seed, kind in enumerate(("room", "wild")):
        g = torch.Generator(device="cpu").manual_seed(seed)
        xyz, cameras = testing.random_points(g, kind, 700).to(device), testing.random_cameras(g, 3, (20, 35)).to(device)
        _, z, _ = cameras.project(xyz)
        view, own = splat(xyz[:300], None, cameras[0], extent=0.2), z[0] / 30
        past = splat(xyz, None, cameras).depth
        yield associate(xyz, z[0], own, view, 3 * own[:300], past=past[1:], past_cameras=cameras[1:])


def _quantize(device: str) -> Outputs:
    g = torch.Generator(device="cpu").manual_seed(0)
    values = torch.randn(7, 300, generator=g, dtype=torch.float32, device="cpu")
    values[2, 5], values[3] = torch.inf, 0
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        yield from quantize(values.to(device, dtype))


def _blend(device: str) -> Outputs:
    for seed, kind in enumerate(("room", "ties")):
        case = testing.to_device(testing.splat_case(seed, n=700, views=3, kind=kind), device)
        view = splat(case.xyz, case.features, case.cameras)
        offsets = cell_offsets(case.xyz, view.index, case.cameras)
        yield from (Sum(offsets), Sum(blend_cells(view.features, offsets, view.depth)))


def _splat_sum(device: str) -> Outputs:
    g = torch.Generator(device="cpu").manual_seed(0)
    uv, features = (torch.rand(700, n, generator=g, dtype=torch.float32, device="cpu").to(device) for n in (2, 5))
    yield from splat_sum(12 * uv - 2, features, (6, 9))
    yield from splat_sum(12 * uv - 2, features, (6, 9), weights=features[:, 0], integer_centers=True)


def _voxel_cache(device: str) -> Outputs:
    for seed, fusion in enumerate(FUSIONS):
        g = torch.Generator(device="cpu").manual_seed(seed)
        cameras = testing.random_cameras(g, 2, (6, 9)).to(device)
        cache = VoxelCache(0.1, 5, fusion=fusion, device=device)
        for stamp, kind in enumerate(("room", "ties", "wild")):
            xyz, features = (
                testing.random_points(g, kind, 300),
                torch.randn(300, 5, generator=g, dtype=torch.float32, device="cpu"),
            )
            footprint = torch.rand(300, generator=g, dtype=torch.float32, device="cpu")
            cache.insert(xyz.to(device), features.to(device), footprint.to(device), stamp=stamp)
        sums = fusion == "mean"
        yield from (Sum(part) if sums else part for part in cache.splat(cameras))
        yield from cache.splat_surface(cameras)[1:]
        yield cache.carve(torch.full((2, 6, 9), 1.5, device=device, dtype=torch.float32), cameras)
        yield cache.evict(max_rows=200)
        yield from (cache.xyz, cache.footprint, cache.stamp, cache.state.keys[: len(cache)])
        yield Sum(cache.features()) if sums else cache.features()


def _visible(device: str) -> Outputs:
    for seed, groups in enumerate((None, 70)):
        case = testing.visible_case(seed, n=700, views=3, valid=True, num_groups=groups)
        yield from _run(case, visible, device)


def _overlap(device: str) -> Outputs:
    g = torch.Generator(device="cpu").manual_seed(0)
    minimum, maximum = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    a, b = (
        torch.randint(minimum, maximum, (sets, 150), generator=g, dtype=torch.int64, device="cpu").to(device)
        for sets in (3, 9)
    )
    yield overlap(a, b & b.roll(1, 0))


def _project(device: str) -> Outputs:
    g = torch.Generator(device="cpu").manual_seed(0)
    cameras = testing.random_cameras(g, 3, (6, 9)).to(device)
    for kind in ("room", "wild"):
        uv, depth, inside = cameras.project(testing.random_points(g, kind, 700).to(device))
        yield from (Sum(uv), Sum(depth), inside)


def _cameras(device: str) -> Outputs:
    cameras = testing.random_cameras(torch.Generator(device="cpu").manual_seed(0), 4, (6, 9))
    yield Cameras(cameras.intrinsics.to(device), cameras.cam2world.to(device), (6, 9)).world2cam


OPERATIONS: dict[str, Callable[[str], Outputs]] = {
    "cameras": _cameras,
    "unproject": _unproject,
    "splat": _splat,
    "composite": _composite,
    "splat_sum": _splat_sum,
    "frontmost": _frontmost,
    "associate": _associate,
    "quantize": _quantize,
    "blend": _blend,
    "voxel_cache": _voxel_cache,
    "visible": _visible,
    "overlap": _overlap,
    "project": _project,
}


def _same(result: Tensor | Sum, expected: Tensor | Sum) -> bool:
    if isinstance(result, Sum) and isinstance(expected, Sum):
        return testing.same_sums(result.value.cpu(), expected.value)
    assert isinstance(result, Tensor)
    assert isinstance(expected, Tensor)
    return testing.same_bits(result.cpu(), expected)


def differs(name: BackendName, device: str, operation: str) -> str | None:
    """Compare an operation of a backend with the reference.

    Args:
        name: the backend.
        device: ``"cpu"`` or ``"cuda"``.
        operation: one of :data:`OPERATIONS`.

    Returns:
        None if all results have the same bits, else a description of the difference or of the exception.
    """
    with backend.use_backend("reference"):
        expected = list(OPERATIONS[operation]("cpu"))
    try:
        with backend.use_backend(name):
            results = list(OPERATIONS[operation](device))
            different = [i for i, pair in enumerate(zip(results, expected, strict=True)) if not _same(*pair)]
    except Exception as error:  # any exception is a result of the self-test
        return f"{type(error).__name__}: {error}"
    return f"results {different} of {len(expected)} differ" if different else None
