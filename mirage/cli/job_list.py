# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lists of walks for ``--list``: a JSON object for each line, with options of ``mirage generate`` by their names."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ..errors import DataError
from ..io.files import read_text

MAX_LINES, MAX_BYTES = 1_000_000, 200
_NAME = re.compile(r"\w[\w.-]{0,99}")
_NAMED_AFTER = ("image", "geometry", "memory", "scene")


class Job(NamedTuple):
    """A walk of a list.

    Attributes:
        name: of the walk and of the folder of its results.
        args: the parsed options: those of the line, and of the command line where the line has none.
    """

    name: str
    args: argparse.Namespace


class _LineParser(argparse.ArgumentParser):
    """A parser whose errors are exceptions instead of the end of the process."""

    def error(self, message: str) -> NoReturn:
        raise DataError(message)


def read_jobs(
    path: Path, args: argparse.Namespace, *add_options: Callable[[argparse.ArgumentParser], object]
) -> list[Job]:
    """Read a list of walks.

    Args:
        path: the list, a JSON object on each line. Its entries are options without their dashes, and ``name``; without
            that, a walk is named after its image and its line. Paths are relative to the folder of the list.
        args: the options of the command line.
        add_options: add the options that lines may have to a parser.

    Raises:
        DataError: the list is missing or empty, or a line is damaged or has an option that there is not; the error
            names the line.
    """
    parser = _LineParser(add_help=False, allow_abbrev=False)
    for add in add_options:
        add(parser)
    options = {action.dest: action for action in parser._actions}
    jobs: list[Job] = []
    lines = read_text(path, "a list of walks").split("\n")
    if len(lines) > MAX_LINES:
        raise DataError(f"{path}: expected at most {MAX_LINES} lines, got {len(lines)}")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                jobs.append(_parse_line(line, number, path.parent, args, parser, options))
            except DataError as error:
                raise DataError(f"{path}:{number}: {error}") from None
    if not jobs:
        raise DataError(f"{path}: expected a walk on each line, got none")
    names = [job.name for job in jobs]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"{path}: expected walks of different names, got {twice} twice")
    return jobs


def _parse_line(
    line: str,
    number: int,
    folder: Path,
    args: argparse.Namespace,
    parser: argparse.ArgumentParser,
    options: dict[str, argparse.Action],
) -> Job:
    try:
        entries = json.loads(line, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected a JSON object, got {line.strip()[:60]} ({error})") from None
    if not isinstance(entries, dict):
        raise DataError(f"expected a JSON object, got {line.strip()[:60]}")
    name = entries.pop("name", None)
    argv: list[str] = []
    off: list[str] = []
    for key, value in entries.items():
        action = options.get(key.replace("-", "_"))
        if action is None:
            known = ", ".join(sorted(options))
            raise DataError(f"{key[:40]}: expected name or an option among {known}")
        argv += _words(action, value, folder)
        off += [action.dest] if value is False else []
    given = parser.parse_args(argv, argparse.Namespace(**{**vars(args), **dict.fromkeys(off, False)}))
    if name is None:
        source = next((getattr(given, option) for option in _NAMED_AFTER if getattr(given, option, None)), "walk")
        name = f"{number:04d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', Path(source).stem)[:60]}"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name.encode()) > MAX_BYTES:
        raise DataError(f"name: expected letters, digits, '_', '-' and '.', got {str(name)[:60]!r}")
    return Job(name, given)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if sum(key == other for other, _ in pairs) > 1)
        raise DataError(f"{twice[:40]}: expected it once, got it twice")
    return found


def _words(action: argparse.Action, value: Any, folder: Path) -> list[str]:
    """An option and its values as on the command line."""
    option = action.option_strings[-1]
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise DataError(f"{option}: expected true or false, got {str(value)[:60]}")
        return [option] if value else []
    values = value if isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, bool) or not isinstance(item, (str, int, float)):
            raise DataError(f"{option}: expected a text or a number, got {str(item)[:60]}")
    is_path = action.type is Path
    may_be_path = action.dest in ("intrinsics", "filters")
    texts = [
        str(folder / str(item) if is_path or (may_be_path and (folder / str(item)).is_file()) else item)
        for item in values
    ]
    return [f"{option}={texts[0]}"] if len(texts) == 1 else [option, *texts]
