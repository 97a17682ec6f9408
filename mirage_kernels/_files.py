# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Atomic writes, and safetensors files with a checksum over their content.

The metadata of a file has one entry, a JSON object with kind, version, settings and a SHA-256 over those and over the
name, dtype, shape and bytes of every tensor, because safetensors itself does not detect a flipped bit. Pickle is not
used.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import check

_HEADER = "mirage"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file so that it is replaced atomically.

    Args:
        path: the file to write.

    Yields:
        A temporary path in the same folder. When the block ends, the file written there is synced to disk and replaces
        ``path``. If the block raises, the temporary file is removed; then, and if the process is killed, ``path`` is
        unchanged.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from mirage_kernels import atomic_write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "note.txt") as partial:
        ...         _ = partial.write_text("done")
        ...     (Path(folder) / "note.txt").read_text()
        'done'
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Return a view of the bytes of a contiguous CPU tensor, which must outlive the view."""
    size = tensor.numel() * tensor.element_size()
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr() if size else id(tensor))).cast("B")


def _digest(content: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def save_tensors(
    path: str | Path, tensors: dict[str, Tensor], *, kind: str, version: int, settings: dict[str, Any]
) -> None:
    """Write tensors and settings to a safetensors file with a checksum.

    The write is atomic: an existing file is replaced only once the new one is complete and on disk. Read the file with
    :func:`load_tensors`.

    Args:
        path: the file.
        tensors: tensors by name, on any device, of any dtype that safetensors supports.
        kind: type of the content, for example ``"voxel_cache"``; :func:`load_tensors` checks it.
        version: version of the format of this kind; :func:`load_tensors` checks it.
        settings: any object that ``json`` can write.

    Raises:
        OSError: the file cannot be written.
        TypeError: ``settings`` cannot be written as JSON.

    Example:
        >>> import tempfile, torch
        >>> from mirage_kernels import load_tensors, save_tensors
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/poses.safetensors"
        ...     save_tensors(path, {"cam2world": torch.eye(4)}, kind="poses", version=1, settings={"unit": "m"})
        ...     tensors, settings = load_tensors(path, kind="poses", version=1)
        >>> settings
        {'unit': 'm'}
    """
    # Clones, because safetensors refuses tensors that share memory.
    tensors = {name: t.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    content = {"kind": kind, "version": version, "settings": settings}
    # One entry only: safetensors writes several in arbitrary order, and equal content should give equal bytes.
    header = {_HEADER: json.dumps(content | {"sha256": _digest(content, tensors)}, sort_keys=True)}
    with atomic_write(path) as partial:
        try:
            save_file(tensors, partial, header)
        except SafetensorError as error:  # a full disk, for example
            raise OSError(f"{path}: cannot be written ({error})") from None
        partial.chmod(0o666 & ~_umask())  # safetensors creates files that only their owner can read


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_tensors(
    path: str | Path, *, kind: str, version: int, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that :func:`save_tensors` wrote.

    Args:
        path: the file.
        kind: the expected kind.
        version: the expected version.
        device: device of the returned tensors.

    Returns:
        The tensors by name, and the settings.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError, ValueError: ``device`` is not a device of this machine.
        ValueError: the file is damaged, or of another kind or version. The message names the file.
    """
    path, device = Path(path), check.device("device", device)
    expected = f"a {kind} file"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            # Clones: the tensors of safetensors are mapped from the file, which another process may truncate.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: expected {expected}, got a damaged file ({error})") from None
    if header is None:
        raise ValueError(f"{path}: expected {expected}, got another kind of safetensors file")
    try:
        content = json.loads(header)
        digest = content.pop("sha256")
        found = (content["kind"], content["version"])
        settings: dict[str, Any] = content["settings"]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path}: expected {expected}, got a damaged header") from None
    if found[0] != kind:
        raise ValueError(f"{path}: expected {expected}, got a {found[0]} file")
    if found[1] != version:
        raise ValueError(f"{path}: expected version {version}, got version {found[1]}")
    if digest != _digest(content, tensors):
        raise ValueError(f"{path}: expected {expected}, got a damaged file (wrong checksum)")
    return {name: t.to(device) for name, t in tensors.items()}, settings
