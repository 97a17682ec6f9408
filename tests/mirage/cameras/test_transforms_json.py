# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Values of a transforms.json that a frame has, and all frames have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_pose_formats import SIZE, K, transforms, write_transforms

from mirage.cameras import read_cameras


@pytest.mark.parametrize(
    ("own", "fx", "fy", "cx"),
    [
        ({"camera_angle_x": 2 * np.arctan(32 / 70)}, 70, 61, 33),  # of this frame, before fl_x of all
        ({"camera_angle_y": 2 * np.arctan(24 / 70)}, 60, 70, 33),
        ({"fl_x": 140.0, "camera_angle_x": 1.0}, 70, 61, 33),
        ({"cx": None, "fl_x": None}, 60, 61, 33),  # null is no value
        ({"cx": 60.0}, 60, 61, 30),
    ],
)
def test_values_of_a_frame_replace_those_of_all(
    own: dict[str, Any], fx: float, fy: float, cx: float, tmp_path: Path
) -> None:
    content = transforms()
    content["frames"][0] |= own
    k = read_cameras(write_transforms(tmp_path / "a.json", content), SIZE).intrinsics
    np.testing.assert_allclose(k[0].numpy(), [[fx, 0, cx], [0, fy, 23], [0, 0, 1]], rtol=1e-6)
    assert torch.equal(k[1], K)
