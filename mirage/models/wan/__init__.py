# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Wan2.2-TI2V-5B with a memory adapter. The modules of this package need diffusers; importing the package does not."""
