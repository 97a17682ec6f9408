# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Return the command line of a small run of three chunks, in the folder ``out``."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    np.save(tmp_path / "depth.npy", np.full((32, 48), 2, np.float32))
    files = [f"--{name}={tmp_path / file}" for name, file in (("image", "image.png"), ("depth", "depth.npy"))]
    return ["generate", *files, "--fov=60", "--block=8", "--frames=13", "--chunk=5", f"--out={tmp_path / 'out'}"]
