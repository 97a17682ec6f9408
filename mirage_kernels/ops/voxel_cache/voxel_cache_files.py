# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A voxel cache as tensors, as a file, and as a picture for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ... import check
from ...files import load_tensors, replacing, save_tensors, tensor_bytes
from .voxel_cache_index_reference import AXIS
from .voxel_cache_state import State
from .voxel_cache_store import Store

KIND, VERSION = "voxel_cache", 1
_SETTINGS = ("fusion", "storage", "eviction", "extent_scale", "auto_scale", "max_rows", "max_bytes")
_DTYPES = {check.dtype_name(dtype): dtype for dtype in check.FEATURE_DTYPES}
_Cache = TypeVar("_Cache", bound="CacheFiles")


class CacheFiles:
    """A voxel cache's ways out of the program and back."""

    voxel_size: float | None
    dtype: torch.dtype
    _store: Store

    @property
    def settings(self) -> dict[str, Any]:
        """What the cache was made with, as JSON can hold it; with :meth:`state_dict` all there is to it."""
        size: float | str = "auto" if self.voxel_size is None else self.voxel_size
        common = {"voxel_size": size, "channels": self._store.layout.channels, "dtype": check.dtype_name(self.dtype)}
        return common | {name: getattr(self, name) for name in _SETTINGS}

    def state_dict(self) -> dict[str, Tensor]:
        """What is kept of every row, without room to grow, and nothing that can be made from it: ``keys``, ``xyz``,
        ``footprint``, ``features``, ``stamp``, and where there are any ``scale``, ``count``, ``touched``. Views."""
        s = self._store.state
        return {name: tensor[: s.rows] for name, tensor in s.row_tensors()}

    @classmethod
    def from_state_dict(
        cls: type[_Cache], settings: dict[str, Any], tensors: dict[str, Tensor], device: torch.device | str = "cpu"
    ) -> _Cache:
        """The cache that had these :attr:`settings` and this :meth:`state_dict`."""
        if not isinstance(settings, dict):
            raise check.type_error("settings", "a dict", settings)
        if not isinstance(tensors, dict):
            raise check.type_error("tensors", "a dict of tensors", tensors)
        check.choice("dtype", settings.get("dtype"), tuple(_DTYPES))
        make: Callable[..., _Cache] = cls
        cache = make(**settings | {"dtype": _DTYPES[settings["dtype"]]}, device=device)
        there = {name: tensor.to(device) if isinstance(tensor, Tensor) else tensor for name, tensor in tensors.items()}
        cache.load_state_dict(there)
        return cache

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Replace every row by those of :meth:`state_dict` of a cache with the same settings,
        on this cache's device.

        Raises:
            TypeError, ValueError: they do not fit this cache or one another; nothing is changed.
        """
        if not isinstance(tensors, dict):
            raise check.type_error("tensors", "a dict of tensors", tensors)
        layout, dims = self._store.layout, check.Dims()
        empty = State.allocate(layout._replace(touched="touched" in tensors or layout.touched), 0)
        expected = {name: tensor for name, tensor in empty.row_tensors() if name != "touched" or name in tensors}
        if unknown := sorted(set(tensors) - set(expected)):
            raise check.value_error("state", f"{', '.join(expected)}", f"{', '.join(unknown)} too")
        for name, like in expected.items():
            if name not in tensors:
                raise check.value_error(name, "a tensor", "none")
            check.tensor(name, tensors[name], ("rows", *like.shape[1:]), dims, (like.dtype,), ("the cache", like))
        rows = dims["rows"]
        in_order = tensors["keys"].sort().values
        if rows and (int(in_order[0]) < 0 or int(in_order[-1]) >> 3 * AXIS or not bool(in_order.diff().all())):
            raise check.value_error("keys", "packed voxels, each once", "others")
        if rows > self._store.most:
            raise check.value_error("keys", f"at most {self._store.most} rows, the budget of the cache", rows)
        store = self._store.with_state(State.allocate(layout, rows))
        if "touched" in tensors:
            store.keep_track_of_touches()
        new = store.state
        for name, tensor in new.row_tensors():
            tensor.copy_(tensors.get(name, tensors["stamp"]))  # what was never touched counts from its stamp
        new.rows = rows
        store.index(new)
        self._store = store

    def save(self, path: str | Path) -> None:
        """Write one safetensors file. A file of that name is replaced only once the new one is whole and on disk."""
        save_tensors(path, self.state_dict(), kind=KIND, version=VERSION, settings=self.settings)

    @classmethod
    def load(cls: type[_Cache], path: str | Path, device: torch.device | str = "cpu") -> _Cache:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, of another kind or version, or does not fit together.
        """
        tensors, settings = load_tensors(path, kind=KIND, version=VERSION)
        try:
            return cls.from_state_dict(settings, tensors, device)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected a cache that fits together, got {error}") from None

    def export_ply(self, path: str | Path, colors: Tensor | None = None) -> None:
        """Write the rows as a binary PLY file of vertices: x, y, z, footprint, stamp (as double), and colours.

        Args:
            colors: (rows, 3) uint8.
        """
        rows, s = self._store.state.rows, self.state_dict()
        if colors is not None:
            check.tensor("colors", colors, ("rows", 3), {"rows": rows}, (torch.uint8,))
        columns = [
            (("float x", "float y", "float z"), s["xyz"]),
            (("float footprint",), s["footprint"][:, None]),
            (("double stamp",), s["stamp"].double()[:, None]),  # PLY knows no 64-bit integers
        ]
        if colors is not None:
            columns.append((("uchar red", "uchar green", "uchar blue"), colors))
        properties = "".join(f"property {name}\n" for names, _ in columns for name in names)
        header = f"ply\nformat binary_little_endian 1.0\nelement vertex {rows}\n{properties}end_header\n"
        body = torch.cat([column.cpu().contiguous().view(torch.uint8) for _, column in columns], 1)
        with replacing(path) as partial, partial.open("wb") as file:
            file.write(header.encode())
            file.write(tensor_bytes(body))
