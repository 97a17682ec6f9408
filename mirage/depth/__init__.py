# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where the depth of new frames comes from."""

from .far_side import fill_from_far_side

__all__ = ["fill_from_far_side"]
