# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Run a call on the backends ``reference`` and ``cpp``: both return the same bits, or raise the same error, which names
the argument. Everything else is a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, testing

ERRORS = (ValueError, TypeError, IndexError, torch.OutOfMemoryError)
BACKENDS = ("reference", "cpp")


# Errors that are not of a call alone: the native kernels do not run on this device; and a rule of torch's own.
OTHERS = ("backend: ", "Inference tensors cannot be saved for backward")


class FaultError(Exception):
    """What is wrong, in one line. Lines that differ only in numbers are of the same fault."""


class Refusal(NamedTuple):
    """A call that raised an error that it may raise."""

    kind: type[BaseException]
    text: str


def check_message(error: BaseException, names: Iterable[str]) -> None:
    """Raise FaultError unless an error is one of ours: of one line, with the name of an argument, and not too long."""
    text = str(error)
    named = re.match(r"[\w ]+'?(?=[s.\[:' ])", text)
    if type(error) is torch.OutOfMemoryError and re.match(r"[\w ]+: out of memory\. ", text):
        return
    if type(error) not in ERRORS or "\n" in text or len(text) > 600:
        raise FaultError(f"{type(error).__name__} of several or many words: {text[:200]!r}")
    if named is None or not any(re.match(rf"{re.escape(name)}\b", text) for name in names):
        raise FaultError(f"{type(error).__name__} that does not begin with the name of an argument: {text[:200]!r}")


def outcome(call: Callable[[], Any], names: Iterable[str]) -> Any:
    """Return what a call returns, or its refusal."""
    try:
        return call()
    except ERRORS as error:
        check_message(error, names)
        return Refusal(type(error), str(error))


def run_on_both(call: Callable[[], Any], names: Iterable[str], *, sums: bool = False) -> Any:
    """Run a call on both backends.

    Args:
        call: returns tensors, cameras, numbers, or tuples, lists and dicts of them.
        names: of the arguments; an error has to begin with one of them.
        sums: whether any NaN equals any other NaN.

    Returns:
        The result of the last backend, or its refusal.

    Raises:
        FaultError: an error of another kind, or different results.
    """
    results = []
    for backend in BACKENDS:
        with mk.use_backend(backend):
            try:
                results.append(outcome(call, names))
            except RuntimeError as error:
                if not str(error).startswith(OTHERS):
                    raise
                return None
    compare("result", *results, sums=sums)
    return results[-1]


def compare(name: str, expected: Any, got: Any, *, sums: bool = False) -> None:
    """Raise FaultError unless two results are the same bit for bit."""
    if isinstance(expected, Refusal) or isinstance(got, Refusal):
        kinds = [value.kind if isinstance(value, Refusal) else None for value in (expected, got)]
        if torch.OutOfMemoryError not in kinds and expected != got:
            shown = [value if isinstance(value, Refusal) else type(value).__name__ for value in (expected, got)]
            raise FaultError(f"{name}: the reference gives {shown[0]}, cpp {shown[1]}")
        return
    if type(expected) is not type(got):
        raise FaultError(f"{name}: the reference gives {type(expected).__name__}, cpp {type(got).__name__}")
    if isinstance(expected, Tensor):
        same = expected.shape == got.shape and expected.dtype == got.dtype and expected.device == got.device
        if same and not expected.is_meta:
            same = (testing.same_sums if sums else testing.same_bits)(expected.detach(), got.detach())
        if not same:
            raise FaultError(f"{name}: the backends differ ({expected.dtype}, {tuple(expected.shape)})")
    elif isinstance(expected, Cameras):
        compare(name, parts(expected), parts(got))
    elif isinstance(expected, dict):
        compare(f"keys of {name}", list(expected), list(got))
        for key, value in expected.items():
            compare(f"{name}[{key}]", value, got[key], sums=sums)
    elif isinstance(expected, (tuple, list)):
        compare(f"length of {name}", len(expected), len(got))
        for number, (a, b) in enumerate(zip(expected, got, strict=True)):
            compare(f"{name}[{number}]", a, b, sums=sums)
    elif expected != got and not (expected != expected and got != got):
        raise FaultError(f"{name}: the reference gives {expected!r}, cpp {got!r}"[:300])


def parts(cameras: Cameras) -> list[Any]:
    """Return all that cameras hold."""
    return [cameras.intrinsics, cameras.cam2world, cameras.world2cam, cameras.size, cameras._limits]


def gradients(result: Any, inputs: Iterable[Any], generator: torch.Generator) -> list[Tensor | None]:
    """Return the gradients of a result for the inputs that want one; none if nothing depends on them."""
    outputs = [out for out in result if isinstance(out, Tensor) and out.requires_grad]
    wanted = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad and not t.is_meta]
    if not outputs or not wanted:
        return []
    random = [torch.randn(out.shape, generator=generator).to(out.dtype) for out in outputs]
    return list(torch.autograd.grad(outputs, wanted, random, allow_unused=True))
