# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A boolean mask over the rows of a memory."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import check

from .inference import outside_inference_mode


class RowMask:
    """A growing boolean mask with one flag per row.

    The complement is stored as well, so that reading a large memory does not have to invert the mask.

    Args:
        device: device of the mask.

    Attributes:
        any: whether any flag is set.
    """

    @outside_inference_mode
    def __init__(self, device: torch.device | str) -> None:
        device = check.device("device", device)
        self.any = False
        self._set = torch.zeros(0, dtype=torch.bool, device=device)
        self._clear = torch.ones(0, dtype=torch.bool, device=device)

    @property
    def nbytes(self) -> int:
        """Allocated bytes."""
        return self._set.nbytes + self._clear.nbytes

    def set(self, rows: int) -> Tensor:
        """Return the mask of the first ``rows`` rows, (rows,) bool, True where a flag is set."""
        self._grow(rows)
        return self._set[:rows]

    def clear(self, rows: int) -> Tensor:
        """Return the complement of the mask of the first ``rows`` rows, (rows,) bool."""
        self._grow(rows)
        return self._clear[:rows]

    @outside_inference_mode
    def _grow(self, rows: int) -> None:
        if rows > len(self._set):
            more = max(rows, len(self._set) * 3 // 2) - len(self._set)
            self._set = torch.cat([self._set, self._set.new_zeros(more)])
            self._clear = torch.cat([self._clear, self._clear.new_ones(more)])

    def mark(self, index: Tensor, rows: int) -> None:
        """Set flags.

        Args:
            index: int64 row numbers.
            rows: number of rows of the memory.
        """
        self._grow(rows)
        self._set[index], self._clear[index] = True, False
        self.any = self.any or index.numel() > 0

    def unmark(self, index: Tensor) -> None:
        """Clear the flags of the rows ``index``, int64."""
        if index.numel():
            self._set[index], self._clear[index] = False, True

    @outside_inference_mode
    def remap(self, rows: Tensor) -> None:
        """Follow rows that have moved.

        Args:
            rows: (N,) int64, new row number of each old row, in ascending order; -1 for removed rows.
        """
        kept = self.set(len(rows))[rows >= 0]
        self._set = torch.zeros_like(self._set)
        self._clear = torch.ones_like(self._clear)
        self._set[: len(kept)], self._clear[: len(kept)] = kept, ~kept
        self.any = bool(kept.any())
