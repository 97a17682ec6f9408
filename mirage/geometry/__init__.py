# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Pure functions on depth maps and masks, shared by the memory, the depth estimators and the filters."""
