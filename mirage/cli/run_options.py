# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The options of a run, stored so that it can be resumed."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..models.nano.files import NANO, named_folder
from .model_options import EMBEDDED

_SAMPLE = 1 << 20  # bytes from the beginning and the end of a file that tell whether it changed
VIEW_OPTIONS = ("view", "port")
_UNUSED = ("run", "command", "since", "resume", "out", "overwrite", "list", "shard", "videos", *VIEW_OPTIONS)
_FILES = ("image", "memory", "depth", "mask", "intrinsics", "geometry", "cameras", "poses")
_NOT_OF_WALK = ("part", "device")


def pack_options(args: argparse.Namespace) -> dict[str, Any]:
    """Convert options to JSON values. Paths become absolute, so that a run can be resumed from another folder.

    Args:
        args: the parsed options of ``mirage generate``.
    """
    options = {name: value for name, value in vars(args).items() if name not in _UNUSED and not callable(value)}
    if options["model"] not in (EMBEDDED, NANO):
        options["model"] = str(Path(options["model"]).absolute())
    if str(options["depth_model"]) == NANO:
        options["depth_model"] = NANO
    return {name: _pack(value) for name, value in options.items()} | {"digests": _digests(args)}


def describe_walk(args: argparse.Namespace, without: Sequence[str] = ()) -> dict[str, Any]:
    """What a walk depends on: its options, and digests of the files that it starts from and of the weights.

    Args:
        args: the parsed options of ``mirage generate`` or ``mirage eval``.
        without: names of options that do not matter.
    """
    unused = (*_NOT_OF_WALK, *without)
    options = {name: value for name, value in sorted(pack_options(args).items()) if name not in unused}
    files = {name: Path(str(getattr(args, name))) for name in _FILES if getattr(args, name, None) is not None}
    return options | {"files": {name: digest_path(path, whole=True) for name, path in files.items() if path.exists()}}


def digest_walk(args: argparse.Namespace) -> str:
    """A short digest of :func:`describe_walk`."""
    return hashlib.sha256(json.dumps(describe_walk(args), sort_keys=True).encode()).hexdigest()[:16]


def _pack(value: Any) -> Any:
    if isinstance(value, Path):
        return {"path": str(value.absolute())}
    return [_pack(item) for item in value] if isinstance(value, list) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return Path(value["path"])
    return [_unpack(item) for item in value] if isinstance(value, list) else value


def unpack_options(args: argparse.Namespace, options: dict[str, Any]) -> argparse.Namespace:
    """The options of a stored run.

    Args:
        args: the options that resume it.
        options: as :func:`pack_options` returned them.

    Raises:
        DataError: a file that the run needs is missing, or has changed.
    """
    stored = {name: _unpack(value) for name, value in options.items() if name != "digests"}
    result = argparse.Namespace(**{**vars(args), **stored, "out": args.resume})
    found = _digests(result)
    for path, digest in options["digests"].items():
        if found.get(path) != digest:
            raise DataError(f"--resume: expected {path} as it was when the run began, got another one")
    return result


def check_alone(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Check that ``--resume`` is the only option, besides those of the viewer.

    Raises:
        DataError: there is another one.
    """
    for name, value in vars(args).items():
        if name not in ("run", "command", "since", "resume", *VIEW_OPTIONS) and value != parser.get_default(name):
            option = name.replace("_", "-")
            raise DataError(f"--resume: expected no other option, because a run goes on with its own, got --{option}")


def _digests(args: argparse.Namespace) -> dict[str, str]:
    """A digest of each file and folder that is read again when the run is resumed."""
    named = [args.depth_model, None if args.model == EMBEDDED else args.model]
    files = [args.adapter, *(args.lora or []), None if args.filters in (None, "default") else args.filters]
    digests = {str(Path(path).absolute()): digest_path(Path(path)) for path in files if path is not None}
    for name in filter(None, named):
        key = NANO if str(name) == NANO else str(Path(name).absolute())
        digests[key] = digest_path(named_folder(name))
    return digests


def digest_path(path: Path, *, whole: bool = False) -> str:
    """SHA-256 over the names and sizes of all files, and over the beginning and the end of each.

    Args:
        path: a file or folder.
        whole: read all of the files, which takes long for weights.
    """
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path)} {size}".encode())
        with file.open("rb") as content:
            if whole:
                while part := content.read(_SAMPLE):
                    digest.update(part)
                continue
            digest.update(content.read(_SAMPLE))
            content.seek(max(size - _SAMPLE, 0))
            digest.update(content.read(_SAMPLE))
    return digest.hexdigest()
