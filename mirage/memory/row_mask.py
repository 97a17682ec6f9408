# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A mark on some of the memory's rows."""

from __future__ import annotations

import torch
from torch import Tensor


class RowMask:
    """One flag a row, and its opposite: reading a large memory should not have to turn every flag around."""

    def __init__(self, device: torch.device | str) -> None:
        self.any = False
        self._set = torch.zeros(0, dtype=torch.bool, device=device)
        self._clear = torch.ones(0, dtype=torch.bool, device=device)

    @property
    def nbytes(self) -> int:
        return self._set.nbytes + self._clear.nbytes

    def set(self, rows: int) -> Tensor:
        """(rows,) bool, the flags."""
        self._reach(rows)
        return self._set[:rows]

    def clear(self, rows: int) -> Tensor:
        """(rows,) bool, True where there is none."""
        self._reach(rows)
        return self._clear[:rows]

    def _reach(self, rows: int) -> None:
        if rows > len(self._set):
            more = max(rows, len(self._set) * 3 // 2) - len(self._set)
            self._set = torch.cat([self._set, self._set.new_zeros(more)])
            self._clear = torch.cat([self._clear, self._clear.new_ones(more)])

    def mark(self, index: Tensor, rows: int) -> None:
        self._reach(rows)
        self._set[index], self._clear[index] = True, False
        self.any = self.any or index.numel() > 0

    def move(self, remap: Tensor) -> None:
        """Rows went where ``remap`` says, -1 = gone."""
        kept = self.set(len(remap))[remap >= 0]
        self._set = torch.zeros_like(self._set)
        self._clear = torch.ones_like(self._clear)
        self._set[: len(kept)], self._clear[: len(kept)] = kept, ~kept
        self.any = bool(kept.any())
