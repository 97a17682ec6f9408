# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from mirage.depth import guess_depth
from mirage_kernels import Cameras


def test_the_guess_is_ground_and_a_wall() -> None:
    k = torch.tensor([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]])
    estimate = guess_depth(
        torch.rand(3, 2, 96, 128), Cameras(k.expand(2, 3, 3), torch.eye(4).expand(2, 4, 4), (96, 128))
    )
    assert estimate.metric
    assert estimate.valid.all()
    depth = estimate.depth
    assert torch.equal(depth[0], depth[1])
    assert (depth[0] == depth[0][:, :1]).all(), "every row has one depth"
    assert (depth[:, :48] == 5).all(), "the wall, above the horizon"
    column = depth[0, :, 0]
    assert (column.diff() <= 0).all()
    assert column.diff().diff().abs().max() < 0.02, "no bend where they meet"
    assert 0.9 < column[-1] * 47.5 / 100 / 1.5 < 1, "nearly level ground, 1.5 m below the camera"
