# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The forms in which cameras are given, converted to intrinsics (V, 3, 3) and poses (V, 4, 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import check

_STRIDED = torch.strided
DTYPES = (torch.float32, torch.float64)
_INTRINSICS = "(V, 3, 3), (V, 4, 4), (V, 4) of [fx, fy, cx, cy], or one of them without V"


def as_tensor(name: str, value: Any, like: Any = None) -> Tensor:
    """Convert an array, or nested lists of numbers, arrays or tensors, to a tensor.

    Args:
        name: name of the argument, for errors.
        value: a tensor is returned as it is. Integers and lists of numbers become float64.
        like: if this is a tensor, arrays and lists go to its device, else to the CPU.

    Raises:
        TypeError: it is none of these, or its dtype is neither float32 nor float64.
        ValueError: it is sparse or nested.
    """
    if not isinstance(value, Tensor):
        value = _copied(name, value)
        value = value.to(like.device) if isinstance(like, Tensor) else value
    if value.dtype not in DTYPES:
        raise TypeError(f"{name}: expected float32 or float64, got {check.dtype_name(value.dtype)}")
    return check.dense(name, value)


def _copied(name: str, value: Any) -> Tensor:
    try:
        if isinstance(value, (list, tuple)):
            if any(getattr(item, "ndim", 0) or isinstance(item, Tensor) for item in value):
                return torch.stack([item if isinstance(item, Tensor) else _copied(name, item) for item in value])
            return torch.tensor(value, dtype=torch.float64, device="cpu")
        kind, itemsize = value.dtype.kind, value.dtype.itemsize
        if kind in "iu" or (kind == "f" and itemsize >= 4):
            # A copy, because torch takes neither negative strides nor the byte order of another machine.
            name_of, dtype = ("float32", torch.float32) if kind == "f" and itemsize == 4 else ("float64", torch.float64)
            return torch.tensor(value.astype(name_of, order="C"), dtype=dtype, device="cpu")
    except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise check.type_error(name, "a tensor, an array or nested lists of numbers", value)


def poses(name: str, value: Any, like: Any = None) -> Tensor:
    """Convert poses to (V, 4, 4).

    Args:
        name: name of the argument, for errors.
        value: (..., 4, 4) or (..., 3, 4), see :func:`as_tensor`.
        like: see :func:`as_tensor`.

    Raises:
        TypeError, ValueError: it has another type, dtype or shape.
    """
    m = as_tensor(name, value, like)
    if m.dim() < 2 or m.shape[-1] != 4 or m.shape[-2] not in (3, 4):
        raise check.value_error(name, "(V, 4, 4) or (V, 3, 4), or one of them without V", tuple(m.shape))
    m = m.reshape(-1, *m.shape[-2:])
    if m.shape[1] == 4:
        return m
    last = torch.zeros_like(m[:, :1])
    last[:, :, 3] = 1
    return torch.cat([m, last], 1)


def intrinsics(value: Any, like: Any = None, *, integer_centers: bool = False) -> Tensor:
    """Convert intrinsics to (V, 3, 3).

    Args:
        value: (..., 3, 3), (..., 4, 4) or (..., 4), see :func:`as_tensor`. The values tell whether (4, 4) is a matrix
            or four rows ``[fx, fy, cx, cy]``.
        like: see :func:`as_tensor`.
        integer_centers: whether pixel centers have integer coordinates; then 0.5 is added to cx and cy.

    Raises:
        TypeError, ValueError: it has another type, dtype or shape, or a matrix (4, 4) has other values than 0 and 1 in
            its last row and column.
    """
    k = as_tensor("intrinsics", value, like)
    shape = tuple(k.shape)
    if shape[-2:] == (3, 3):
        k = k.reshape(-1, 3, 3)
    elif shape[-2:] == (4, 4) and _is_padded(k):
        k = _without_padding(k.reshape(-1, 4, 4))
    elif len(shape) >= 1 and shape[-1] == 4:
        k = _from_rows(k.reshape(-1, 4))
    else:
        raise check.value_error("intrinsics", _INTRINSICS, shape)
    if integer_centers:
        k = k.double().clone()
        k[:, :2, 2].add_(0.5)
    return k


def _is_padded(k: Tensor) -> bool:
    """Whether intrinsics (..., 4, 4) are matrices, and not rows of ``[fx, fy, cx, cy]``."""
    try:
        if not torch.compiler.is_compiling():
            return bool((k[..., 3, :3] == 0).all())
    except RuntimeError:  # there are no values
        pass
    expected = "(V, 3, 3) or (V, 4) in a program that is recorded, where no values tell what (4, 4) is"
    raise check.value_error("intrinsics", expected, tuple(k.shape))


def _without_padding(k: Tensor) -> Tensor:
    expected = torch.zeros_like(k)
    expected[:, 3, 3] = 1
    padding = k.clone()
    padding[:, :3, :3] = 0
    if not torch.equal(padding, expected):
        at = int((padding != expected).flatten(1).any(1).nonzero()[0])
        raise check.value_error(f"intrinsics[{at}]", "a last row and column of 0, 0, 0, 1", k[at].tolist())
    return k[:, :3, :3]


def _from_rows(rows: Tensor) -> Tensor:
    k = torch.zeros(len(rows), 3, 3, dtype=rows.dtype, device=rows.device)
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2] = rows.unbind(1)
    k[:, 2, 2] = 1
    return k


def _plain(k: Any, m: Any) -> tuple[Tensor, Tensor] | None:
    """Return tensors (V, 3, 3) or (3, 3), and (V, 4, 4) or (4, 4), without further checks; None for other forms."""
    if not (isinstance(k, Tensor) and isinstance(m, Tensor)):
        return None
    if not (k.layout is m.layout is _STRIDED and k.dtype in DTYPES and m.dtype in DTYPES):
        return None
    try:
        k_shape, m_shape = k.shape, m.shape
    except RuntimeError:  # of a nested tensor
        return None
    if k_shape[-2:] != (3, 3) or m_shape[-2:] != (4, 4) or k.device != m.device or m.is_meta:
        return None
    if len(m_shape) == 2:
        m, count = m[None], 1
    else:
        count = m_shape[0]
    if len(k_shape) == 2:
        k = k.expand(count, -1, -1)
    elif len(k_shape) != 3 or k_shape[0] != count:
        return None
    return (k, m) if len(m_shape) <= 3 else None


def matrices(
    given_intrinsics: Any, name: str, given_poses: Any, integer_centers: bool = False
) -> tuple[Tensor, Tensor]:
    """Convert intrinsics and poses to (V, 3, 3) and (V, 4, 4), on one device; one of them stands for many of the other.

    Args:
        given_intrinsics: see :func:`intrinsics`.
        name: name of the argument that holds the poses, for errors.
        given_poses: see :func:`poses`.
        integer_centers: see :func:`intrinsics`.

    Raises:
        TypeError, ValueError: they have other types, dtypes, shapes or devices.
    """
    if integer_centers is False and (plain := _plain(given_intrinsics, given_poses)) is not None:
        return plain
    integer_centers = check.flag("integer_centers", integer_centers)
    m = check.dense(name, poses(name, given_poses, given_intrinsics), values=True)
    k = intrinsics(given_intrinsics, m, integer_centers=integer_centers)
    count = len(k) if len(m) == 1 else len(m)
    m = m.expand(count, -1, -1) if len(m) == 1 else m
    k = k.expand(count, -1, -1) if len(k) == 1 else k
    check.tensor("intrinsics", k, ("V", 3, 3), {"V": count}, DTYPES, (name, m))
    return k, m
