# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of any kind: tensors of every layout, dtype and shape, numbers, cameras, and values of a wrong type."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from fuzz_input import Input
from torch import Tensor

from mirage_kernels import testing

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
OTHER_DTYPES = (torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64, torch.int8,
                torch.float8_e4m3fn, torch.uint16)  # fmt: skip
COUNTS = (3, 0, 1, 2, 7, 40, 63, 64, 65, 130, 300)
VIEWS = (2, 1, 0, 3)
CHANNELS = (2, 0, 1, 3, 16, 17, 48)
SPECIAL = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e-45, 3.4e38, -3.4e38, 1e-6, 1e20, -1e-20, 2.0**20)

INTEGERS = (-1, 0, 1, 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63))


class Subclass(torch.Tensor):
    """A tensor of a type of one's own."""


class Unusable:
    """An object of no use."""

    def __repr__(self) -> str:
        return "an object of no use"


NUMBERS: tuple[Any, ...] = (
    0.5, 0, 1, 2, -1, 0.0, -0.0, 1.0, 1e-3, 1e-6, 1e-45, 1e-300, 3.0, 100.0, 1e6, 1e20, 3e38, 3.5e38, 1e300, 2**24,
    2**24 + 1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400, -(10**400),
    10**5000,
    math.nan, math.inf, -math.inf, np.float32(0.25), np.float64(0.25), np.float16(2), np.int64(3), np.int32(-1),
    np.uint8(255), np.float32("nan"), np.float64("inf"), np.bool_(True), Fraction(1, 3),
)  # fmt: skip
WRONG: tuple[Any, ...] = (
    None, True, False, "", "auto", "1", "x" * 300, "a\nb", b"1", (), [], {}, (1,), (1, 2, 3), [[1]], {"a": 1}, 1j,
    Decimal("0.5"), Unusable(), Unusable, print, range(3), slice(None), Ellipsis, torch.float32, torch.device("cpu"),
    np.zeros(3),
    np.zeros((2, 3), np.float32), np.array(None), np.float32, float, torch.tensor(1.0), torch.tensor(2), torch.zeros(0),
    torch.zeros(3), torch.zeros(2, 3), torch.zeros(1, 2, 3, 4), torch.zeros(3, dtype=torch.float64), torch.Size([2, 2]),
    torch.nn.Parameter(torch.zeros(2, 3)), torch.zeros(2, 3, device="meta"), (math.nan, 2), (2.0, 2), (np.int64(2), 3),
    (2**24, 2**24), (2**31, 1), (10**5000, 4), (0, 4), (-1, 4), ("4", 4), (True, 4), [4, 4], "\ud800", "nearest",
    "bilinear",
)  # fmt: skip


def number(data: Input, usual: Any) -> Any:
    """Return the usual number, any other, or what is no number."""
    kind = data.byte()
    if kind < 120:
        return usual
    return data.choice(NUMBERS) if kind < 245 else data.choice(WRONG)


def radius(data: Input, *rows: int) -> Any:
    """Return a radius of discs, or one for each point."""
    if data.byte() < 160:
        return number(data, 1.5)
    return varied(data, 2 * torch.randn(rows, generator=data.generator()))


def option(data: Input, options: tuple[Any, ...]) -> Any:
    """Return one of the options, or what is none."""
    return data.choice(WRONG) if data.rarely() else data.choice(options)


def size(data: Input) -> Any:
    """Return the size of a grid, mostly a small one, since large ones take time and memory."""
    if data.rarely():
        return data.choice(WRONG)
    return (data.choice((2, 1, 3, 4, 5, 7, 8, 9, 17)), data.choice((3, 1, 2, 4, 5, 8, 9, 16, 33)))


def cameras(data: Input, views: int, grid: Any, like: str = "") -> Any:
    """Return cameras over a grid, or something else."""
    if data.rarely():
        return data.choice(WRONG)
    if data.rarely():
        views = data.integer(0, 3)
    if not (isinstance(grid, tuple) and all(type(side) is int and 0 < side < 99 for side in grid) and len(grid) == 2):
        grid = (2, 3)
    made = (
        testing.plain_cameras(views, grid)
        if like == "border"
        else testing.random_cameras(data.generator(), views, grid)
    )
    if data.rarely():
        return made.to("meta")
    return made[::-1] if data.rarely() else made


def layout_of(data: Input, tensor: Tensor) -> Tensor:
    """Return a tensor of the same values, or of few of them, in another layout."""
    kind = data.integer(0, 9)
    if tensor.dim() == 0 or kind == 0:
        return tensor
    if kind == 1:
        return tensor.movedim(0, -1).contiguous().movedim(-1, 0)
    if kind == 2:
        return torch.stack([tensor, tensor], -1)[..., 0]
    if kind == 3:
        return tensor[:1].expand(tensor.shape) if len(tensor) else tensor
    if kind == 4:  # not aligned
        return torch.cat([tensor.new_zeros(1), tensor.reshape(-1)])[1:].view(tensor.shape)
    if kind == 5:
        return tensor.flip(0).contiguous().flip(0) if data.byte() else tensor.flip(0)
    if kind == 6:
        return tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor
    if kind == 7:
        return tensor.clone().as_subclass(Subclass)
    if kind == 8:
        with torch.inference_mode():
            return tensor.clone()
    return tensor.as_strided(tensor.shape, [0] * tensor.dim()) if tensor.numel() else tensor


def reshaped(data: Input, tensor: Tensor) -> Tensor:
    """Return a tensor of another shape."""
    kind = data.integer(0, 7)
    if kind == 0 or tensor.dim() == 0:
        return tensor[None]
    at = data.integer(0, tensor.dim() - 1)
    if kind == 1:
        return tensor.narrow(at, 0, max(tensor.shape[at] - 1, 0))
    if kind == 2:
        return tensor.narrow(at, 0, 0)
    if kind == 3:
        return tensor.flatten()
    if kind == 4:
        return torch.cat([tensor, tensor], at)
    if kind == 5:
        return tensor.transpose(0, -1)
    if kind == 6:
        return tensor.sum(at) if tensor.dtype in DTYPES else tensor[..., None]
    return tensor.flatten()[:1].squeeze()


def other_kind(data: Input, tensor: Tensor) -> Any:
    """Return a tensor that no operation takes: of another dtype, on another device, sparse or nested."""
    kind, tensor = data.integer(0, 8), tensor.as_subclass(Tensor)  # not every layout has types of one's own
    if kind == 0:
        return tensor.to(data.choice(OTHER_DTYPES)) if not tensor.is_complex() else tensor
    if kind == 1:
        return tensor.to(data.choice(DTYPES))
    if kind == 2:
        return tensor.to("meta")
    if kind == 3:
        return tensor.to_sparse()
    if kind == 4 and tensor.dim() == 2:
        return tensor.to_sparse_csr()
    if kind == 5 and tensor.dim():
        return torch.nested.nested_tensor(list(tensor)) if len(tensor) else tensor
    if kind == 6 and tensor.dtype == torch.float32:
        return torch.quantize_per_tensor(tensor.nan_to_num(), 0.1, 0, torch.qint8)
    if kind == 7 and tensor.dtype == torch.float32:
        return torch.complex(tensor, tensor).imag if data.byte() else torch.complex(tensor, tensor).conj().imag
    return tensor.numpy(force=True) if tensor.dtype != torch.bfloat16 else tensor.tolist()


def varied(data: Input, tensor: Tensor) -> Any:
    """Return a tensor as it is, or changed in one of many ways, or something else."""
    kind = data.byte()
    if kind < 100:
        return tensor
    if kind < 180:
        return layout_of(data, tensor)
    if kind < 200:
        return special(data, tensor)
    if kind < 225:
        return reshaped(data, tensor)
    if kind < 250:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch: sparse and nested tensors are beta
            return other_kind(data, tensor)
    return data.choice(WRONG)


def special(data: Input, tensor: Tensor) -> Tensor:
    """Return a tensor with some values replaced by special ones."""
    tensor = tensor.clone()
    for _ in range(data.integer(1, 4) if tensor.numel() else 0):
        at, value = data.integer(0, tensor.numel() - 1), data.choice(SPECIAL)
        if tensor.is_floating_point():
            tensor.view(-1)[at] = value
        elif tensor.dtype == torch.bool:
            tensor.view(-1)[at] = not tensor.view(-1)[at]
        else:
            info, integer = torch.iinfo(tensor.dtype), data.choice(INTEGERS)
            tensor.view(-1)[at] = max(info.min, min(integer, info.max))
    return tensor


def points(data: Input, n: int, kind: str) -> Tensor:
    return testing.random_points(data.generator(), kind, n)


def features(data: Input, *shape: int) -> Tensor:
    dtype = data.choice(DTYPES)
    return torch.randn(shape, generator=data.generator()).to(dtype)


def mask(data: Input, *shape: int) -> Tensor | None:
    return torch.rand(shape, generator=data.generator()) < 0.7 if data.byte() & 1 else None


def depth(data: Input, *shape: int) -> Tensor:
    """Return depth maps: smooth, of few values, or of any bits."""
    g, kind = data.generator(), data.integer(0, 2)
    if kind == 0:
        return 1 + torch.rand(shape, generator=g) * (torch.rand(shape, generator=g) < 0.9)
    if kind == 1:
        return torch.randint(0, 5, shape, generator=g).float() / 4
    return testing.random_points(g, "wild", math.prod(shape))[:, 0].reshape(shape)


def maybe(data: Input, value: Any, vary: Callable[[Input, Any], Any] = varied) -> Any:
    """Return a variation of an optional argument; None stays None, or becomes something else."""
    if value is None:
        return data.choice(WRONG) if data.rarely() else None
    return vary(data, value)
