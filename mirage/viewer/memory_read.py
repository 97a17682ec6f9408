# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The image of a memory from one camera, with a codec or without."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..io.images import enlarge, show_holes
from ..memory import LatentSpatialMemory
from ..rollout import Codec
from .colors import ComponentColors
from .decoded_view import decode_view

CELL = 8  # pixels of a cell whose codec is not at hand


class MemoryRead(NamedTuple):
    """A memory read from one camera.

    Attributes:
        image: (3, H, W) float32 on the CPU, values 0 to 1, with a checkerboard in holes.
        known_share: fraction of the cells that the memory renders.
    """

    image: Tensor
    known_share: float


def frame_camera(memory: LatentSpatialMemory, codec: Codec | None) -> Cameras:
    """The camera, over pixels, of the images that a memory is read as: that of its last frame.

    Args:
        memory: the memory.
        codec: the codec of its latents, if it is at hand.
    """
    cell, cameras = CELL if codec is None else codec.spatial_stride, memory.history.cameras
    if cameras is None:
        unit = [[48.0, 0, 24], [0, 48.0, 16], [0, 0, 1]]
        eye = torch.eye(4, dtype=torch.float32, device="cpu")
        cameras = Cameras(torch.tensor(unit, dtype=torch.float32, device="cpu"), eye, (32, 48))
    h, w = cameras.size
    return cameras[-1].to("cpu").rescale((h * cell, w * cell))


def read_image(
    memory: LatentSpatialMemory, codec: Codec | None, camera: Cameras, components: ComponentColors | None = None
) -> MemoryRead:
    """Read a memory from one camera.

    Args:
        memory: the memory.
        codec: decodes the latents. Without one, cells have the colors of their principal components.
        camera: over (H, W), multiples of the codec's ``spatial_stride`` or of 8.
        components: colors to use without a codec; by default those of the memory as it is.
    """
    if codec is not None:
        view = decode_view(memory, codec, camera)
        return MemoryRead(view.with_holes, view.known_share)
    h, w = camera.size[0] // CELL, camera.size[1] // CELL
    with memory.lock:
        read = memory.read(camera.to(memory.device).rescale((h, w)))
        components = ComponentColors(memory.cache.features()) if components is None else components
    image = components(read.latents[:, 0].flatten(1).T).T.reshape(3, h, w)
    mask = enlarge(read.mask[0].cpu(), CELL)
    return MemoryRead(show_holes(enlarge(image, CELL), mask), mask.float().mean().item())
