# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors raised for unusable input files, options and installations."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_MESSAGE = 900  # characters
MAX_REASON = 200  # characters of another package's message that an error repeats

# packages whose name on the index differs from that of the import
_INDEX_NAMES = {"PIL": "Pillow"}


class DataError(ValueError):
    """A file or option that cannot be used: missing, damaged, or of the wrong kind.

    The message is a single line. What a file says may be of any length, so a long message is cut short.
    """

    def __init__(self, message: str = "") -> None:
        text = " ".join(message.splitlines())
        super().__init__(text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}...")


class PartlyFailedError(DataError):
    """Some of many jobs failed, and the others are finished.

    Attributes:
        summary: of the others; may be empty.
    """

    def __init__(self, message: str, summary: str) -> None:
        super().__init__(message)
        self.summary = summary


def first_line(error: Exception) -> str:
    """Return the first non-blank line of an error's message.

    Args:
        error: any exception, such as one raised by another package with a message of several lines.

    Returns:
        The line without surrounding white space, or the name of the exception's type if the message is blank.

    Example:
        >>> first_line(ValueError("size mismatch\\n  expected 3"))
        'size mismatch'
        >>> first_line(KeyError())
        'KeyError'
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def check_file(path: str | Path, what: str) -> None:
    """Check that a path is a regular file, before it is opened: opening a FIFO waits for its other end, and a device
    may have no end.

    Args:
        path: the file; links are followed.
        what: the expected content, for the error.

    Raises:
        DataError: there is no such file, or it is a folder, a FIFO or a device.
    """
    path = Path(path)
    try:
        if path.is_file():
            return
        got = "a folder" if path.is_dir() else "a FIFO or a device" if path.exists() else ""
    except OSError as error:  # a folder that must not be searched, or a name that is too long
        raise DataError(f"{path}: expected {what}, got an error: {error.strerror}") from None
    raise DataError(f"{path}: expected {what}, got {got}" if got else f"{path}: no such file")


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Turn whatever is raised while a file is read into a :class:`DataError` of one line.

    Parsers, our own and those of other packages, raise nearly anything for a damaged file: what they raise depends on
    their versions. A missing package is not the file's fault, and its ``ImportError`` is passed on.

    Args:
        path: the file, which :func:`check_file` checks first.
        what: the expected content, for the error.

    Raises:
        DataError: the file is missing or damaged, or what it holds does not fit into memory.

    Example:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.json"
        ...     _ = path.write_text("[" * 100_000)
        ...     try:
        ...         with reading(path, "a list"):
        ...             json.loads(path.read_text())
        ...     except DataError as error:
        ...         print(str(error).removeprefix(folder)[:47])
        /a.json: expected a list, got a damaged file (m
    """
    check_file(path, what)
    try:
        yield
    except (DataError, ImportError):
        raise
    except PermissionError:
        raise DataError(f"{path}: expected {what}, got a file that must not be read (permission denied)") from None
    except MemoryError:
        raise DataError(f"{path}: expected {what} that fits into memory, got one that does not") from None
    except Exception as error:
        raise DataError(f"{path}: expected {what}, got a damaged file ({first_line(error)[:MAX_REASON]})") from None


def missing_package(user: str, package: str, extra: str) -> ImportError:
    """Build the error for an optional package that is not installed.

    Args:
        user: what needs the package, such as ``"mirage.io.files"``.
        package: name of the missing package.
        extra: extra of ``mirage-kernels`` that installs the package.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> str(missing_package("read_image", "Pillow", "pipeline"))
        "read_image needs Pillow: pip install 'mirage-kernels[pipeline]'"
    """
    return ImportError(f"{user} needs {package}: pip install 'mirage-kernels[{extra}]'")


def require(user: str, extra: str, *packages: str) -> None:
    """Check that optional packages are installed. Nothing is imported.

    Args:
        user: what needs the packages, such as ``"mirage.io"``.
        extra: extra of ``mirage-kernels`` that installs them.
        packages: names that they are imported by.

    Raises:
        ImportError: one or more are missing; the message names them and says what to install.

    Example:
        >>> require("this example", "pipeline", "json")
        >>> require("this example", "pipeline", "json", "numpi")
        Traceback (most recent call last):
        ImportError: this example needs numpi: pip install 'mirage-kernels[pipeline]'
    """
    missing = [_INDEX_NAMES.get(name, name) for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise missing_package(user, ", ".join(missing), extra)
