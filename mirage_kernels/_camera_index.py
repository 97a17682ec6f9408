# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The index of ``Cameras``: what selects cameras, and what is refused."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from . import check
from ._camera_operators import is_recorded

_EXPECTED = "an integer, a slice, a list, or a tensor (K,) of integers or bool"
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def normalize(index: Any, count: int, device: torch.device) -> slice | Tensor:
    """Convert an index of cameras to one that torch applies to the first dimension of a tensor, and keeps it.

    Args:
        index: an integer of any kind (Python's, NumPy's, a tensor without dimensions), a slice, a list or range of
            integers, a list of bool with one for each camera, or a tensor or NumPy array (K,) of integers or bool.
        count: number of cameras.
        device: device of the cameras.

    Returns:
        A slice with a positive step, or a tensor (K,) int64 or bool.

    Raises:
        TypeError: the index is of another kind.
        IndexError: a camera of that number does not exist, or the number of bools is not that of the cameras.
    """
    if isinstance(index, slice):
        return _of_slice(index, count, device)
    if isinstance(index, Tensor):
        return _of_tensor(index, count, device)
    if isinstance(index, (list, range)):
        return _of_list(list(index), count, device)
    if isinstance(index, bool):
        raise check.type_error("cameras", _EXPECTED, index)
    try:
        number = operator.index(index)
    except TypeError:
        if hasattr(index, "__array_interface__") and index.ndim == 1:  # of NumPy, which this package does not import
            return _of_list(index.tolist(), count, device)
        raise check.type_error("cameras", f"an index that is {_EXPECTED}", index) from None
    _check_number(number, count)
    return slice(number, number + 1 or None)


def _check_number(number: int, count: int) -> None:
    if not -count <= number < count:
        raise IndexError(f"cameras: expected an index of {count} cameras, got {check.one_line(number)}")


def _of_slice(index: slice, count: int, device: torch.device) -> slice | Tensor:
    for part in (index.start, index.stop, index.step):
        if isinstance(part, bool) or not (part is None or hasattr(part, "__index__")):
            raise check.type_error("cameras", "a slice of integers", part)
    if index.step is None or index.step > 0:
        return index
    if index.step == 0:
        raise check.value_error("cameras", "a slice with a step other than 0", index)
    return torch.tensor(range(*index.indices(count)), dtype=torch.int64, device=device)


def _of_list(index: list[Any], count: int, device: torch.device) -> Tensor:
    if index and all(isinstance(item, bool) for item in index):
        return _of_tensor(torch.tensor(index, dtype=torch.bool, device=device), count, device)
    numbers = []
    for item in index:
        if isinstance(item, bool) or not hasattr(item, "__index__"):
            raise check.type_error("cameras", "a list of integers, or of bool", item)
        numbers.append(operator.index(item))
        _check_number(numbers[-1], count)
    return torch.tensor(numbers, dtype=torch.int64, device=device)


def _of_tensor(index: Tensor, count: int, device: torch.device) -> Tensor:
    check.dense("cameras", index, values=device.type != "meta")
    is_mask = index.dtype == torch.bool
    if index.dim() > 1 or (is_mask and index.dim() == 0) or not (is_mask or index.dtype in _INTEGERS):
        got = f"{check.dtype_name(index.dtype)} {tuple(index.shape)}"
        raise TypeError(f"cameras: expected an index that is {_EXPECTED}, got a tensor {got}")
    if is_mask:
        if index.shape[0] != count:
            raise IndexError(f"cameras: expected one bool for each of {count} cameras, got {index.shape[0]}")
        return index.to(device)
    index = index.reshape(-1).to(device, torch.int64)
    if index.is_cpu and not is_recorded():  # elsewhere the values cannot be read, or not without waiting for them
        for number in index.tolist():
            _check_number(number, count)
    return index
