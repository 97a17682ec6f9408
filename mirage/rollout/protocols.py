# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Protocols of the codec and the chunk model that a rollout uses. Any object with these members works."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Codec(Protocol):
    """Converts between video frames and latents.

    Latent ``k`` belongs to frame ``k * temporal_stride`` and is unprojected with the camera of that frame.

    Attributes:
        name: identifies the kind of latents; a memory accepts latents of a single kind.
        channels: channels C of the latents.
        spatial_stride: width and height of a latent cell in pixels.
        temporal_stride: frames from one latent to the next.

    A codec may also have a method ``render(memory, cameras)``, which replaces
    :meth:`mirage.memory.LatentSpatialMemory.read` where the memory is rendered for the chunk model: it returns the same
    view, with latents that are sharper than a copy of the stored ones. A cell that is seen as it was written must keep
    its bits.
    """

    name: str
    channels: int
    spatial_stride: int
    temporal_stride: int

    def encode(self, frames: Tensor) -> Tensor:
        """Encode video frames.

        Args:
            frames: (B, 3, F, H, W), values 0 to 1, with F = 1 + temporal_stride * (T - 1).

        Returns:
            (B, C, T, h, w) latents, with h = H / spatial_stride and w = W / spatial_stride.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents.

        Args:
            latents: (B, C, T, h, w).

        Returns:
            (B, 3, 1 + temporal_stride * (T - 1), H, W) frames, values 0 to 1.
        """
        ...


class ChunkModel(Protocol):
    """Generates the latents of a chunk of video.

    Attributes:
        patch: height and width of the latent grid must be multiples of this number of cells.

    A model may also have an attribute ``needs_view = True``: what it returns for a frame means nothing if the memory's
    view of the frame is empty. Such frames are not written to the memory.
    """

    patch: int

    def __call__(
        self,
        view: Tensor,
        mask: Tensor,
        *,
        first: Tensor,
        preceding: Tensor,
        preceding_view: Tensor,
        preceding_mask: Tensor,
        references: Tensor,
        prompt: str,
        generator: torch.Generator,
    ) -> Tensor:
        """Generate T latents.

        Args:
            view: (C, T, h, w), the memory rendered from the cameras of the chunk's latents; zeros in holes.
            mask: (T, h, w) bool, False in holes of ``view``.
            first: (C, h, w), the first latent of the chunk, which is given.
            preceding: (C, P, h, w), the latents before ``first``; P is at most 2 by default.
            preceding_view: (C, P, h, w), what the memory rendered when the preceding latents were generated.
            preceding_mask: (P, h, w) bool, False in holes of ``preceding_view``.
            references: (C, R, h, w), past latents whose views overlap with the chunk's, best first; R is at most 4 by
                default.
            prompt: text that describes the video.
            generator: random number generator.

        Returns:
            (C, T, h, w) latents; the first one equals ``first``.
        """
        ...
