# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A boolean mask over the rows of a memory."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from mirage_kernels import check

from .inference import outside_inference_mode

_Change = tuple[Tensor, Tensor, Tensor, Tensor]  # the flags, their complement, int64 rows, and their flags before


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
        self._log: list[_Change] | None = None  # changes since begin()
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
            flags = torch.cat([self._set, self._set.new_zeros(more)])
            clear = torch.cat([self._clear, self._clear.new_ones(more)])
            self._set, self._clear = flags, clear

    def mark(self, index: Tensor, rows: int) -> None:
        """Set flags.

        Args:
            index: int64 row numbers.
            rows: number of rows of the memory.
        """
        self._grow(rows)
        if index.numel():
            self._change(index, True)
            self.any = True

    def unmark(self, index: Tensor) -> None:
        """Clear the flags of the rows ``index``, int64."""
        if index.numel():
            self._change(index, False)

    def _change(self, index: Tensor, value: bool) -> None:
        if self._log is not None:
            self._log.append((self._set, self._clear, index, self._set[index]))
        self._set[index], self._clear[index] = value, not value

    def begin(self) -> Callable[[], None]:
        """Begin to log changes.

        Returns:
            A function that undoes the changes since. It may be called more than once.
        """
        log: list[_Change] = []
        self._log = log
        return functools.partial(self._return_to, self._set, self._clear, self.any, log)

    def _return_to(self, flags: Tensor, clear: Tensor, any_set: bool, log: list[_Change]) -> None:
        for changed, complement, index, before in reversed(log):
            changed[index], complement[index] = before, ~before
        self._set, self._clear, self.any = flags, clear, any_set

    @outside_inference_mode
    def remap(self, rows: Tensor) -> None:
        """Follow rows that have moved.

        Args:
            rows: (N,) int64, new row number of each old row, in ascending order; -1 for removed rows.
        """
        kept = self.set(len(rows))[rows >= 0]
        flags, clear, any_set = torch.zeros_like(self._set), torch.ones_like(self._clear), bool(kept.any())
        flags[: len(kept)], clear[: len(kept)] = kept, ~kept
        self._set, self._clear, self.any = flags, clear, any_set
