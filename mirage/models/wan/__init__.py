# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Wan2.2-TI2V-5B with the memory adapter. Its modules need diffusers; this one imports none of them."""
