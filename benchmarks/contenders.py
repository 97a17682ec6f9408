# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Three memories behind one protocol: this project's, the original's and one of coloured points.

Each is asked for what conditions a chunk, latents and a mask over the grid of the chunk's views, and given the chunk's
true latents, frames and depth. Whether the two others do what they should is checked before they are timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as nnf

from benchmarks.baselines import python_sets
from benchmarks.baselines.append_only import AppendOnly
from benchmarks.baselines.rgb_cloud import Rendering, RgbCloud
from benchmarks.recording import Recording
from mirage.memory import LatentSpatialMemory, MemoryView
from mirage.rollout import Codec
from mirage_kernels import Cameras, group_voxels, overlap, splat, unproject, visible

DRAWN = 0.5  # a cell that pixels were drawn in is known from this share of them on


class Condition(NamedTuple):
    """What T views are conditioned on: latents (T, C, h, w), and mask (T, h, w), where they say anything."""

    latents: Tensor
    mask: Tensor


class Bytes(NamedTuple):
    """Of what is read, with room to grow and without, and of past frames."""

    cache: int
    shrunk: int
    history: int


class Contender(Protocol):
    """A memory. Cameras are of the frames' size, and what ``read`` returns is for ``condition`` alone.

    Attributes:
        name: in tables.
        encodes: whether ``condition`` takes any work.
        retrieves: whether the method has a retrieval of past frames.
    """

    name: str
    encodes: bool
    retrieves: bool

    def __len__(self) -> int: ...

    def read(self, cameras: Cameras) -> Any: ...

    def condition(self, read: Any) -> Condition: ...

    def show(self, cameras: Cameras) -> Condition:
        """What conditions these views: both steps, untimed."""
        ...

    def retrieve(self, cameras: Cameras) -> Tensor | None:
        """Latents (R, C, h, w) of past frames, the best first."""
        ...

    def write(self, part: Recording, stamps: range) -> None: ...

    def bytes(self) -> Bytes: ...


class Ours:
    """:class:`mirage.memory.LatentSpatialMemory`, everything as by default, in the latents' own dtype."""

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
        history = self.memory.history.nbytes
        rest = self.memory.nbytes - self.memory.cache.nbytes - history  # flags of rows
        return Bytes(self.memory.cache.nbytes + rest, small.nbytes + rest, history)


class Appended:
    """:class:`benchmarks.baselines.append_only.AppendOnly`.

    With several threads its scatter may leave a farther point in a cell. It is timed like that, but judged by what a
    single one gives.
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


class Coloured:
    """:class:`benchmarks.baselines.rgb_cloud.RgbCloud` of the frames that latents stand for, with room for
    ``capacity`` points, which are not counted before they are there."""

    name, encodes, retrieves = "RGB points", True, False

    def __init__(self, codec: Codec, capacity: int) -> None:
        self.cloud = RgbCloud(capacity)
        self._codec = codec

    def __len__(self) -> int:
        return len(self.cloud)

    def read(self, cameras: Cameras) -> Rendering:
        return self.cloud.render(cameras)

    def condition(self, read: Rendering) -> Condition:
        latents = self._codec.encode(read.pictures[:, :, None])[:, :, 0]
        share = nnf.avg_pool2d(read.depth.isfinite().float(), self._codec.spatial_stride)
        return Condition(latents, share >= DRAWN)

    def show(self, cameras: Cameras) -> Condition:
        return self.condition(self.read(cameras))

    def retrieve(self, cameras: Cameras) -> None:  # noqa: ARG002
        return None

    def write(self, part: Recording, stamps: range) -> None:  # noqa: ARG002
        self.cloud.write(part.frames, part.depth, part.cameras)

    def bytes(self) -> Bytes:
        return Bytes(self.cloud.nbytes, self.cloud.nbytes, 0)


def over_cells(cameras: Cameras, stride: int) -> Cameras:
    return cameras.rescale((cameras.size[0] // stride, cameras.size[1] // stride))


def check(part: Recording, codec: Codec) -> None:
    """Write a part of a recording, and compare what comes out with this project's operations.

    Raises:
        AssertionError: a memory is not what its name says, and must not be timed.
    """
    _check_appended(part, codec)
    _check_coloured(part, codec)


def _check_appended(part: Recording, codec: Codec) -> None:
    appended = Appended(codec)
    appended.write(part, range(len(part.depth)))
    cloud, views = appended.cloud, over_cells(part.cameras, codec.spatial_stride)
    points = unproject(part.depth, part.latents, part.cameras)
    assert torch.equal(cloud.xyz, points.xyz[points.valid])
    expected = splat(cloud.xyz, cloud.features, views)
    # all but another order of rounding at the borders of cells
    assert (cloud.read(views)[1] == expected.mask).float().mean() > 0.999
    assert (appended.show(part.cameras).latents == expected.features).float().mean() > 0.999

    groups, count = group_voxels(cloud.xyz, python_sets.VOXEL)
    frame = torch.arange(len(part.depth)).repeat_interleave(len(points.valid) // len(part.depth))[points.valid]
    past = [visible(cloud.xyz, v, valid=frame == t, groups=groups, num_groups=count) for t, v in enumerate(each(views))]
    for view in each(views):
        target = visible(cloud.xyz, view, groups=groups, num_groups=count)
        shares = python_sets.shares(python_sets.voxels(cloud.in_view(view)), cloud.seen)
        assert overlap(target, torch.cat(past))[0].tolist() == torch.tensor(shares).tolist()


def _check_coloured(part: Recording, codec: Codec) -> None:
    everything = Coloured(codec, part.depth.numel())
    everything.write(part, range(len(part.depth)))
    for t in range(len(part.depth)):
        one = part.pick([t])
        alone = Coloured(codec, one.depth.numel())
        alone.write(one, range(t, t + 1))
        known = one.depth.isfinite() & (one.depth > 0)
        picture = torch.where(known[:, None], one.frames / 255, 0.0)
        shown = alone.read(one.cameras)
        assert torch.equal(shown.pictures, picture)
        among = everything.read(one.cameras)
        nearest = known & (among.depth == shown.depth)
        assert (among.depth <= shown.depth).all()
        # of two at the very same depth the first shows, which may be another frame's
        assert (among.pictures == picture).movedim(1, -1)[nearest].float().mean() > 0.999


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch use one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def each(cameras: Cameras) -> list[Cameras]:
    return [cameras[t] for t in range(len(cameras))]
