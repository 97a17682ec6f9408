# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Serialization of a voxel cache: state dictionaries, files, and export as a PLY point cloud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ... import _memory, check
from ..._atomic import atomic_write
from ..._files import load_tensors, save_tensors
from ..._locks import writes
from ..._safetensors import tensor_bytes
from . import voxel_cache_operators as operators
from .voxel_cache_checks import check_values
from .voxel_cache_rows import CacheRows
from .voxel_cache_state import State

KIND, VERSION = "voxel_cache", 1
_REQUIRED = ("voxel_size", "channels", "dtype")
_SETTINGS = ("fusion", "storage", "eviction", "extent_scale", "auto_scale", "max_rows", "max_bytes")
_DTYPES = {check.dtype_name(dtype): dtype for dtype in check.FEATURE_DTYPES}
_Cache = TypeVar("_Cache", bound="CacheFiles")


class CacheFiles(CacheRows):
    """The methods of a voxel cache that save and load it."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The tensors depend on the settings, and a file with others than the constructor takes could not be loaded.
        if name in (*_REQUIRED[2:], *_SETTINGS) and name in self.__dict__:
            raise AttributeError(f"{name} of a VoxelCache cannot change: pass it to the constructor")
        super().__setattr__(name, value)

    @property
    @writes
    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor as JSON values; together with :meth:`state_dict` the complete cache."""
        size: float | str = "auto" if self.voxel_size is None else self.voxel_size
        common = {"voxel_size": size, "channels": self._store.layout.channels, "dtype": check.dtype_name(self.dtype)}
        return common | {name: getattr(self, name) for name in _SETTINGS}

    @writes
    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors of the rows, without unused capacity and without what can be rebuilt from them.

        Returns:
            ``keys``, ``xyz``, ``footprint``, ``features``, ``stamp`` and, where the cache has them, ``scale``,
            ``count`` and ``touched``. They are views of :attr:`state`, which later inserts modify: where another thread
            may insert, hold :attr:`lock` while you use them, or take those of :meth:`VoxelCache.clone`.
        """
        s = self.state
        return {name: tensor[: s.rows] for name, tensor in s.row_tensors()}

    @classmethod
    def from_state_dict(
        cls: type[_Cache], settings: dict[str, Any], tensors: dict[str, Tensor], device: torch.device | str = "cpu"
    ) -> _Cache:
        """Construct a cache from its :attr:`settings` and its :meth:`state_dict`.

        Args:
            settings: settings of the saved cache.
            tensors: tensors of the saved cache, on any device.
            device: device of the new cache.

        Raises:
            TypeError, ValueError: the settings or tensors are not those of a cache.
        """
        if not isinstance(settings, dict):
            raise check.type_error("settings", "a dict", settings)
        if not isinstance(tensors, dict):
            raise check.type_error("tensors", "a dict of tensors", tensors)
        if unexpected := sorted(str(name) for name in settings if name not in (*_REQUIRED, *_SETTINGS)):
            raise check.value_error("settings", "those of a cache", f"also {', '.join(unexpected)[:200]}")
        check.choice("dtype", settings.get("dtype"), tuple(_DTYPES))
        if missing := [name for name in _REQUIRED if name not in settings]:
            raise check.value_error("settings", f"an entry {missing[0]!r}", "none")
        make: Callable[..., _Cache] = cls
        cache = make(**settings | {"dtype": _DTYPES[settings["dtype"]]}, device=device)
        target, moved = cache.device, {}
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor):
                tensor = check.dense(str(name), tensor, values=target.type != "meta").to(target)
            moved[name] = tensor
        cache.load_state_dict(moved)
        return cache

    @writes
    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Replace all rows by those of the :meth:`state_dict` of a cache with the same :attr:`settings`.

        That includes the voxel size: a cache whose voxel size is "auto" and not set yet takes no rows. To restore
        such a cache, use :meth:`from_state_dict` with the settings.

        Args:
            tensors: the tensors, on the device of this cache. Without ``touched``, rows count as touched at their
                stamp.

        Raises:
            TypeError, ValueError: the tensors do not fit this cache or one another; the cache is unchanged.
        """
        if not isinstance(tensors, dict):
            raise check.type_error("tensors", "a dict of tensors", tensors)
        self._store.recover()
        layout, dims = self._store.layout, check.Dims()
        empty = State.allocate(layout._replace(touched="touched" in tensors or layout.touched), 0)
        expected = {name: tensor for name, tensor in empty.row_tensors() if name != "touched" or name in tensors}
        if unexpected := sorted(str(name) for name in tensors if name not in expected):
            raise check.value_error("tensors", ", ".join(expected), f"also {', '.join(unexpected)[:200]}")
        for name, like in expected.items():
            if name not in tensors:
                raise check.value_error(
                    "tensors", f"an entry {name!r}", f"only {', '.join(tensors) or 'an empty dict'}"
                )
            check.tensor(name, tensors[name], ("rows", *like.shape[1:]), dims, (like.dtype,), ("the cache", like))
        rows = dims["rows"]
        _check_keys(tensors["keys"])
        if rows > self._store.row_limit:
            raise check.value_error("keys", f"at most {self._store.row_limit} rows, the budget of the cache", rows)
        check_values(tensors, self.dtype, self.voxel_size)
        store = self._store.with_state(State.allocate(layout, rows))
        if "touched" in tensors:
            store.track_touches()
        new = store.state
        for name, tensor in new.row_tensors():
            tensor.copy_(tensors.get(name, tensors["stamp"]).detach())
        new.rows = rows
        operators.index(new)
        self._store.replace(store)

    @writes
    def save(self, path: str | Path) -> None:
        """Write the cache to a safetensors file. An existing file is replaced once the new one is complete and on disk.

        Args:
            path: the file.

        Raises:
            OSError: the file cannot be written.

        Example:
            >>> import tempfile, torch
            >>> from mirage_kernels import VoxelCache
            >>> cache = VoxelCache(0.1, channels=1)
            >>> counts = cache.insert(torch.rand(10, 3), torch.rand(10, 1))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     cache.save(f"{folder}/cache.safetensors")
            ...     loaded = VoxelCache.load(f"{folder}/cache.safetensors")
            >>> torch.equal(loaded.xyz, cache.xyz)
            True
        """
        save_tensors(path, self.state_dict(), kind=KIND, version=VERSION, settings=self.settings)

    @classmethod
    def load(cls: type[_Cache], path: str | Path, device: torch.device | str = "cpu") -> _Cache:
        """Read a file that :meth:`save` wrote.

        Args:
            path: the file.
            device: device of the cache.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError, ValueError: ``device`` is not a device of this machine.
            ValueError: the file is damaged, of another kind or version, or its content is inconsistent.
        """
        device = check.device("device", device)
        tensors, settings = load_tensors(path, kind=KIND, version=VERSION)
        try:
            return cls.from_state_dict(settings, tensors, device)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            _memory.raise_if_exhausted(error, "load", file=path)
            reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:400]
            raise ValueError(f"{path}: expected consistent settings and tensors of a cache, got {reason}") from None

    @writes
    def export_ply(self, path: str | Path, colors: Tensor | None = None) -> None:
        """Write the rows as vertices of a binary PLY file: x, y, z, footprint, stamp (as double), and colors.

        Args:
            path: the file.
            colors: (rows, 3) uint8, red, green and blue.

        Raises:
            TypeError, ValueError: ``colors`` has another dtype or shape.
            OSError: the file cannot be written.
        """
        rows, s = self.state.rows, self.state_dict()
        if colors is not None:
            check.tensor("colors", colors, ("rows", 3), {"rows": rows}, (torch.uint8,))
        columns = [
            (("float x", "float y", "float z"), s["xyz"]),
            (("float footprint",), s["footprint"][:, None]),
            (("double stamp",), s["stamp"].double()[:, None]),  # PLY has no 64-bit integers
        ]
        if colors is not None:
            columns.append((("uchar red", "uchar green", "uchar blue"), colors))
        properties = "".join(f"property {name}\n" for names, _ in columns for name in names)
        header = f"ply\nformat binary_little_endian 1.0\nelement vertex {rows}\n{properties}end_header\n"
        body = torch.cat([column.cpu().contiguous().view(torch.uint8) for _, column in columns], 1)
        with atomic_write(path) as partial, partial.open("wb") as file:
            file.write(header.encode())
            file.write(tensor_bytes(body))


def _check_keys(keys: Tensor) -> None:
    """Raise ValueError unless keys (rows,) int64 are packed voxels without duplicates."""
    ordered, rows = keys.sort(stable=True)
    if len(keys) and int(ordered[0]) < 0:
        first = int((keys < 0).nonzero()[0])
        raise check.value_error("keys", "packed voxels, which are not negative", f"{int(keys[first])} at row {first}")
    repeated = ordered.diff() == 0
    if bool(repeated.any()):
        duplicates = rows[1:][repeated]
        got = f"{len(duplicates)} duplicates (first: row {int(duplicates.min())})"
        raise check.value_error("keys", "unique packed voxels", got)
