# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernels cost on a GPU, and whether they are right there: ``python -m benchmarks.gpu --out FOLDER``."""
