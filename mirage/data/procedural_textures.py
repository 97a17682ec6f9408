# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Textures of procedural scenes: photographs and patterns of noise, with mip maps."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..errors import DataError

SIDE = 256  # texels
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")
SURFACES = ("brick", "grass", "gravel")  # photographs of surfaces, in gray
PATTERNS = 18
SATURATION = 0.45  # of their colors


class Textures(NamedTuple):
    """K textures with mip maps.

    Attributes:
        texels: (total, 3) float32, 0 to 1, of all levels of all textures, largest level first.
        starts: (levels,) int64, where each level begins.
        pictures, tiles: numbers of the textures that are pictures, and of those that cover surfaces.
    """

    texels: Tensor
    starts: Tensor
    pictures: tuple[int, ...]
    tiles: tuple[int, ...]

    def sample(self, texture: Tensor, uv: Tensor, size: Tensor) -> Tensor:
        """Sample textures bilinearly; they repeat.

        Args:
            texture: (P,) int64.
            uv: (P, 2) float32, 0 to 1 over a texture.
            size: (P,) float32, what a pixel covers, in textures; it chooses the level.

        Returns:
            (P, 3) float32.
        """
        level = (size * SIDE).clamp(min=1).log2().round().clamp(max=len(self.starts) - 1).long()
        side = SIDE >> level
        start = self.starts[level] + texture * side * side
        at = uv * side[:, None] - 0.5
        first = at.floor()
        (u, v), (s, t) = first.long().unbind(1), (at - first).unbind(1)
        color = torch.zeros(len(uv), 3, dtype=torch.float32, device="cpu")
        for row, down in ((v, 1 - t), (v + 1, t)):
            for column, across in ((u, 1 - s), (u + 1, s)):
                texel = start + row.remainder(side) * side + column.remainder(side)
                color += self.texels[texel] * (down * across)[:, None]
        return color


@cache
def textures() -> Textures:
    """Return all textures; they are made once.

    Raises:
        DataError: scikit-image is not installed.
    """
    pictures = [_square(load_photograph(name)) for name in PHOTOGRAPHS]
    generator = torch.Generator(device="cpu").manual_seed(0)
    tiles = [_mirrored(_square(load_photograph(name))) for name in SURFACES]
    tiles += [_pattern(number, generator) for number in range(PATTERNS)]
    level = torch.stack(pictures + tiles)  # (K, 3, S, S)
    levels = []
    while True:
        levels.append(level.movedim(1, 3).reshape(-1, 3))
        if level.shape[2] == 1:
            break
        level = nnf.avg_pool2d(level, 2)
    sizes = torch.tensor([0, *(len(texels) for texels in levels[:-1])], dtype=torch.int64, device="cpu")
    count = len(pictures)
    numbers = range(count + len(tiles))
    return Textures(torch.cat(levels), sizes.cumsum(0), tuple(numbers[:count]), tuple(numbers[count:]))


def load_photograph(name: str) -> Tensor:
    """Load a photograph of scikit-image.

    Args:
        name: of a function of ``skimage.data``.

    Returns:
        (3, H, W) float32, 0 to 1.

    Raises:
        DataError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError:
        raise DataError("procedural scenes need scikit-image: pip install 'mirage-kernels[scenes]'") from None
    pixels = np.asarray(getattr(data, name)())
    pixels = np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels[..., :3]
    return torch.from_numpy(pixels.copy()).movedim(2, 0).float() / 255


def _square(image: Tensor) -> Tensor:
    """The middle of an image as (3, SIDE, SIDE)."""
    side = min(image.shape[1:])
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    square = image[None, :, top : top + side, left : left + side]
    return nnf.interpolate(square, (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def _mirrored(image: Tensor) -> Tensor:
    """An image that repeats without seams: itself, mirrored to all sides."""
    half = nnf.interpolate(image[None], (SIDE // 2, SIDE // 2), mode="bilinear", antialias=True)[0]
    row = torch.cat([half, half.flip(2)], 2)
    return torch.cat([row, row.flip(1)], 1)


def _noise(generator: torch.Generator, cells: tuple[int, int], octaves: int = 4) -> Tensor:
    """(SIDE, SIDE) of fractal noise that repeats, mean 0, largest magnitude about 1."""
    total = torch.zeros(SIDE, SIDE, dtype=torch.float32, device="cpu")
    for octave in range(octaves):
        h, w = (min(side << octave, SIDE) for side in cells)
        grid = torch.rand(1, 1, h, w, generator=generator, dtype=torch.float32, device="cpu") * 2 - 1
        wide = nnf.pad(grid, (2, 2, 2, 2), mode="circular")
        large = nnf.interpolate(wide, ((h + 4) * SIDE // h, (w + 4) * SIDE // w), mode="bilinear")[0, 0]
        top, left = 2 * SIDE // h, 2 * SIDE // w
        total += large[top : top + SIDE, left : left + SIDE] / 2**octave
    return total / 1.5


def _pattern(number: int, generator: torch.Generator) -> Tensor:
    """(3, SIDE, SIDE): plaster, planks, tiles, bricks, checks or stripes, by turns, in two colors and with noise."""
    colors = 0.2 + 0.7 * torch.rand(2, 3, generator=generator, dtype=torch.float32, device="cpu")
    colors = colors.mean(1, keepdim=True) + SATURATION * (colors - colors.mean(1, keepdim=True))
    row = torch.arange(SIDE, dtype=torch.float32, device="cpu")[:, None] / SIDE
    column = torch.arange(SIDE, dtype=torch.float32, device="cpu")[None] / SIDE
    kind, grain = number % 6, _noise(generator, (4, 4))
    if kind == 0:  # plaster
        share, strength = 0.5 + 0.5 * _noise(generator, (2, 2)), 0.15
    elif kind == 1:  # planks
        plank = torch.rand(8, generator=generator, dtype=torch.float32, device="cpu")
        share, strength = plank[(row * 8).long()].expand(SIDE, SIDE), 0.1
        grain = _noise(generator, (32, 2))
        share = torch.where((row * 8) % 1 < 0.06, 1.3, share)
    elif kind == 2:  # tiles
        share = (((row * 4) % 1 < 0.05) | ((column * 4) % 1 < 0.05)).float()
        strength = 0.08
    elif kind == 3:  # bricks
        shifted = (column * 4 + 0.5 * ((row * 8).floor() % 2)) % 1
        share, strength = (((row * 8) % 1 < 0.12) | (shifted < 0.06)).float(), 0.25
    elif kind == 4:  # checks
        share, strength = (((row * 8).floor() + (column * 8).floor()) % 2).expand(SIDE, SIDE), 0.12
    else:  # stripes
        share, strength = ((column * 6) % 1 < 0.35).float().expand(SIDE, SIDE), 0.1
    mixed = colors[0, :, None, None] * (1 - share) + colors[1, :, None, None] * share
    return (mixed * (1 + strength * 2 * grain)).clamp(0, 1)
