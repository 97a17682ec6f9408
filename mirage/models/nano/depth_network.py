# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The depth network of mirage-nano: a convolutional U-Net that predicts depth and how sure it is."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

__all__ = ["DEPTH_STEP", "DepthNetwork", "ray_maps"]

CHANNELS = (24, 40, 96, 144, 168)  # at 1/2 to 1/32 of the size
BLOCKS = (1, 2, 3, 4, 3)
DEPTH_STEP = 32  # height and width of the input are multiples of it
MAX_LOG = 5.0  # of depth in meters and of its error


class _Block(nn.Module):
    """A residual bottleneck block (arXiv 1512.03385), normalized first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.narrow = nn.Conv2d(channels, channels // 2, 1)
        self.spatial = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)
        self.wide = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.wide(nnf.silu(self.spatial(nnf.silu(self.narrow(self.norm(x))))))
        return out


class DepthNetwork(nn.Module):
    """Predicts the logarithm of z-depth, and of the scale of its error.

    The error is taken to be distributed after Laplace, so that the scale tells how sure the network is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(5, CHANNELS[0], 3, stride=2, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(CHANNELS))
        self.encode = nn.ModuleList(
            nn.Sequential(*(_Block(c) for _ in range(count))) for c, count in zip(CHANNELS, BLOCKS, strict=True)
        )
        up = CHANNELS[1:]
        self.merge = nn.ModuleList(nn.Conv2d(a + b, a, 1) for a, b in pairwise(up))
        self.decode = nn.ModuleList(_Block(c) for c in up[:-1])
        self.head = nn.Conv2d(up[0], 2, 3, padding=1)

    def forward(self, images: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            images: (B, 3, H, W), values 0 to 1; H and W are multiples of 32.
            rays: (B, 2, H, W), see :func:`ray_maps`.

        Returns:
            Logarithms of depth in meters and of the scale of its error, both (B, H, W).
        """
        x = self.stem(torch.cat([images - 0.5, rays], 1))
        skips: list[Tensor] = []
        for number, encode in enumerate(self.encode):
            x = encode(x if number == 0 else self.down[number - 1](x))
            skips.append(x)
        for number in reversed(range(len(self.merge))):
            fine = skips[number + 1]
            coarse = nnf.interpolate(x, fine.shape[-2:], mode="bilinear", align_corners=False)
            x = self.decode[number](self.merge[number](torch.cat([fine, coarse], 1)))
        out = nnf.interpolate(self.head(x), images.shape[-2:], mode="bilinear", align_corners=False)
        depth, error = out.clamp(-MAX_LOG, MAX_LOG).unbind(1)
        return depth, error


def ray_maps(intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """Directions of the pixels' rays: x / z and y / z.

    Args:
        intrinsics: (B, 3, 3), in pixels of ``size``.
        size: (H, W).

    Returns:
        (B, 2, H, W) float32.
    """
    k = intrinsics.float()
    rows = torch.arange(size[0], device=k.device, dtype=torch.float32) + 0.5
    columns = torch.arange(size[1], device=k.device, dtype=torch.float32) + 0.5
    x = (columns - k[:, 0, 2:3]) / k[:, 0, 0:1]  # (B, W)
    y = (rows - k[:, 1, 2:3]) / k[:, 1, 1:2]  # (B, H)
    return torch.stack([x[:, None].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])], 1)
