# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""RESULTS.md and the charts, made from the JSON files that the benchmarks write."""
