# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of the points in mode "bilinear", against a loop in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from every_backend import READY
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, splat, testing
from mirage_kernels.testing import same_bits

CAMERAS = testing.plain_cameras(2, (5, 7))


def cloud(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Points in view of both cameras, features (N, 3), and weights from e^-6 to e^6."""
    g = torch.Generator().manual_seed(seed)
    xyz = testing.random_points(g, "room", n)
    return xyz, torch.randn(n, 3, generator=g), torch.randn(n, generator=g).mul(2).clamp(-6, 6).exp()


def blended(xyz: Tensor, features: Tensor, weights: Tensor, cameras: Cameras, band: float) -> tuple[Tensor, Tensor]:
    """Weighted means (V, C, h, w) float64 and where they exist, by a loop over the points."""
    uv, depth, _ = cameras.project(xyz.double())
    h, w = cameras.size
    taps: dict[tuple[int, int, int], list[tuple[float, float, int]]] = {}
    for v in range(len(cameras)):
        for n in range(len(xyz)):
            if not 1e-6 < depth[v, n] < math.inf:
                continue
            a, b = float(uv[v, n, 0]) - 0.5, float(uv[v, n, 1]) - 0.5
            j, i = math.floor(a), math.floor(b)
            s, t = a - j, b - i
            for dj, di, share in ((0, 0, (1 - s) * (1 - t)), (1, 0, s * (1 - t)), (0, 1, (1 - s) * t), (1, 1, s * t)):
                if 0 <= i + di < h and 0 <= j + dj < w and share > 0:
                    taps.setdefault((v, i + di, j + dj), []).append((float(depth[v, n]), share, n))
    result, known = torch.zeros(len(cameras), 3, h, w, dtype=torch.float64), torch.zeros(len(cameras), h, w)
    for (v, i, j), points in taps.items():
        nearest = min(z for z, _, _ in points)
        kept = [(share, n) for z, share, n in points if z <= (1 + band) * nearest]
        if sum(share for share, _ in kept) > 1e-4:
            total = sum(share * float(weights[n]) for share, n in kept)
            result[v, :, i, j] = sum(share * weights[n].double() * features[n].double() for share, n in kept) / total
            known[v, i, j] = 1
    return result, known.bool()


@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("band", [0.05, 1e6])
def test_weighted_means_equal_a_loop(band: float, backend: str) -> None:
    xyz, features, weights = cloud(60)
    expected, known = blended(xyz, features, weights, CAMERAS, band)
    with mk.use_backend(backend):
        view = splat(xyz, features, CAMERAS, mode="bilinear", band=band, weights=weights)
        plain = splat(xyz, features, CAMERAS, mode="bilinear", band=band)
    assert torch.equal(view.mask, plain.mask)
    assert (view.mask != known).sum() <= 1  # of weights about 1e-4
    torch.testing.assert_close(view.features.double() * known[:, None], expected, rtol=1e-4, atol=1e-4)
    assert same_bits(view.depth, plain.depth)
    assert same_bits(view.index, plain.index)


def test_equal_weights_change_nothing() -> None:
    xyz, features, _ = cloud(60)
    plain = splat(xyz, features, CAMERAS, mode="bilinear")
    for weight in (0.25, 8.0):
        view = splat(xyz, features, CAMERAS, mode="bilinear", weights=torch.full((60,), weight))
        torch.testing.assert_close(view.features, plain.features)


def test_cells_without_weight_are_holes() -> None:
    xyz, features, _ = cloud(60)
    view = splat(xyz, features, CAMERAS, mode="bilinear", weights=torch.zeros(60), background=7.0)
    assert not view.mask.any()
    assert bool((view.features == 7).all())
    assert bool((view.depth == math.inf).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_keep_their_dtype(dtype: torch.dtype) -> None:
    xyz, features, weights = cloud(60)
    view = splat(xyz, features.to(dtype), CAMERAS, mode="bilinear", weights=weights.double())
    exact = splat(xyz, features.to(dtype).float(), CAMERAS, mode="bilinear", weights=weights)
    assert same_bits(view.features, exact.features.to(dtype))


def test_gradients_reach_features_points_and_weights() -> None:
    xyz, features, weights = (t.double().requires_grad_() if i else t for i, t in enumerate(cloud(12, seed=3)))
    small = Cameras(CAMERAS.intrinsics, CAMERAS.cam2world, (5, 7))

    def loss(f: Tensor, w: Tensor) -> Tensor:
        return splat(xyz, f.float(), small, mode="bilinear", weights=w).features.double().square().sum()

    assert torch.autograd.gradcheck(loss, (features, weights), eps=1e-2, atol=2e-2, rtol=2e-2, nondet_tol=0.0)
    leaf = xyz.requires_grad_()
    splat(leaf, features.detach().float(), small, mode="bilinear", weights=weights.detach()).features.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0


def test_several_clouds_are_the_loop() -> None:
    clouds = [cloud(20, seed) for seed in range(2)]
    xyz, features, weights = (torch.stack(parts) for parts in zip(*clouds, strict=True))
    together = splat(xyz, features, CAMERAS, mode="bilinear", weights=weights)
    for v, (points, rows, own) in enumerate(clouds):
        alone = splat(points, rows, CAMERAS[v], mode="bilinear", weights=own)
        assert same_bits(together.features[v : v + 1], alone.features)


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"weights": torch.ones(60)}, ValueError, "weights: expected None in mode 'nearest', got Tensor"),
    ({"weights": torch.ones(61), "mode": "bilinear"}, ValueError, r"weights: expected \(N=60,\), got \(61,\)"),
    ({"weights": torch.ones(60).half(), "mode": "bilinear"}, TypeError, "weights: expected float32 or float64"),
    ({"weights": 2.0, "mode": "bilinear"}, TypeError, "weights: expected a tensor, got float"),
    ({"k": 2, "mode": "bilinear"}, ValueError, "k: expected None in mode 'bilinear', got 2"),
    ({"k": 2, "background": 1.0}, ValueError, "background: expected None with k, got float"),
    ({"k": 0}, ValueError, "k: expected 1 to 256, got 0"),
])  # fmt: skip
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    xyz, features, _ = cloud(60)
    with pytest.raises(error, match=f"^{message}"):
        splat(xyz, features, CAMERAS, **options)
