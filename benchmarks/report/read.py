# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a report, checked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.report import schema
from mirage.errors import DataError


@dataclass(frozen=True)
class Source:
    """A file.

    Attributes:
        path: where it lies.
        kind: ``operations`` (pytest-benchmark), a name of :data:`schema.FILES`, or ``wan_tiny``, which is ``wan_full``
            of the tiny configuration.
        content: what it holds.
    """

    path: Path
    kind: str
    content: dict[str, Any]

    @property
    def machine(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.content["machine_info" if self.kind == "operations" else "machine"]
        return facts


@dataclass(frozen=True)
class Results:
    """All files of a report, by kind and name."""

    sources: tuple[Source, ...]

    def one(self, kind: str) -> Source | None:
        """The file of a kind, or None; there is at most one, but for ``operations``."""
        return next((source for source in self.sources if source.kind == kind), None)

    @property
    def operations(self) -> list[Source]:
        return [source for source in self.sources if source.kind == "operations"]


def read(paths: Iterable[Path]) -> Results:
    """Read files, and all ``*.json`` of folders.

    Raises:
        DataError: a path is not there, a file is broken or of no known kind, or two files say the same thing.
    """
    sources = [read_file(path) for path in _files(paths)]
    seen: dict[tuple[str, str], Path] = {}
    for source in sources:
        key = (source.kind, source.path.stem if source.kind == "operations" else "")
        if key in seen:
            raise DataError(f"{source.path}: expected one file of kind {source.kind}, got {seen[key]} too")
        seen[key] = source.path
    return Results(tuple(sorted(sources, key=lambda source: (source.kind, source.path.stem))))


def _files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, Path] = {}  # a file that is named twice is read once
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: expected a file or a folder, got none")
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def read_file(path: Path) -> Source:
    """Read one file.

    Raises:
        DataError: it is broken or of no known kind.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        return Source(path, _kind_of(content), content)
    except (OSError, ValueError) as error:  # json and unicode errors are ValueErrors
        raise DataError(f"{path}: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"number: expected a finite one, got {name}")


def _kind_of(content: Any) -> str:
    """The kind of a file that holds all that its kind must."""
    if not isinstance(content, dict):
        raise ValueError(f"file: expected an object, got {type(content).__name__}")
    if "benchmarks" in content:
        schema.check(content, schema.OPERATIONS, "")
        return "operations"
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in schema.FILES:
        raise ValueError(f"kind: expected one of {', '.join(schema.FILES)}, or benchmarks, got {kind!r}")
    schema.check(content, schema.FILES[kind], "")
    return "wan_tiny" if kind == "wan_full" and content["settings"]["size"] == "tiny" else kind
