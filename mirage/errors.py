# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The error raised for unusable input files and options, and how errors of other packages are quoted in it."""


class DataError(ValueError):
    """A file that is missing, cut short or not of the kind that was asked for. Its message is one line."""


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not blank, or its type where there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
