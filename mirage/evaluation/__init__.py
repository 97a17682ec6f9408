# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image metrics, and studies of the memory that run as programs: ``python -m mirage.evaluation.NAME --out DIR``.

memories        time and size of three memories on the same recording
corridor        time per chunk over ten thousand chunks
completeness    how much of a scene memories of several sizes render
filters         how much of moving objects filters keep out of a memory
depth_drift     the error of a memory whose depth drifts
"""

from .metrics import psnr

__all__ = ["psnr"]
