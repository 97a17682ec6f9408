# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of the depth network of mirage-nano."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch

from mirage.errors import DataError
from mirage.models.nano.depth import NanoDepth
from mirage.training import depth as depth_training
from mirage.training.clips import ProceduralClips
from mirage.training.depth import DepthFrames, balance, collect_frames, depth_loss, make_batch, train_depth
from mirage.training.recipe import StageRecipe
from mirage_kernels import save_tensors

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_training, "SIZE", SIZE)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> DepthFrames:
    return collect_frames([ProceduralClips(range(2), 3, SIZE)], tmp_path_factory.mktemp("d") / "frames.safetensors")


def test_frames_are_kept_in_a_file(tmp_path: Path) -> None:
    source = ProceduralClips(range(1), 2, SIZE)
    first = collect_frames([source], tmp_path / "frames.safetensors")
    again = collect_frames([], tmp_path / "frames.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.images.shape == (2, 3, *SIZE)
    assert (first.depth > 0).all()  # the sky has the largest depth
    assert first.depth.max() <= depth_training.SKY


def test_an_older_or_damaged_file_of_frames_is_named(tmp_path: Path) -> None:
    path = tmp_path / "frames.safetensors"
    source = ProceduralClips(range(1), 2, SIZE)
    frames = collect_frames([source], path)
    for tensors, version in ((frames._asdict(), 1), ({"images": frames.images}, 2)):
        save_tensors(path, tensors, kind="depth frames", version=version, settings={})
        with pytest.raises(DataError, match=r"remove .*frames.safetensors to read the clips again"):
            collect_frames([source], path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"remove .*frames.safetensors"):
        collect_frames([source], path)


def test_small_sources_are_drawn_more_often() -> None:
    source = torch.tensor([0] * 3 + [1] * 60 + [2] * 200)
    numbers = torch.tensor(balance(source))
    shares = source[numbers].bincount() / len(numbers)
    assert shares[0] >= 0.09
    assert shares[1] == pytest.approx(60 / len(numbers), abs=1e-6)
    assert numbers.unique().tolist() == list(range(263))


def test_loss_of_laplace() -> None:
    depth = torch.full((1, 12, 16), math.e)
    depth[0, 0] = 0
    one, zero = torch.ones(1, 12, 16), torch.zeros(1, 12, 16)
    assert depth_loss(one, zero, depth).item() == pytest.approx(0, abs=1e-6)
    # An error of 1 with scale 2: 1 / 2 + log 2. All neighbors have the same.
    expected = 0.5 + math.log(2)
    assert depth_loss(2 * one, zero + math.log(2), depth).item() == pytest.approx(expected, abs=1e-5)
    broken = one.clone()
    broken[0, 0] = 100
    assert depth_loss(broken, zero, depth).item() == pytest.approx(0, abs=1e-6)


def test_batches_keep_rays_and_depth_together(frames: DepthFrames) -> None:
    images, rays, depth = make_batch(frames, [0, 1, 2], random.Random(1))
    again = make_batch(frames, [0, 1, 2], random.Random(1))
    assert all(torch.equal(a, b) for a, b in zip((images, rays, depth), again, strict=True))
    assert images.shape == (3, 3, *SIZE)
    assert depth.shape == (3, *SIZE)
    # A picture is cut and mirrored: its rays are among those of the whole, no matter which way.
    whole = depth_training.ray_maps(frames.intrinsics[:3], SIZE)
    for n in range(3):
        assert whole[n, 0].abs().amax() + 0.02 >= rays[n, 0].abs().amax()
        step = (rays[n, 0, 0, 1] - rays[n, 0, 0, 0]).abs() / (whole[n, 0, 0, 1] - whole[n, 0, 0, 0])
        assert 1 / 1.65 < step <= 1.01


def test_training_can_be_stopped(frames: DepthFrames, tmp_path: Path) -> None:
    recipe = StageRecipe(steps=4, batch_size=2, learning_rate=1e-3, warmup=1)
    whole = train_depth(frames, tmp_path / "whole", recipe, every=2)
    part = StageRecipe(steps=2, batch_size=2, learning_rate=1e-3, warmup=1)
    train_depth(frames, tmp_path / "parts", part, every=2)
    resumed = train_depth(frames, tmp_path / "parts", recipe, every=2)
    assert whole.read_bytes() == resumed.read_bytes()
    assert NanoDepth.load(resumed)(torch.rand(3, 1, *SIZE)).valid.all()
    assert len((tmp_path / "parts" / "log.jsonl").read_text().splitlines()) == 2
