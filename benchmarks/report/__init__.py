# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""From JSON files of benchmarks to RESULTS.md with tables and figures, and the numbers of README."""
