# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes started by ``accelerate launch`` or ``torchrun``, which number them in the environment."""

from __future__ import annotations

import os

import torch

RANK, WORLD_SIZE, LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"


def is_launched() -> bool:
    """Whether this process is one that a launcher started and numbered."""
    return RANK in os.environ and WORLD_SIZE in os.environ


def default_device() -> str:
    """The device if ``--device`` is not set: a GPU if there is one, and for each launched process another one."""
    if not torch.cuda.is_available():
        return "cpu"
    local = os.environ.get(LOCAL_RANK, "")
    return f"cuda:{int(local) % torch.cuda.device_count()}" if is_launched() and local.isdecimal() else "cuda"
