# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The one error that means: something a person handed over cannot be used."""


class DataError(ValueError):
    """A file that is missing, cut short or not of the kind that was asked for. Its message is one line."""
