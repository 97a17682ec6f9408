# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Looking at a memory: as a still image, or in a browser while it grows."""

from .decoded_view import DecodedView, decode_view
from .overview import draw_overview
from .point_cloud import PointCloud, make_point_cloud
from .viewer import MemoryViewer
from .walk import Walk

__all__ = ["DecodedView", "MemoryViewer", "PointCloud", "Walk", "decode_view", "draw_overview", "make_point_cloud"]
