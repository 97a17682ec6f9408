# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Choices that the bytes of a fuzzer make. Each takes few bytes. Zeros, as after the end, choose the first option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


class Input:
    """A reader of bytes.

    Args:
        data: the bytes, of any length.

    Example:
        >>> data = Input(b"\\x01\\x02")
        >>> data.choice("ab"), data.integer(5, 9), data.byte()
        ('b', 7, 0)
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def byte(self) -> int:
        """Return the next byte, 0 after the end."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def integer(self, first: int, last: int) -> int:
        """Return an integer between two bounds, both included."""
        values = last - first + 1
        value = 0
        for _ in range(((values - 1).bit_length() + 7) // 8):
            value = value << 8 | self.byte()
        return first + value % values

    def choice(self, options: Sequence[T]) -> T:
        """Return one of some options."""
        return options[self.integer(0, len(options) - 1)]

    def rarely(self) -> bool:
        """Return True for one byte in ten."""
        return self.byte() > 230

    def generator(self) -> torch.Generator:
        """Return a generator of random numbers that is seeded by two bytes."""
        return torch.Generator().manual_seed(self.integer(0, (1 << 16) - 1))
