# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Operations for a spatial memory of latents in video world models, with the same results on every backend.

:func:`unproject` converts latents and depth to points, :func:`splat` renders points into cameras, :func:`composite`
blends the nearest points of every cell, :class:`VoxelCache` stores points, :func:`visible` and :func:`overlap` measure
which frames have the same part of a scene in view, and :func:`pool_depth` pools depth maps to latent cells.

Example:
    >>> import torch
    >>> from mirage_kernels import Cameras, splat, unproject
    >>> cameras = Cameras(torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]]), torch.eye(4), size=(44, 80))
    >>> points = unproject(torch.full((1, 44, 80), 2.0), torch.randn(1, 48, 44, 80), cameras)
    >>> view = splat(points.xyz, points.features, cameras, valid=points.valid)
    >>> bool(view.mask.all())
    True

These functions and the reads of a :class:`VoxelCache` do not wait for the device, and a CUDA graph can capture them.
Before a capture, call them once with the same shapes and dtypes: the first call loads the kernels, and Triton compiles
its kernels then.

Public modules: :mod:`~mirage_kernels.backend`, :mod:`~mirage_kernels.cameras`, :mod:`~mirage_kernels.check` (argument
checks), :mod:`~mirage_kernels.self_test` and :mod:`~mirage_kernels.testing` (test cases and comparisons). The modules
of ``mirage_kernels.ops`` are private.
"""

from . import _pickling, check
from ._atomic import atomic_write, atomic_writes, remove_partials
from ._files import load_tensors, save_tensors
from ._modes import AutomaticEviction, BackendName, CompositeMode, Eviction, Fusion, Pooling, SplatMode, Storage
from ._results import Layers, Quantized, Splat, SplatSum
from ._safetensors import read_safetensors
from .backend import (
    backends,
    build_info,
    current_backend,
    instruction_sets,
    use_backend,
    use_instruction_set,
)
from .cameras import Cameras
from .ops.associate.associate import associate
from .ops.overlap.overlap import Groups, group_voxels, keep_sets, overlap, visible
from .ops.quantize.quantize import quantize
from .ops.splat.splat import splat
from .ops.splat.splat_blend import blend_cells, cell_offsets
from .ops.splat.splat_composite import composite
from .ops.splat.splat_frontmost import frontmost
from .ops.splat.splat_sum import splat_sum
from .ops.unproject.unproject import Points, pool_depth, unproject
from .ops.voxel_cache.voxel_cache import VoxelCache
from .ops.voxel_cache.voxel_cache_store import InsertCounts
from .version import __version__

__all__ = [
    "AutomaticEviction",
    "BackendName",
    "Cameras",
    "CompositeMode",
    "Eviction",
    "Fusion",
    "Groups",
    "InsertCounts",
    "Layers",
    "Points",
    "Pooling",
    "Quantized",
    "Splat",
    "SplatMode",
    "SplatSum",
    "Storage",
    "VoxelCache",
    "__version__",
    "associate",
    "atomic_write",
    "atomic_writes",
    "backends",
    "blend_cells",
    "build_info",
    "cell_offsets",
    "check",
    "composite",
    "current_backend",
    "frontmost",
    "group_voxels",
    "instruction_sets",
    "keep_sets",
    "load_tensors",
    "overlap",
    "pool_depth",
    "quantize",
    "read_safetensors",
    "remove_partials",
    "save_tensors",
    "splat",
    "splat_sum",
    "unproject",
    "use_backend",
    "use_instruction_set",
    "visible",
]

_pickling.allow_weights_only([Cameras, Groups, InsertCounts, Layers, Points, Quantized, Splat, SplatSum, VoxelCache])
