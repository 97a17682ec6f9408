# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Three memories behind one protocol: this project's, an append-only one and one of colored points.

Each one is asked for the condition of a chunk, latents and a mask over the grid of its views, and is given the true
latents, frames and depth of the chunk. :func:`check` compares the two others with this project's operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, group_voxels, overlap, splat, unproject, visible

from ..geometry.grids import valid_depth
from ..memory import LatentSpatialMemory, MemoryView
from ..rollout import Codec
from .baselines import python_sets
from .baselines.append_only import AppendOnly
from .baselines.rgb_cloud import Rendering, RgbCloud
from .recording import Recording

MIN_COVERAGE = 0.5  # share of a cell's pixels that RGB points must cover for the cell to count as covered


class Condition(NamedTuple):
    """The condition of T views: latents (T, C, h, w), and mask (T, h, w), False in holes."""

    latents: Tensor
    mask: Tensor


class Bytes(NamedTuple):
    """Bytes of the cache, of the cache without spare capacity, and of past frames."""

    cache: int
    shrunk: int
    history: int


class ComparedMemory(Protocol):
    """A memory. Cameras have the size of the frames; the result of ``read`` is for ``condition`` only.

    Attributes:
        name: label in tables.
        encodes: whether ``condition`` runs an encoder, and is timed.
        retrieves: whether the method retrieves past frames.
    """

    name: str
    encodes: bool
    retrieves: bool

    def __len__(self) -> int: ...

    def read(self, cameras: Cameras) -> Any: ...

    def condition(self, read: Any) -> Condition: ...

    def show(self, cameras: Cameras) -> Condition:
        """Run ``read`` and ``condition``, not for timing."""
        ...

    def retrieve(self, cameras: Cameras) -> Tensor | None:
        """Latents (R, C, h, w) of past frames, the best match first."""
        ...

    def write(self, part: Recording, stamps: range) -> None: ...

    def bytes(self) -> Bytes: ...


class Ours:
    """:class:`LatentSpatialMemory` with default settings, in the dtype of the latents."""

    name, encodes, retrieves = "ours", False, True

    def __init__(self, codec: Codec) -> None:
        self.memory = LatentSpatialMemory(codec.channels, dtype=torch.bfloat16)
        self._stride = codec.spatial_stride

    def __len__(self) -> int:
        return len(self.memory)

    def read(self, cameras: Cameras) -> MemoryView:
        return self.memory.read(over_cells(cameras, self._stride))

    def condition(self, read: MemoryView) -> Condition:
        return Condition(read.latents.movedim(1, 0), read.mask)

    def show(self, cameras: Cameras) -> Condition:
        return self.condition(self.read(cameras))

    def retrieve(self, cameras: Cameras) -> Tensor:
        return self.memory.retrieve(over_cells(cameras, self._stride)).latents.movedim(1, 0)

    def write(self, part: Recording, stamps: range) -> None:
        self.memory.write(part.latents.movedim(1, 0), part.cameras, part.depth, stamps=stamps)

    def bytes(self) -> Bytes:
        small = self.memory.cache.clone()
        small.shrink_to_fit()
        masks = self.memory._layers.nbytes
        history = self.memory.nbytes - self.memory.cache.nbytes - masks
        return Bytes(self.memory.cache.nbytes + masks, small.nbytes + masks, history)


class Appended:
    """:class:`AppendOnly`.

    With several threads its scatter may leave a farther point in a cell. It is timed with several threads, but compared
    by the result of one.
    """

    name, encodes, retrieves = "append-only", False, True

    def __init__(self, codec: Codec) -> None:
        self.cloud = AppendOnly(codec.channels)
        self._stride = codec.spatial_stride

    def __len__(self) -> int:
        return len(self.cloud)

    def read(self, cameras: Cameras) -> Condition:
        return Condition(*self.cloud.read(over_cells(cameras, self._stride)))

    def condition(self, read: Condition) -> Condition:
        return read

    def show(self, cameras: Cameras) -> Condition:
        with one_thread():
            return self.read(cameras)

    def retrieve(self, cameras: Cameras) -> Tensor | None:
        found = self.cloud.retrieve(over_cells(cameras, self._stride))
        return torch.stack([self.cloud.latents[t] for t in found]) if found else None

    def write(self, part: Recording, stamps: range) -> None:  # noqa: ARG002
        self.cloud.write(part.latents, part.depth, part.cameras)

    def bytes(self) -> Bytes:
        return Bytes(self.cloud.nbytes, self.cloud.nbytes, self.cloud.history_nbytes)


class RgbPoints:
    """:class:`RgbCloud` of the frames that latents stand for.

    Args:
        codec: encodes the renderings.
        capacity: maximum number of points; only points that were written count as bytes.
    """

    name, encodes, retrieves = "RGB points", True, False

    def __init__(self, codec: Codec, capacity: int) -> None:
        self.cloud = RgbCloud(capacity)
        self._codec = codec

    def __len__(self) -> int:
        return len(self.cloud)

    def read(self, cameras: Cameras) -> Rendering:
        return self.cloud.render(cameras)

    def condition(self, read: Rendering) -> Condition:
        latents = self._codec.encode(read.images[:, :, None])[:, :, 0]
        coverage = nnf.avg_pool2d(read.depth.isfinite().float(), self._codec.spatial_stride)
        return Condition(latents, coverage >= MIN_COVERAGE)

    def show(self, cameras: Cameras) -> Condition:
        return self.condition(self.read(cameras))

    def retrieve(self, cameras: Cameras) -> None:  # noqa: ARG002
        return None

    def write(self, part: Recording, stamps: range) -> None:  # noqa: ARG002
        self.cloud.write(part.frames, part.depth, part.cameras)

    def bytes(self) -> Bytes:
        return Bytes(self.cloud.nbytes, self.cloud.nbytes, 0)


def over_cells(cameras: Cameras, stride: int) -> Cameras:
    """The cameras over the latent grid."""
    return cameras.rescale((cameras.size[0] // stride, cameras.size[1] // stride))


def check(part: Recording, codec: Codec) -> None:
    """Write part of a recording, and compare the two other memories with this project's operations.

    Raises:
        AssertionError: a memory gives a wrong result and must not be timed.
    """
    _check_appended(part, codec)
    _check_rgb_points(part, codec)


def _check_appended(part: Recording, codec: Codec) -> None:
    appended = Appended(codec)
    appended.write(part, range(len(part.depth)))
    cloud, views = appended.cloud, over_cells(part.cameras, codec.spatial_stride)
    points = unproject(part.depth, part.latents, part.cameras)
    assert torch.equal(cloud.xyz, points.xyz[points.valid])
    expected = splat(cloud.xyz, cloud.features, views)
    # rounding differs at the borders of cells
    assert (cloud.read(views)[1] == expected.mask).float().mean() > 0.999
    assert (appended.show(part.cameras).latents == expected.features).float().mean() > 0.999

    groups, count = group_voxels(cloud.xyz, python_sets.VOXEL)
    frame = torch.arange(len(part.depth), dtype=torch.int64, device="cpu").repeat_interleave(
        len(points.valid) // len(part.depth)
    )[points.valid]
    past = [visible(cloud.xyz, v, valid=frame == t, groups=groups, num_groups=count) for t, v in enumerate(each(views))]
    for view in each(views):
        target = visible(cloud.xyz, view, groups=groups, num_groups=count)
        ious = python_sets.ious(python_sets.voxels(cloud.in_view(view)), cloud.voxels)
        assert (
            overlap(target, torch.cat(past))[0].tolist()
            == torch.tensor(ious, dtype=torch.float32, device="cpu").tolist()
        )


def _check_rgb_points(part: Recording, codec: Codec) -> None:
    everything = RgbPoints(codec, part.depth.numel())
    everything.write(part, range(len(part.depth)))
    for t in range(len(part.depth)):
        one = part.pick([t])
        alone = RgbPoints(codec, one.depth.numel())
        alone.write(one, range(t, t + 1))
        valid = valid_depth(one.depth)
        image = torch.where(valid[:, None], one.frames / 255, 0.0)
        own = alone.read(one.cameras)
        assert torch.equal(own.images, image)
        among = everything.read(one.cameras)
        nearest = valid & (among.depth == own.depth)
        assert (among.depth <= own.depth).all()
        # of two points at the same depth the first one is rendered, which may be another frame's
        assert (among.images == image).movedim(1, -1)[nearest].float().mean() > 0.999


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def each(cameras: Cameras) -> list[Cameras]:
    return [cameras[t] for t in range(len(cameras))]
