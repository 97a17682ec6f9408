# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there: one safetensors file, checked from the first byte to the last.

The header's only entry holds JSON: kind, version, settings, and a SHA-256 over those and over every tensor's name,
dtype, shape and bytes, because safetensors itself does not notice a flipped bit. No pickle anywhere.
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

_HEADER = "mirage"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; what is there at the end is synced and takes the place of ``path`` at once.

    When the block raises, or the process dies, ``path`` stays as it was.
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
    """The bytes of a contiguous CPU tensor, not copied; the tensor must outlive them."""
    size = tensor.numel() * tensor.element_size()
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr() if size else id(tensor))).cast("B")


def _digest(about: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def save_tensors(
    path: str | Path, tensors: dict[str, Tensor], *, kind: str, version: int, settings: dict[str, Any]
) -> None:
    """Write tensors and settings to one safetensors file, which takes the place of an older one only when it is whole
    and on disk.

    Args:
        tensors: by name, any device.
        kind: what the file holds, such as ``"voxel_cache"``.
        version: of that kind.
        settings: anything JSON can hold.
    """
    # clones, because safetensors refuses tensors that share their memory
    tensors = {name: t.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    about = {"kind": kind, "version": version, "settings": settings}
    # one entry: safetensors writes several in any order, and the same content should be the same bytes
    header = {_HEADER: json.dumps(about | {"sha256": _digest(about, tensors)}, sort_keys=True)}
    with replacing(path) as partial:
        save_file(tensors, partial, header)
        partial.chmod(0o666 & ~_umask())  # safetensors keeps its files to their owner


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_tensors(
    path: str | Path, *, kind: str, version: int, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote: the tensors, on ``device``, and the settings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another kind or version; one line that names the file.
    """
    path = Path(path)
    what = f"a {kind} file"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            # Copies: what safetensors hands out is the file itself, mapped, and may be cut off under our feet.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: expected {what}, got a damaged file ({error})") from None
    if header is None:
        raise ValueError(f"{path}: expected {what}, got another kind of safetensors file")
    try:
        about = json.loads(header)
        digest = about.pop("sha256")
        found = (about["kind"], about["version"])
        settings: dict[str, Any] = about["settings"]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path}: expected {what}, got a damaged header") from None
    if found[0] != kind:
        raise ValueError(f"{path}: expected {what}, got a {found[0]} file")
    if found[1] != version:
        raise ValueError(f"{path}: expected version {version}, got version {found[1]}")
    if digest != _digest(about, tensors):
        raise ValueError(f"{path}: expected {what}, got a damaged file (its checksum does not fit)")
    return {name: t.to(device) for name, t in tensors.items()}, settings
