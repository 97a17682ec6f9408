# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A codec and a chunk model with no weights: a block cosine transform, and smooth filling of holes."""

from .dct import DctCodec
from .fill import FillGenerator, push_pull

__all__ = ["DctCodec", "FillGenerator", "push_pull"]
