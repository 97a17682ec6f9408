# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Geometry files and scenes."""

from ..errors import require

require("mirage.data", "pipeline", "numpy")
