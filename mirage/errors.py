# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors raised for unusable input files, options and installations."""


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
