# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The adapter architectures: that of the released checkpoint, that of the paper, and one for small backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = ["PRESETS", "WAN", "Preset", "PresetName", "find_preset", "match_preset"]


WAN = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"  # the backbone, on the Hub
PresetName = Literal["release", "paper", "nano"]


class Preset(NamedTuple):
    """An adapter architecture, with its LoRA and sampling settings.

    Attributes:
        layer_interval: layers 0, layer_interval, 2 layer_interval ... of the backbone have an adapter block.
        max_blocks: largest number of adapter blocks; None for no limit.
        control_channels: channels of the control input: 48 for the memory's view, the rest for its holes.
        steps: default number of denoising steps.
        lora_rank: rank of the LoRA on the backbone.
        lora_feed_forward: whether the LoRA covers the feed-forward layers besides q, k, v and o.
    """

    layer_interval: int
    max_blocks: int | None
    control_channels: int
    steps: int
    lora_rank: int
    lora_feed_forward: bool

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """The layers with an adapter block, for a backbone with ``num_layers`` layers."""
        return tuple(range(0, num_layers, self.layer_interval))[: self.max_blocks]


PRESETS: dict[PresetName, Preset] = {
    "release": Preset(2, None, 96, 20, 32, True),
    "paper": Preset(4, 8, 49, 40, 64, False),
    "nano": Preset(2, None, 49, 6, 4, False),
}


def match_preset(num_layers: int, layers: Sequence[int], control_channels: int) -> PresetName | None:
    """Find the preset of an adapter.

    Args:
        num_layers: of the backbone.
        layers: of the backbone that have an adapter block.
        control_channels: of the control input.

    Returns:
        The preset; None if the adapter has none of these architectures.

    Example:
        >>> match_preset(4, [0, 2], 49), match_preset(30, [0, 4, 8, 12, 16, 20, 24, 28], 49), match_preset(4, [0], 3)
        ('nano', 'paper', None)
    """
    for name, kind in PRESETS.items():
        if kind.control_channels == control_channels and kind.layers(num_layers) == tuple(layers):
            return name
    return None


def find_preset(name: PresetName) -> Preset:
    """Look up a preset.

    Args:
        name: ``"release"``, ``"paper"`` or ``"nano"``.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {sorted(PRESETS)}, got {name!r}")
    return PRESETS[name]
