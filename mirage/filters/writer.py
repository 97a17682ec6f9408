# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Writing to a memory what filters leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from mirage_kernels import Cameras

from ..memory import LatentSpatialMemory
from .compose import Filters
from .verdict import Look, Observation, Surfaces, Verdict

AROUND = 8  # latent frames, a chunk's worth


class Written(NamedTuple):
    """What became of a frame: points it added, points it proved to be gone, and why cells were left out."""

    added: int
    carved: int
    verdict: Verdict


class FilteredWriter:
    """Writes frames to a memory as :meth:`LatentSpatialMemory.write` does, without what filters put out, and drops what
    the frames see through. Each frame is held against those written with it, earlier and later, and against the last
    ones before: that tells motion.

    Args:
        memory: is read and written.
        filters: see :class:`mirage.filters.Filters`.
        carve: drop stale points.
        around: how many frames to either side are held against one, at most.
    """

    def __init__(
        self, memory: LatentSpatialMemory, filters: Filters, *, carve: bool = True, around: int = AROUND
    ) -> None:
        self.memory, self.filters, self.carve = memory, filters, carve
        self._past: deque[Look] = deque(maxlen=around)

    def write(
        self,
        latents: Tensor,
        cameras: Cameras,
        depth: Tensor,
        frames: Tensor,
        *,
        exclude: Tensor | None = None,
        keep: Tensor | None = None,
        stamps: Sequence[int] | None = None,
    ) -> list[Written]:
        """Write T latent frames one after the other.

        Args:
            latents: (C, T, h, w).
            cameras: T cameras over (H, W).
            depth: (T, H, W) float32, world units.
            frames: (3, T, H, W), 0 to 1: those that the latents stand for.
            exclude, keep: (T, H, W) bool, the user's; see :class:`mirage.filters.Observation`.
            stamps: see :meth:`LatentSpatialMemory.write`.
        """
        expected = (3, len(cameras), *cameras.size)
        if frames.shape != expected:
            raise ValueError(f"frames: expected {expected}, got {tuple(frames.shape)}")
        if depth.shape != expected[1:]:
            raise ValueError(f"depth: expected {expected[1:]}, got {tuple(depth.shape)}")
        grid = (latents.shape[-2], latents.shape[-1])
        looks = [*self._past, *(Look(frames[:, t], depth[t], cameras[t]) for t in range(len(cameras)))]
        before = len(self._past)
        written = []
        for t in range(len(cameras)):
            here = slice(t, t + 1)
            observation = Observation(
                frames[:, t],
                cameras[t],
                grid,
                depth=depth[t],
                view=self.memory.read(cameras[t].rescale(grid)),
                seen=self._seen(),
                others=self._others(looks, before + t),
                exclude=None if exclude is None else exclude[t],
                keep=None if keep is None else keep[t],
            )
            verdict = self.filters(observation)
            carved = self.memory.carve(depth[t], cameras[t], grid) if self.carve else 0
            stamp = None if stamps is None else stamps[here]
            added = self.memory.write(latents[:, here], cameras[t], depth[here], mask=verdict.out[None], stamps=stamp)
            written.append(Written(added[0], carved, verdict))
        self._past.extend(looks[before:])
        return written

    def _others(self, looks: list[Look], at: int) -> tuple[Look, ...]:
        around = self._past.maxlen or 0
        return (*looks[max(at - around, 0) : at], *looks[at + 1 : at + 1 + around])

    def _seen(self) -> Surfaces | None:
        history = self.memory.history
        return None if history.cameras is None else Surfaces(history.cameras, history.surface)
