# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a memory shows from a camera, decoded."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..io.images import enlarge, show_holes
from ..memory import LatentSpatialMemory
from ..models.embedded import push_pull
from ..rollout import Codec, read_memory


class DecodedView(NamedTuple):
    """A memory rendered from one camera over (H, W).

    Attributes:
        image: (3, H, W) float32, values 0 to 1; holes are filled smoothly.
        mask: (H, W) bool, True where the memory renders a point.
        depth: (H, W) float32 z-depth in world units, one value per latent cell; 0 in holes.
    """

    image: Tensor
    mask: Tensor
    depth: Tensor

    @property
    def known_share(self) -> float:
        """Fraction of the view that the memory renders."""
        return self.mask.float().mean().item()

    @property
    def with_holes(self) -> Tensor:
        """(3, H, W), the image with a checkerboard in the holes."""
        return show_holes(self.image, self.mask)


def decode_view(memory: LatentSpatialMemory, codec: Codec, camera: Cameras) -> DecodedView:
    """Render a memory from a camera, and decode the view.

    Args:
        memory: to render.
        codec: of the memory's latents.
        camera: one camera over (H, W), multiples of the codec's spatial stride.

    Returns:
        The view, on the CPU.
    """
    step = codec.spatial_stride
    cells = camera.to(memory.device).rescale((camera.size[0] // step, camera.size[1] // step))
    view = read_memory(memory, cells, codec)
    # Decoders with large receptive fields would spread the zeros in holes to the cells around them.
    filled = push_pull(view.latents.movedim(1, 0).float(), view.mask).movedim(0, 1)
    image = codec.decode(filled[None])[0, :, 0].float().cpu()
    depth = torch.where(view.mask, view.depth, 0)[0]
    return DecodedView(image, enlarge(view.mask[0], step).cpu(), enlarge(depth, step).cpu())
