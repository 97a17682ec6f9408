# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other layouts than diffusers'."""

from .released import from_released, lora_from_released, lora_to_released, to_released

__all__ = ["from_released", "lora_from_released", "lora_to_released", "to_released"]
