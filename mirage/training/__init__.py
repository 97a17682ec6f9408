# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of the memory adapter and of LoRA. So far: the loss."""

from .objective import TrainingSequence, draw_sigmas, flow_matching_loss

__all__ = ["TrainingSequence", "draw_sigmas", "flow_matching_loss"]
