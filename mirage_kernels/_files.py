# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Atomic writes, and safetensors files with a checksum over their content.

The metadata of a file has one entry, a JSON object with kind, version, settings and a SHA-256 over those and over the
name, dtype, shape and bytes of every tensor, because safetensors itself does not detect a flipped bit. Pickle is not
used.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import _memory, check
from ._atomic import atomic_write
from ._safetensors import SafetensorsReader, tensor_bytes, write_safetensors

_HEADER = "mirage"
_VOWELS = ("a", "e", "i", "o", "u")


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
        OSError: the file cannot be written. The message names the file.
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
    tensors = {name: t.detach().to("cpu").contiguous() for name, t in tensors.items()}
    content = {"kind": kind, "version": version, "settings": settings}
    header = {_HEADER: json.dumps(content | {"sha256": _digest(content, tensors)}, sort_keys=True)}
    with atomic_write(path) as partial:
        write_safetensors(partial, tensors, header)


def load_tensors(
    path: str | Path, *, kind: str, version: int, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that :func:`save_tensors` wrote.

    The file is opened once: if another process replaces it meanwhile, the old or the new content is read.

    Args:
        path: the file.
        kind: the expected kind.
        version: the expected version.
        device: device of the returned tensors.

    Returns:
        The tensors by name, and the settings.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read.
        torch.OutOfMemoryError: there is no memory for its tensors.
        TypeError, ValueError: ``device`` is not a device of this machine.
        ValueError: the file is damaged, or of another kind or version. The message names the file.
    """
    path, device = Path(path), check.device("device", device)
    expected = _file_of(kind)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with SafetensorsReader(path) as reader:
            content, digest = _content(reader.metadata, path, expected)
            if content["kind"] != kind:
                raise _FileError(f"{path}: expected {expected}, got {_file_of(str(content['kind'])[:60])}")
            if content["version"] != version:
                raise _FileError(f"{path}: expected version {version}, got version {str(content['version'])[:60]}")
            tensors = reader.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except _FileError as error:
        raise ValueError(str(error)) from None
    except OSError as error:  # it says nothing about the content
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    except (ValueError, RuntimeError, MemoryError) as error:
        _memory.raise_if_exhausted(error, "load", file=path)
        raise ValueError(f"{path}: expected {expected}, got a damaged file ({error})") from None
    if digest != _digest(content, tensors):
        raise ValueError(f"{path}: expected {expected}, got a damaged file (wrong checksum)")
    return {name: t.to(device) for name, t in tensors.items()}, content["settings"]


def _file_of(kind: str) -> str:
    return f"{'an' if kind.startswith(_VOWELS) else 'a'} {kind} file"


class _FileError(Exception):
    """Has the message of an error about a file, complete."""


def _content(metadata: dict[str, str], path: Path, expected: str) -> tuple[dict[str, Any], Any]:
    """Kind, version and settings in the metadata of a file, and its checksum."""
    if _HEADER not in metadata:
        raise _FileError(f"{path}: expected {expected}, got another kind of safetensors file")
    try:
        content = json.loads(metadata[_HEADER])
        digest = content.pop("sha256")
        content = {name: content[name] for name in ("kind", "version", "settings")}
        json.dumps(content)  # the checksum is over this text: it fails where the settings nest too deeply
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _FileError(f"{path}: expected {expected}, got a damaged header") from None
    return content, digest
