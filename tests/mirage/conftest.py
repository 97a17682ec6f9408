# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch


def find_torchvision() -> None:
    """Make torchvision importable, be it built for another torch.

    The torchvision of PyPI is built for CUDA. Beside a CPU-only torch its binary does not load, and then its import
    fails, because it describes operators of that binary. What the processors of transformers use of it, resizing and
    normalising, is Python on torch's own operators; so the operators are declared here, without any implementation: a
    call to one is an error. `make env` puts that torchvision where only these tests find it.
    """
    sys.path.append(str(Path(sys.prefix, "tests")))
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


find_torchvision()
