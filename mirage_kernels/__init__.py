# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Latent spatial memory for video world models: the operations, fast and exact.

Four operations: :func:`unproject` lifts latents to points, :func:`splat` draws points into cameras, :class:`VoxelCache`
keeps them, :func:`visible` and :func:`overlap` tell which frames saw the same places.

>>> import torch
>>> from mirage_kernels import Cameras, splat, unproject
>>> cameras = Cameras(torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]]), torch.eye(4), size=(44, 80))
>>> points = unproject(torch.full((1, 44, 80), 2.0), torch.randn(1, 48, 44, 80), cameras)
>>> view = splat(points.xyz, points.features, cameras, valid=points.valid)
>>> bool(view.mask.all())
True

:func:`unproject`, :func:`splat`, :func:`visible`, :func:`overlap` and the reads of a :class:`VoxelCache` never wait for
the device, and a CUDA graph can capture them. Call them once before a capture, with the same shapes and dtypes: the
first call loads the kernels, which Triton compiles then.
"""

from .backend import (
    backends,
    build_info,
    current_backend,
    instruction_sets,
    use_backend,
    use_instruction_set,
)
from .cameras import Cameras
from .files import load_tensors, save_tensors
from .ops.overlap.overlap import Groups, group_voxels, overlap, visible
from .ops.splat.splat import splat
from .ops.unproject.unproject import Points, unproject
from .ops.voxel_cache.voxel_cache import VoxelCache
from .ops.voxel_cache.voxel_cache_store import InsertCounts
from .version import __version__
from .views import Splat

__all__ = [
    "Cameras",
    "Groups",
    "InsertCounts",
    "Points",
    "Splat",
    "VoxelCache",
    "__version__",
    "backends",
    "build_info",
    "current_backend",
    "group_voxels",
    "instruction_sets",
    "load_tensors",
    "overlap",
    "save_tensors",
    "splat",
    "unproject",
    "use_backend",
    "use_instruction_set",
    "visible",
]
