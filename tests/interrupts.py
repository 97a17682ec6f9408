# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Actions that are interrupted at every step of their Python code, or fail at every operator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# The code of this project, which may be installed from a wheel.
OURS = tuple(f"{Path(str(find_spec(name).origin)).parent}/" for name in ("mirage", "mirage_kernels"))  # type: ignore[union-attr]


class Interrupt:
    """Raises KeyboardInterrupt at one step of the code of this project: a line, a return, or with ``opcodes`` at one
    bytecode."""

    def __init__(self, at: int, *, opcodes: bool = False) -> None:
        self.left, self.opcodes = at, opcodes

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = self.opcodes
        if event != "exception":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self._trace

    def run(self, action: Callable[[], Any]) -> bool:
        """Run an action; return whether it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            action()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return self.left <= 0


class _Places(Interrupt):
    """Interrupts nothing, but notes the first and the last step at every place."""

    def __init__(self) -> None:
        super().__init__(0)
        self.count = 0
        self.found: dict[tuple[Any, ...], tuple[int, int]] = {}

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event != "exception":
            self.count += 1
            caller = frame.f_back
            while caller is not None and not caller.f_code.co_filename.startswith(OURS):
                caller = caller.f_back
            called_from = None if caller is None else (caller.f_code, caller.f_lineno)
            place = (frame.f_code, frame.f_lineno, event, called_from)
            self.found[place] = (self.found.get(place, (self.count,))[0], self.count)
        return self._trace


def places(action: Callable[[], Any]) -> list[int]:
    """Return the steps of an action at which to interrupt it once in every way: of each line and return, with the line
    that called its function, the first time and the last. What a loop repeats in between is left out."""
    recorder = _Places()
    recorder.run(action)
    return sorted({step for steps_of_place in recorder.found.values() for step in steps_of_place})


class Failure(TorchDispatchMode):
    """Raises OutOfMemoryError instead of running one operator, or KeyboardInterrupt after it."""

    def __init__(self, at: int, *, after: bool = False) -> None:
        super().__init__()
        self.left, self.after = at, after

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise torch.OutOfMemoryError("out of memory")
        result = func(*args, **(kwargs or {}))
        if self.left == 0:
            raise KeyboardInterrupt
        return result

    def run(self, action: Callable[[], Any]) -> bool:
        """Run an action; return whether it failed."""
        try:
            with self:
                action()
        except (torch.OutOfMemoryError, KeyboardInterrupt):
            return True
        return self.left <= 0


def steps(stride: int = 1) -> Iterator[int]:
    """Count 1, 1 + stride, ... until the caller breaks, at most 100,000."""
    yield from range(1, 100_000, stride)
