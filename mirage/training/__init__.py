# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of the memory adapter and of LoRA: samples of clips, shards, the loss, and the loop on accelerate."""

from .objective import TrainingSequence, draw_sigmas, flow_matching_loss

__all__ = ["TrainingSequence", "draw_sigmas", "flow_matching_loss"]
