# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every form in which ``unproject`` and ``pool_depth`` take their arguments gives what the plain form gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from every_backend import EveryBackend, needs_grad, run_reference
from torch import Tensor

from mirage_kernels import pool_depth, unproject
from mirage_kernels.testing import assert_same, plain_cameras, same_bits

G = torch.Generator().manual_seed(0)
CLIPS, T, H, W, GRID = 2, 3, 12, 20, (3, 5)
V = CLIPS * T
CAMERAS = plain_cameras(V, (H, W))
DEPTH = 1 + 3 * torch.rand(V, H, W, generator=G)
DEPTH[0, :4, :4] = 0.0
MAPS = torch.randn(V, 4, *GRID, generator=G)
MASK = torch.rand(V, H, W, generator=G) < 0.3
LATENTS = torch.stack([MAPS[T * b : T * b + T].movedim(0, 1) for b in range(CLIPS)])  # (clips, C, T, h, w)
WIDE = DEPTH.double() * (1 + 2.0**-30)


def lifted(depth: Tensor = DEPTH, features: Tensor | None = MAPS, views: int = V, **options: Any) -> Any:
    options.setdefault("max_masked", 0.5)
    return unproject(depth, features, CAMERAS[:views], **options)


FORMS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "depth (H, W)": (lambda: lifted(DEPTH[0], MAPS[:1], 1), lambda: lifted(DEPTH[:1], MAPS[:1], 1)),
    "features (C, h, w)": (lambda: lifted(DEPTH[0], MAPS[0], 1), lambda: lifted(DEPTH[:1], MAPS[:1], 1)),
    "depth (B, 1, H, W)": (lambda: lifted(DEPTH[:, None]), lifted),
    "latents": (lambda: lifted(features=LATENTS), lifted),
    "latents, depth of clips": (lambda: lifted(DEPTH.view(CLIPS, T, H, W), LATENTS), lifted),
    "latents, depth (B, 1, H, W)": (lambda: lifted(DEPTH[:, None], LATENTS), lifted),
    "clips of one latent": (
        lambda: lifted(DEPTH[:2, None], MAPS[:2, :, None], 2),
        lambda: lifted(DEPTH[:2], MAPS[:2], 2),
    ),
    "mask (B, 1, H, W)": (lambda: lifted(mask=MASK[:, None]), lambda: lifted(mask=MASK)),
    "mask of clips": (
        lambda: lifted(features=LATENTS, mask=MASK.view(CLIPS, T, H, W).byte()),
        lambda: lifted(mask=MASK),
    ),
    "mask (H, W)": (
        lambda: lifted(DEPTH[0], MAPS[0], 1, mask=MASK[0].float()),
        lambda: lifted(DEPTH[:1], MAPS[:1], 1, mask=MASK[:1]),
    ),
    "float64": (lambda: lifted(WIDE), lambda: lifted(WIDE.float())),
    "no features": (lambda: lifted(features=None, grid=GRID), lambda: lifted(features=MAPS[:, :0])),
    "no features, no grid": (
        lambda: lifted(features=None),
        lambda: lifted(features=DEPTH.new_empty(V, 0, H, W)),
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


@pytest.mark.parametrize("depth", [DEPTH, WIDE], ids=["float32", "float64"])
def test_lengths_of_rays_become_depth(depth: Tensor) -> None:
    z = np.empty(depth.shape, dtype=np.float32)
    for v, k in enumerate(CAMERAS.intrinsics.double().numpy()):
        for r in range(H):
            for c in range(W):
                x, y = (c + 0.5 - k[0, 2]) / k[0, 0], (r + 0.5 - k[1, 2]) / k[1, 1]
                z[v, r, c] = np.float32(depth[v, r, c].item() / np.sqrt(1 + x**2 + y**2))
    assert_same(lifted(depth, depth_type="ray"), lifted(torch.from_numpy(z)))


def test_points_at_a_ray_length_have_that_distance() -> None:
    points = unproject(DEPTH[1:2], None, CAMERAS[1], depth_type="ray")
    distance = (points.xyz - CAMERAS[1].centers).norm(dim=1)
    assert torch.allclose(distance, DEPTH[1].flatten(), rtol=1e-5)


def test_gradients_flow_to_every_form_of_depth() -> None:
    for form in (WIDE, WIDE[:, None], WIDE.view(CLIPS, T, H, W)):
        depth, latents = needs_grad(form), needs_grad(LATENTS)
        points = lifted(depth, latents)
        (points.xyz.sum() + points.features.sum()).backward()
        plain, maps = needs_grad(WIDE.float()), needs_grad(MAPS)
        expected = lifted(plain, maps)
        (expected.xyz.sum() + expected.features.sum()).backward()
        assert depth.grad is not None
        assert plain.grad is not None
        assert torch.equal(depth.grad.reshape(V, H, W), plain.grad.double())
        assert latents.grad is not None
        assert maps.grad is not None
        assert torch.equal(latents.grad.transpose(1, 2).flatten(0, 1), maps.grad)


def test_pool_depth_takes_the_same_forms() -> None:
    expected = pool_depth(DEPTH, GRID, mask=MASK)
    assert same_bits(pool_depth(DEPTH[:, None], GRID, mask=MASK[:, None].byte()), expected)
    assert same_bits(pool_depth(DEPTH[0], GRID, mask=MASK[0].float()), expected[:1])
    assert same_bits(pool_depth(WIDE, GRID), pool_depth(WIDE.float(), GRID))
