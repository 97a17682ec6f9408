# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Argument checks at the public door: named dimensions, one error style.

Every message reads ``name: expected X, got Y``. Shapes are given with the names and the sizes bound so far, e.g.
``features: expected (N=31680, C), got (31681, 48)``. Checks look at types, shapes, dtypes and devices, never at values,
so they neither wait for a GPU nor break a ``torch.compile`` graph.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_FLOAT32 = torch.float32
FEATURE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

Dims = dict[str, int]


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def one_of(names: list[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def type_error(name: str, expected: str, value: Any) -> TypeError:
    return TypeError(f"{name}: expected {expected}, got {type(value).__name__}")


def value_error(name: str, expected: str, got: Any) -> ValueError:
    return ValueError(f"{name}: expected {expected}, got {got}")


def tensor(
    name: str,
    value: Any,
    shape: tuple[str | int, ...],
    dims: Dims,
    dtypes: tuple[torch.dtype, ...] = (torch.float32,),
    like: tuple[str, Tensor] | None = None,
) -> None:
    """Raise unless ``value`` is a tensor of one of ``dtypes`` with this ``shape``, on the device of ``like``.

    A string in ``shape`` names a dimension: its first use binds it in ``dims``, later uses must agree.
    """
    if not isinstance(value, Tensor):
        raise type_error(name, "a tensor", value)
    if value.dtype not in dtypes:
        wanted = one_of([dtype_name(d) for d in dtypes])
        raise TypeError(f"{name}: expected {wanted}, got {dtype_name(value.dtype)}")
    got = value.shape
    bound = len(dims)
    ok = len(got) == len(shape)
    if ok:
        for want, size in zip(shape, got, strict=True):
            if (dims.setdefault(want, size) if isinstance(want, str) else want) != size:
                ok = False
                break
    if not ok:
        # A dimension that this very argument bound says nothing yet: it is named without a size.
        known = dict(list(dims.items())[:bound])
        expected = [f"{want}={known[want]}" if want in known else str(want) for want in shape]
        raise value_error(name, _tuple(expected), _tuple([str(size) for size in got]))
    if like is not None and value.device != like[1].device:
        raise value_error(name, f"a tensor on {like[1].device} like {like[0]}", value.device)


def are_points(xyz: Any, features: Any) -> bool:
    """Whether these are points (N, 3) float32, N < 2^31, and their features (N, C), on one device.

    It takes a third of the time of :func:`tensor`, which a call on a few points is mostly made of. Where the answer is
    False, :func:`tensor` says why.
    """
    if not (isinstance(xyz, Tensor) and isinstance(features, Tensor)):
        return False
    places, rows = xyz.shape, features.shape
    return (
        len(places) == len(rows) == 2
        and places[1] == 3
        and places[0] == rows[0] < 1 << 31
        and xyz.dtype is _FLOAT32
        and features.dtype in FEATURE_DTYPES
        and (features.is_cpu if xyz.is_cpu else features.device == xyz.device)
    )


def _tuple(parts: list[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


def dtype(name: str, value: Any) -> torch.dtype:
    """One of :data:`FEATURE_DTYPES`."""
    if not isinstance(value, torch.dtype):
        raise type_error(name, "a torch.dtype", value)
    if value not in FEATURE_DTYPES:
        raise value_error(name, one_of([dtype_name(d) for d in FEATURE_DTYPES]), dtype_name(value))
    return value


def device(name: str, value: Any) -> torch.device:
    """The device that tensors made on ``value`` say they are on: ``"cuda"`` names the current GPU by its index."""
    if not isinstance(value, (str, torch.device)):
        raise type_error(name, "a torch.device or its name", value)
    try:
        found = torch.device(value)
    except RuntimeError:
        raise value_error(name, "a torch.device or its name", repr(value)) from None
    return found if found.index is not None else torch.empty(0, device=found).device


def number(name: str, value: Any, minimum: float | None = None, maximum: float | None = None) -> float:
    """A finite real number within bounds, as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise type_error(name, "a number", value)
    if minimum is not None and not value >= minimum:
        raise value_error(name, f"at least {minimum:g}", value)
    if maximum is not None and not value <= maximum:
        raise value_error(name, f"at most {maximum:g}", value)
    if value != value or value in (float("inf"), float("-inf")):
        raise value_error(name, "a finite number", value)
    return float(value)


def integer(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise type_error(name, "an integer", value)
    if value < minimum or (maximum is not None and value > maximum):
        wanted = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
        raise value_error(name, wanted, value)
    return value


def size(name: str, value: Any) -> tuple[int, int]:
    """A grid ``(h, w)`` of at least one cell, whose cells a 32-bit integer can count."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise value_error(name, "(h, w)", repr(value))
    h, w = (integer(f"{name}[{axis}]", v, 1, 1 << 24) for axis, v in enumerate(value))
    if h * w >= 1 << 31:
        raise value_error(name, "fewer than 2^31 cells", (h, w))
    return h, w


def choice(name: str, value: Any, options: tuple[str, ...]) -> str:
    if value not in options:
        raise value_error(name, one_of([repr(o) for o in options]), repr(value))
    return str(value)
