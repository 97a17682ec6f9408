# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading and writing of images, depth maps, text and videos, and folders of pretrained weights."""

from ..errors import require

require("mirage.io", "pipeline", "numpy")
