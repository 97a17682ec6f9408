# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The nearest points of a cell, blended as PyTorch3D's point renderer does, beside the nearest point alone.

python examples/nearest_and_alpha.py spheres.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mirage_kernels import Cameras, composite, splat

RADIUS, LAYERS, SIZE = 2.0, 8, (240, 320)  # cells, points of a cell, and (h, w)


def spheres(points: int) -> tuple[Tensor, Tensor]:
    """Points on three spheres, and their colors (N, 3): one for each sphere, shaded by its direction, with noise."""
    centers = torch.tensor([[-0.9, 0.0, 4.0], [0.0, 0.2, 3.0], [0.9, -0.1, 4.5]])
    colors = torch.tensor([[0.9, 0.3, 0.2], [0.2, 0.6, 0.9], [0.3, 0.8, 0.3]])
    normal = torch.nn.functional.normalize(torch.randn(points, 3), dim=1)
    sphere = torch.arange(points) % 3
    light = (normal @ torch.tensor([-0.4, -0.7, -0.6])).clamp(min=0)[:, None]
    return centers[sphere] + 0.7 * normal, colors[sphere] * (0.25 + 0.75 * light) + 0.15 * torch.randn(points, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw spheres of points, with and without blending.")
    parser.add_argument("out", type=Path, nargs="?", default=Path("spheres.png"), help="the image to write")
    out = parser.parse_args().out
    torch.manual_seed(0)
    xyz, colors = spheres(400_000)
    camera = Cameras([260.0, 260.0, 160.0, 120.0], torch.eye(4), SIZE)

    nearest = splat(xyz, colors, camera, radius=RADIUS, background=1.0)
    layers = splat(xyz, None, camera, radius=RADIUS, k=LAYERS)
    opacity = (1 - layers.distance2 / RADIUS**2).clamp(min=0)  # a disc fades towards its border
    blended = composite(colors, layers, opacity, mode="alpha")
    opaque = composite(torch.ones(len(xyz), 1), layers, opacity, mode="alpha")  # of all layers together
    blended = torch.where(layers.mask[:, :1], blended / opaque.clamp(min=1e-4), 1.0)

    image = torch.cat([nearest.features[0], blended[0]], 2)  # (3, h, 2 w)
    Image.fromarray((image.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()).save(out)
    print(f"{out}: the nearest point on the left, {LAYERS} points blended on the right")


if __name__ == "__main__":
    main()
