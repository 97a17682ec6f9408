# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Measuring the parts of a rollout."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


class Clock:
    """Measures the seconds of consecutive parts.

    Args:
        device: the device that computes the parts.
        on_part: called with the name of each part when it begins.
        synchronize: whether to wait for the device at the end of each part.

    Attributes:
        seconds: duration of each part that has ended.
    """

    def __init__(
        self, device: torch.device, on_part: Callable[[str], None] | None = None, synchronize: bool = True
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._device, self._on_part, self._synchronize = device, on_part, synchronize
        self._name, self._since = "", 0.0

    def start(self, name: str) -> None:
        """End the current part, and begin the part ``name``."""
        self.stop()
        self._name, self._since = name, time.perf_counter()
        if self._on_part is not None:
            self._on_part(name)

    def stop(self) -> None:
        """End the current part."""
        if self._name:
            if self._synchronize and self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            spent = time.perf_counter() - self._since
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + spent
        self._name = ""
