# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: options, and the output folder of ``mirage generate``."""

from ..errors import require

require("the command line", "pipeline", "numpy", "PIL", "av", "tqdm")
