# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Argument checks for public functions, with named dimensions and one style of error message.

Every message reads ``name: expected X, got Y``. Shapes are printed with the names of their dimensions and the sizes
that earlier arguments have bound, for example ``features: expected (N=31680, C), got (31681, 48)``. The checks test
types, shapes, dtypes and devices but not the values of tensors, so they neither wait for a GPU nor break a
``torch.compile`` graph.

Example:
    >>> import torch
    >>> from mirage_kernels import check
    >>> dims = {}
    >>> check.tensor("xyz", torch.zeros(7, 3), ("N", 3), dims)
    >>> check.tensor("features", torch.zeros(8, 5), ("N", "C"), dims)
    Traceback (most recent call last):
        ...
    ValueError: features: expected (N=7, C), got (8, 5)
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

_FLOAT32, _STRIDED = torch.float32, torch.strided
_NUMBERS: tuple[Any, ...] = (int, float, numbers.Real, torch.SymInt, torch.SymFloat)  # Real: NumPy's scalars too
_MAX_FLOAT32 = torch.finfo(torch.float32).max
_MAX_SHOWN = 300  # characters of a value in an error
_MAX_INT64 = (1 << 63) - 1
FEATURE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

Dims = dict[str, int]
_Option = TypeVar("_Option", bound=str)


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype without the prefix ``torch.``."""
    return str(dtype).removeprefix("torch.")


def one_of(names: list[str]) -> str:
    """Join names as ``none``, ``a``, ``a or b`` or ``a, b or c``."""
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def type_error(name: str, expected: str, value: Any) -> TypeError:
    """Return ``TypeError("name: expected X, got <type of value>")``, to be raised by the caller."""
    hint = " (torch.from_numpy converts it)" if type(value).__name__ == "ndarray" and "tensor" in expected else ""
    return TypeError(f"{name}: expected {expected}, got {type(value).__name__}{hint}")


def value_error(name: str, expected: str, got: Any) -> ValueError:
    """Return ``ValueError("name: expected X, got Y")``, to be raised by the caller. Y becomes one line, cut short."""
    return ValueError(f"{name}: expected {expected}, got {one_line(got)}")


def one_line(value: Any, form: Callable[[Any], str] = str) -> str:
    """Return a value of any type as one line of at most 300 characters, for an error.

    Args:
        value: the value.
        form: ``str`` or ``repr``.
    """
    try:
        text = " ".join(form(value).split())
    except Exception:  # Python refuses to print an integer of more than 4300 digits
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def tensor(
    name: str,
    value: Any,
    shape: tuple[str | int, ...],
    dims: Dims,
    dtypes: tuple[torch.dtype, ...] = (torch.float32,),
    like: tuple[str, Tensor] | None = None,
) -> None:
    """Check type, dtype, shape and device of a tensor.

    Args:
        name: name of the argument, for the message.
        value: the argument.
        shape: expected sizes. A string names a dimension: its first use binds it to a size, later uses must agree.
        dims: sizes of the named dimensions; updated in place.
        dtypes: the allowed dtypes.
        like: name of another argument and a tensor; ``value`` must be on the device of that tensor.

    Raises:
        TypeError: ``value`` is not a tensor, or its dtype is not allowed.
        ValueError: the shape or the device differs from the expected one, or the tensor is sparse or nested.
    """
    if not isinstance(value, Tensor):
        raise type_error(name, "a tensor", value)
    if value.layout is not _STRIDED:
        dense(name, value)
    if value.dtype not in dtypes:
        expected_dtypes = one_of([dtype_name(d) for d in dtypes])
        raise TypeError(f"{name}: expected {expected_dtypes}, got {dtype_name(value.dtype)}")
    try:
        got = value.shape
    except RuntimeError:  # of a nested tensor
        dense(name, value)
        raise
    bound = len(dims)
    ok = len(got) == len(shape)
    if ok:
        for expected_size, size in zip(shape, got, strict=True):
            if isinstance(expected_size, str) and expected_size not in dims:
                dims[expected_size] = size
            elif size != (dims[expected_size] if isinstance(expected_size, str) else expected_size):
                ok = False
                break
    if not ok:
        # Dimensions that this argument bound itself are printed without a size.
        before = dict(list(dims.items())[:bound])
        expected = [f"{size}={before[size]}" if size in before else str(size) for size in shape]
        raise value_error(name, _tuple(expected), _tuple([str(size) for size in got]))
    if like is not None and value.device != like[1].device:
        raise value_error(name, f"a tensor on {like[1].device} like {like[0]}", value.device)


def dense(name: str, value: Any, *, values: bool = False) -> Tensor:
    """Check that ``value`` is a tensor that is neither sparse nor nested, and return it.

    Args:
        name: name of the argument, for the message.
        value: the argument.
        values: whether the tensor must have values, which a tensor on the device "meta" does not.

    Raises:
        TypeError: ``value`` is not a tensor.
        ValueError: it is sparse or nested, or has no values.
    """
    if not isinstance(value, Tensor):
        raise type_error(name, "a tensor", value)
    if value.layout is not _STRIDED:
        raise value_error(name, "a dense tensor", f"one of layout {str(value.layout).removeprefix('torch.')}")
    if value.is_nested:
        raise value_error(name, "a dense tensor", "a nested one")
    if values and value.is_meta:
        raise value_error(name, "a tensor with values", "a tensor on meta")
    return value


def are_points(xyz: Any, features: Any) -> bool:
    """Return whether two values are points (N, 3) float32, N < 2^31, and their features (N, C) on the same device.

    This takes a third of the time of two calls of :func:`tensor`, which matters for calls with few points. Where it
    returns False, call :func:`tensor` to raise the error.
    """
    if not (isinstance(xyz, Tensor) and isinstance(features, Tensor)):
        return False
    try:
        xyz_shape, features_shape = xyz.shape, features.shape
    except RuntimeError:  # of a nested tensor
        return False
    return (
        len(xyz_shape) == len(features_shape) == 2
        and xyz_shape[1] == 3
        and xyz_shape[0] == features_shape[0] < 1 << 31
        and xyz.dtype is _FLOAT32
        and xyz.layout is features.layout is _STRIDED
        and features.dtype in FEATURE_DTYPES
        and (features.is_cpu if xyz.is_cpu else features.device == xyz.device)
    )


def _tuple(parts: list[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


def dtype(name: str, value: Any) -> torch.dtype:
    """Check that ``value`` is one of :data:`FEATURE_DTYPES` and return it.

    Raises:
        TypeError: ``value`` is not a ``torch.dtype``.
        ValueError: ``value`` is another dtype.
    """
    if not isinstance(value, torch.dtype):
        raise type_error(name, "a torch.dtype", value)
    if value not in FEATURE_DTYPES:
        raise value_error(name, one_of([dtype_name(d) for d in FEATURE_DTYPES]), dtype_name(value))
    return value


def device_type(name: str, value: Any) -> torch.device:
    """Convert a device or its name to a ``torch.device``, whether this machine has one or not.

    Raises:
        TypeError: ``value`` is neither a string nor a ``torch.device``.
        ValueError: torch has no device of this name.
    """
    if not isinstance(value, (str, torch.device)):
        raise type_error(name, "a torch.device or its name", value)
    try:
        return torch.device(value)
    except RuntimeError:
        raise value_error(name, "a torch.device or its name", one_line(value, repr)) from None


def device(name: str, value: Any) -> torch.device:
    """Convert a device or its name to a ``torch.device``. ``"cuda"`` becomes the current GPU, with its index.

    Raises:
        TypeError: ``value`` is neither a string nor a ``torch.device``.
        ValueError: torch has no device of this name, or this machine or this build of torch has none.
    """
    found = device_type(name, value)
    if found.type in ("cpu", "meta"):
        return torch.device(found.type)  # torch takes "cpu:1" as well, which equals the device of no tensor
    try:  # an empty tensor takes no memory, and only a device that is there can have one
        return torch.empty(0, dtype=torch.uint8, device=found).device
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:  # each build of torch has its own
        reason = str(error).strip().partition("\n")[0]
        raise value_error(name, "a device of this machine", f"{str(value)!r} ({reason})") from None


def number(name: str, value: Any, minimum: float | None = None, maximum: float | None = None) -> float:
    """Check that ``value`` is a finite real number between ``minimum`` and ``maximum`` (included); return a float.

    Raises:
        TypeError: ``value`` is not a real number: an ``int``, a ``float``, or one of NumPy's scalars.
        ValueError: ``value`` is not finite, also when rounded to float32, or is out of bounds.

    Example:
        >>> number("extent", 2)
        2.0
        >>> number("extent", float("nan"))
        Traceback (most recent call last):
            ...
        ValueError: extent: expected a finite number, got nan
    """
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        raise type_error(name, "a number", value)
    try:
        result = float(value)
    except OverflowError:  # an integer beyond the largest float
        result = math.inf if value > 0 else -math.inf
    if minimum is not None and not result >= minimum:
        raise value_error(name, f"at least {minimum:g}", value)
    if maximum is not None and not result <= maximum:
        raise value_error(name, f"at most {maximum:g}", value)
    if not abs(result) <= _MAX_FLOAT32:  # one comparison, which torch.compile can make of a symbolic float
        is_finite = abs(result) < math.inf
        expected = f"a number within {_MAX_FLOAT32:g}, the range of float32" if is_finite else "a finite number"
        raise value_error(name, expected, value)
    return result


def positive(name: str, value: Any) -> float:
    """Check that ``value`` is a finite real number above 0; return a float.

    Raises:
        TypeError, ValueError: as :func:`number`.
    """
    if isinstance(value, _NUMBERS) and not isinstance(value, bool) and not 0 < value < math.inf:
        raise value_error(name, "a number above 0", value)
    return number(name, value)


def integer(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Check that ``value`` is an integer between ``minimum`` and ``maximum`` (included); return an ``int``.

    Without a maximum, 64 bits must represent it.

    Raises:
        TypeError: ``value`` is not an integer: an ``int``, one of NumPy's integers, or a tensor with one integer.
        ValueError: ``value`` is out of bounds.
    """
    if type(value) is not int and not isinstance(value, torch.SymInt):
        # Before NumPy 2.3, one of its bools has an index.
        if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", None) == "b":
            raise type_error(name, "an integer", value)
        if isinstance(value, Tensor) and value.dtype is torch.bool:
            raise type_error(name, "an integer", value)
        try:
            value = operator.index(value)
        except (TypeError, RuntimeError):  # RuntimeError: of a tensor without values
            raise type_error(name, "an integer", value) from None
    last = _MAX_INT64 if maximum is None else maximum
    if not minimum <= value <= last:
        expected = f"at least {minimum}" if maximum is None and value < minimum else f"{minimum} to {last}"
        raise value_error(name, expected, value)
    result: int = value
    return result


def flag(name: str, value: Any) -> bool:
    """Check that ``value`` is True or False, Python's or NumPy's; return a ``bool``.

    Raises:
        TypeError: ``value`` is neither.
    """
    if isinstance(value, bool):
        return value
    if getattr(value, "ndim", None) != 0 or getattr(getattr(value, "dtype", None), "kind", None) != "b":
        raise type_error(name, "a bool", value)
    return bool(value)


def size(name: str, value: Any) -> tuple[int, int]:
    """Check a grid size ``(h, w)``: each 1 to 2^24, with fewer than 2^31 cells; return it as a tuple.

    Raises:
        TypeError: ``h`` or ``w`` is not an integer.
        ValueError: ``value`` is not a pair, or a size is out of bounds.
    """
    if not isinstance(value, (tuple, list)) and getattr(value, "ndim", 0) == 1:
        value = value.tolist()  # of NumPy and torch
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise value_error(name, "(h, w)", one_line(value, repr))
    h, w = integer(f"{name}[0]", value[0], 1, 1 << 24), integer(f"{name}[1]", value[1], 1, 1 << 24)
    if h * w >= 1 << 31:
        raise value_error(name, "fewer than 2^31 cells", (h, w))
    return h, w


def choice(name: str, value: Any, options: tuple[_Option, ...]) -> _Option:
    """Check that ``value`` is one of ``options`` and return that option.

    Raises:
        ValueError: ``value`` is none of them.

    Example:
        >>> choice("mode", "linear", ("nearest", "bilinear"))
        Traceback (most recent call last):
            ...
        ValueError: mode: expected 'nearest' or 'bilinear', got 'linear'
    """
    if not isinstance(value, str) or value not in options:
        raise value_error(name, one_of([repr(o) for o in options]), one_line(value, repr))
    return options[options.index(value)]
