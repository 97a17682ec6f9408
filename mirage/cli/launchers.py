# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes started by ``accelerate launch`` or ``torchrun``, which number them in the environment."""

from __future__ import annotations

import os

RANK, WORLD_SIZE = "RANK", "WORLD_SIZE"


def is_launched() -> bool:
    """Whether this process is one that a launcher started and numbered."""
    return RANK in os.environ and WORLD_SIZE in os.environ
