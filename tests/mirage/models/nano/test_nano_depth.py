# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The depth network of mirage-nano."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mirage.depth import guess_depth
from mirage.errors import DataError
from mirage.models.nano.depth import NanoDepth, write_depth_network
from mirage.models.nano.depth_network import DepthNetwork, ray_maps
from mirage_kernels import Cameras, save_tensors


@pytest.fixture
def network() -> DepthNetwork:
    torch.manual_seed(0)
    return DepthNetwork()


def camera(size: tuple[int, int] = (96, 160)) -> Cameras:
    h, w = size
    return Cameras(torch.tensor([[0.9 * w, 0, w / 2], [0, 0.9 * w, h / 2], [0, 0, 1]]), torch.eye(4), size)


def test_rays_of_pixel_centers() -> None:
    rays = ray_maps(torch.tensor([[[2.0, 0, 3], [0, 4, 1], [0, 0, 1]]]), (2, 6))
    assert rays.shape == (1, 2, 2, 6)
    assert rays[0, 0, 0].tolist() == [-1.25, -0.75, -0.25, 0.25, 0.75, 1.25]
    assert rays[0, 1, :, 0].tolist() == [-0.125, 0.125]


def test_size_of_the_network(network: DepthNetwork) -> None:
    assert 1_000_000 <= sum(p.numel() for p in network.parameters()) <= 1_010_000


@pytest.mark.parametrize("size", [(96, 160), (33, 50), (240, 70)])
def test_any_size(network: DepthNetwork, size: tuple[int, int]) -> None:
    frames = torch.rand(3, 2, *size)
    estimate = NanoDepth(network)(frames, Cameras.cat([camera(size)] * 2))
    assert estimate.depth.shape == (2, *size)
    assert estimate.valid.all()
    assert estimate.metric
    assert NanoDepth(network)(frames).depth.shape == (2, *size)


def test_the_guess_prevails_where_the_network_is_unsure(network: DepthNetwork) -> None:
    frames = torch.rand(3, 1, 192, 288)
    guess = guess_depth(frames, camera((192, 288))).depth
    torch.nn.init.zeros_(network.head.weight)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([1.0, 5.0]))
        torch.testing.assert_close(NanoDepth(network)(frames, camera((192, 288))).depth, guess, rtol=1e-3, atol=0)
        network.head.bias.copy_(torch.tensor([1.0, -5.0]))
        sure = NanoDepth(network)(frames, camera((192, 288))).depth.log()
        assert (sure.mean() - 1).abs() < 0.1 * (guess.log().mean() - 1).abs(), "the network's distance"
        shape, wanted = sure - sure.mean(), guess.log() - guess.log().mean()
        torch.testing.assert_close(shape, 0.2 * wanted, rtol=0, atol=0.01)


def test_files(network: DepthNetwork, tmp_path: Path) -> None:
    path = tmp_path / "depth.safetensors"
    write_depth_network(network, path)
    frames = torch.rand(3, 1, 96, 160)
    expected = NanoDepth(network)(frames, camera()).depth
    torch.testing.assert_close(NanoDepth.load(path)(frames, camera()).depth, expected, rtol=0.02, atol=0)
    with pytest.raises(DataError, match=r"none.safetensors"):
        NanoDepth.load(tmp_path / "none.safetensors")
    save_tensors(path, {"a": torch.ones(1)}, kind="depth network", version=1, settings={})
    with pytest.raises(
        DataError, match=r"weights of the depth network with stem.weight of shape \(24, 5, 3, 3\), got None"
    ):
        NanoDepth.load(path)
