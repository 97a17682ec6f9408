# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout that is stored and restored after every step goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import torch

from mirage import DctCodec, FillModel, LatentSpatialMemory, RolloutSession
from mirage.cameras import out_and_back, pan
from mirage.memory.snapshot import restore_snapshot, take_snapshot
from mirage_kernels import Cameras

SIZE = (64, 96)
START = Cameras(torch.tensor([[48.0, 0, 48], [0, 48, 32], [0, 0, 1]]), torch.eye(4), SIZE)


def walk(path: Path, *, restart: bool) -> tuple[bytes, torch.Tensor]:
    """The memory and the frames of a path on which its history is full, and frames are evicted from it."""
    generator = torch.Generator().manual_seed(0)
    image, depth, codec = torch.rand(3, *SIZE, generator=generator), torch.full(SIZE, 2.0), DctCodec(16)
    cameras = pan(START, out_and_back(97), degrees=90)
    memory = LatentSpatialMemory(codec.channels, codec=codec.name, max_frames=12)
    session = RolloutSession(image, depth, cameras[:1], memory=memory, codec=codec, model=FillModel())
    frames = []
    for first in range(1, 97, 8):
        frames.append(session.step(cameras[first : first + 8]).frames)
        if restart:
            memory, state = restore_snapshot(take_snapshot(memory)), session.state()
            session = RolloutSession(
                image, depth, cameras[:1], memory=memory, codec=codec, model=FillModel(), state=state
            )
    assert len(memory.history) <= 12
    memory.save(path)
    return path.read_bytes(), torch.cat(frames, 1)


def test_a_restart_after_every_step_changes_nothing(tmp_path: Path) -> None:
    memory, frames = walk(tmp_path / "memory.safetensors", restart=True)
    expected = walk(tmp_path / "memory.safetensors", restart=False)
    assert memory == expected[0]
    assert torch.equal(frames, expected[1])
