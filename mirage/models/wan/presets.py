# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The two kinds of checkpoints that exist: the released one and the paper's."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PRESETS", "WAN", "Preset", "find_preset"]


WAN = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"  # the backbone, on the Hub


class Preset(NamedTuple):
    """A kind of checkpoint.

    Attributes:
        every: an adapter block at every so-many-th layer of the backbone, from the first on.
        blocks: how many at most; None for as many as there are layers for.
        control_channels: of the control input: 48 of the memory's view, and what marks the holes.
        steps: of denoising, by default.
        lora_rank: of the LoRA on the backbone.
        lora_feed_forward: whether that is on both feed-forward layers too, not only on q, k, v and o.
    """

    every: int
    blocks: int | None
    control_channels: int
    steps: int
    lora_rank: int
    lora_feed_forward: bool

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """The layers of a backbone of ``num_layers`` that an adapter block stands at."""
        return tuple(range(0, num_layers, self.every))[: self.blocks]


PRESETS = {
    "release": Preset(2, None, 96, 20, 32, True),
    "paper": Preset(4, 8, 49, 40, 64, False),
}


def find_preset(name: str) -> Preset:
    """The preset ``"release"`` or ``"paper"``."""
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {sorted(PRESETS)}, got {name!r}")
    return PRESETS[name]
