# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors raised for unusable input files, options and installations."""

import importlib.util

# packages whose name on the index differs from that of the import
_INDEX_NAMES = {"PIL": "Pillow"}


class DataError(ValueError):
    """A file or option that cannot be used: missing, damaged, or of the wrong kind. The message is a single line."""


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
