# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A codec and a chunk model without weights: a block cosine transform, and smooth hole filling."""

from .dct import DctCodec
from .fill import FillModel, fill_holes, push_pull

__all__ = ["DctCodec", "FillModel", "fill_holes", "push_pull"]
