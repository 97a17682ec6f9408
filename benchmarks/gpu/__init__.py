# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Performance and correctness of the kernels on a GPU: ``python -m benchmarks.gpu --out FOLDER``."""
