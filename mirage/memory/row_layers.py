# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The layers in which the rows of a memory are rendered: current rows, superseded rows, and rows at a guessed depth."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from mirage_kernels import InsertCounts, VoxelCache

from .inference import outside_inference_mode
from .row_mask import RowMask

# Of two points in a voxel the one with the smaller footprint stays, or else the first. This factor on the footprints of
# filled rows lets a point with depth at the same place replace them.
YIELDING = 1 + 2.0**-12


class RowLayers:
    """Which rows are rendered first, and which only where others leave holes.

    Args:
        device: device of the memory.

    Attributes:
        superseded: rows of surfaces that were written again from closer. They are rendered where the current rows leave
            holes or lie behind them.
        filled: rows whose depth was filled in from the background around them. They are rendered only where all other
            rows leave holes, so that a surface with depth always wins.
        rejected: number of cells that the cache rejected.
    """

    NAMES = ("coarse", "filled")  # of the tensors

    @outside_inference_mode
    def __init__(self, device: torch.device | str) -> None:
        self.superseded = RowMask(device)
        self.filled = RowMask(device)
        self.rejected = 0

    @property
    def nbytes(self) -> int:
        """Allocated bytes."""
        return self.superseded.nbytes + self.filled.nbytes

    def split(self, rows: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Divide the rows.

        Args:
            rows: number of rows.

        Returns:
            (rows,) bool masks of the current rows, the superseded and the filled ones; None instead of the current ones
            if all rows are, and instead of the others if there are none.
        """
        current = self.superseded.clear(rows) if self.superseded.any else None
        if self.filled.any:
            current = self.filled.clear(rows) if current is None else current & self.filled.clear(rows)
        superseded = self.superseded.set(rows) if self.superseded.any else None
        return current, superseded, self.filled.set(rows) if self.filled.any else None

    @outside_inference_mode
    def insert(
        self,
        cache: VoxelCache,
        points: tuple[Tensor, Tensor, Tensor],
        is_written: Tensor,
        stamp: int,
        superseded: Tensor,
    ) -> InsertCounts:
        """Insert points with depth, and mark the rows that they supersede.

        Args:
            cache: the rows.
            points: xyz, features and footprint of N points.
            is_written: (N,) bool, the points to insert.
            stamp: number of the frame.
            superseded: int64 rows.
        """
        before = cache.footprint[superseded] if len(superseded) else cache.footprint[:0]
        guessed = self.filled.set(len(cache)).nonzero().squeeze(1) if self.filled.any else superseded[:0]
        guessed_before = cache.footprint[guessed] if len(guessed) else cache.footprint[:0]
        counts = cache.insert(*points, valid=is_written, stamp=stamp)
        self._count_rejected(counts.rejected, points[1], is_written)
        if counts.remap is not None:
            self.remap(counts.remap)
            superseded, before = _follow(superseded, before, counts.remap)
            guessed, guessed_before = _follow(guessed, guessed_before, counts.remap)
        # A closer point in the voxel of the superseded one has replaced its row, and with it the footprint.
        if len(superseded):
            self.superseded.mark(superseded[cache.footprint[superseded] == before], len(cache))
        if len(guessed):
            self.filled.unmark(guessed[cache.footprint[guessed] != guessed_before])
        return counts

    @outside_inference_mode
    def insert_filled(
        self, cache: VoxelCache, points: tuple[Tensor, Tensor, Tensor], is_written: Tensor, stamp: int
    ) -> InsertCounts:
        """Insert points at a guessed depth; see :meth:`insert`."""
        xyz, features, footprint = points
        counts = cache.insert(xyz, features, footprint * YIELDING, valid=is_written, stamp=stamp)
        self._count_rejected(counts.rejected, features, is_written)
        if counts.remap is not None:
            self.remap(counts.remap)
        rows = len(cache)  # new rows come last
        self.filled.mark(torch.arange(rows - counts.added, rows, device=cache.xyz.device, dtype=torch.int64), rows)
        return counts

    def _count_rejected(self, rejected: int, features: Tensor, is_written: Tensor) -> None:
        """Count cells that the cache rejected, and warn of the first ones."""
        self.rejected += rejected
        if rejected == 0 or self.rejected > rejected:
            return
        spoiled = int((is_written & ~features.isfinite().all(1)).sum())
        reasons = [f"{spoiled} have latents that are not finite"] if spoiled else []
        if rejected > spoiled:
            reasons.append(f"{rejected - spoiled} are too far from the origin (see `origin` of LatentSpatialMemory)")
        message = f"memory: {rejected} cells were not written: {', '.join(reasons)}; `rejected` counts further ones"
        warnings.warn(message, stacklevel=6)  # where the memory is written

    @outside_inference_mode
    def remap(self, rows: Tensor) -> None:
        """Follow rows that have moved; see :meth:`mirage.memory.row_mask.RowMask.remap`."""
        self.superseded.remap(rows)
        self.filled.remap(rows)

    def begin(self) -> Callable[[], None]:
        """Begin to log changes; return a function that undoes them, which may be called more than once."""
        undo, rejected = (self.superseded.begin(), self.filled.begin()), self.rejected

        def return_to_begin() -> None:
            for one in undo:
                one()
            self.rejected = rejected

        return return_to_begin

    def tensors(self, rows: int) -> dict[str, Tensor]:
        """Return the state as named tensors."""
        return {"coarse": self.superseded.set(rows), "filled": self.filled.set(rows)}

    @outside_inference_mode
    def load(self, tensors: dict[str, Tensor], rows: int) -> None:
        """Set the state.

        Args:
            tensors: as returned by :meth:`tensors`; files of earlier versions have no ``"filled"``.
            rows: number of rows of the memory.

        Raises:
            KeyError: there is no ``"coarse"``.
            ValueError: shapes or dtypes do not match.
        """
        for name, mask in (("coarse", self.superseded), ("filled", self.filled)):
            flags = tensors["coarse"].new_zeros(rows) if name == "filled" and name not in tensors else tensors[name]
            if flags.dtype != torch.bool or flags.shape != (rows,):
                raise ValueError(f"{name}: expected bool ({rows},), got {flags.dtype} {tuple(flags.shape)}")
            mask.mark(flags.nonzero().squeeze(1), rows)


def _follow(rows: Tensor, values: Tensor, remap: Tensor) -> tuple[Tensor, Tensor]:
    """The new numbers of those rows that are left, with their values."""
    moved = remap[rows]
    return moved[moved >= 0], values[moved >= 0]
