# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Notes and warnings of the command line, on standard error."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]


def assign(option: str, path: str | Path) -> str:
    """An option with a path, so that it can be pasted into a shell.

    Example:
        >>> assign("--out", Path("my files")), assign("--out", Path("-x"))
        ("--out 'my files'", '--out=-x')
    """
    text = shlex.quote(str(path))
    return f"{option}={text}" if text.startswith("-") else f"{option} {text}"


def note(text: str) -> None:
    """Print a note in one line, above a progress bar if one is shown."""
    _print("note", text)


def warn(text: str) -> None:
    """Print a warning in one line, above a progress bar if one is shown."""
    _print("warning", text)


@contextmanager
def show_warnings_in_a_line() -> Iterator[None]:
    """Print the warnings of a memory, such as of cells that were not written, as those of the command line."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", "memory: ", UserWarning)
        show = warnings.showwarning

        def show_in_a_line(message: Warning | str, *details: Any, **where: Any) -> None:
            if str(message).startswith("memory: "):
                warn(str(message))
            else:
                show(message, *details, **where)

        warnings.showwarning = show_in_a_line
        yield


def _print(kind: str, text: str) -> None:
    tqdm.write(f"mirage: {kind}: {' '.join(text.split())}", file=sys.stderr)
