# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Refine a camera's pose by gradient descent on what it sees.

Poses get no gradient: ``Cameras`` are checked and rounded once. So the pose moves the points instead, before a camera
at the origin, and mode "bilinear" passes gradients to the points.

python examples/refine_pose.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Cameras, splat

SIZE, STEPS = (48, 64), 200
CAMERA = Cameras([60.0, 60.0, 32.0, 24.0], torch.eye(4), SIZE)


def world2cam(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation (3, 3) of a rotation vector, by the matrix exponential, and translation (3,)."""
    x, y, z = parameters[:3]
    zero = torch.zeros(())
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    return torch.matrix_exp(skew), parameters[3:]


def render(xyz: Tensor, features: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """What a camera with this pose sees: features (C, h, w), and the mask of known cells."""
    rotation, translation = world2cam(parameters)
    view = splat(xyz @ rotation.T + translation, features, CAMERA, mode="bilinear")
    return view.features[0], view.mask[0]


def room(points: int) -> tuple[Tensor, Tensor]:
    """Points on a wavy wall, and smooth features (N, 4)."""
    u, v = (torch.rand(points) * 2 - 1) * 2.2, (torch.rand(points) * 2 - 1) * 1.8
    xyz = torch.stack([u, v, 3 + (2 * u).sin() * (1.5 * v).cos()], 1)
    waves = torch.stack([(1.7 * u + v).sin(), (2.3 * v - u).cos(), (1.1 * u).cos() * (1.3 * v).sin(), u * v / 4], 1)
    return xyz, waves


def main() -> None:
    torch.manual_seed(0)
    xyz, features = room(40_000)
    true = torch.tensor([0.03, -0.05, 0.02, 0.10, -0.06, 0.08])  # 3.5 degrees, and 14 cm
    target, known = render(xyz, features, true)

    guess = torch.zeros(6, requires_grad=True)
    optimizer = torch.optim.Adam([guess], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        image, mask = render(xyz, features, guess)
        loss = (image - target).square()[:, mask & known].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 40 == 0 or step == STEPS - 1:
            off = (guess.detach() - true).abs()
            print(f"step {step:3d}: loss {loss:.5f}, off by {off[:3].max():.4f} rad and {off[3:].max():.4f} m")


if __name__ == "__main__":
    main()
