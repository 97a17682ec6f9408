# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Small models on the built-in cosine codec: those of ``mirage train`` with the stage ``base``."""
