# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Two streams in two processes give the frames of one process, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

from mirage.memory import LatentSpatialMemory
from mirage.pipeline import MiragePipeline

ROOT = Path(__file__).resolve().parents[2]
STREAMS = (("0", "w*8 l*8", "a room"), ("1", "j*20", "the kitchen"))


@pytest.fixture
def scene(tmp_path: Path) -> list[str]:
    """Arguments of the example: a model that was saved, and a picture with depth."""
    parts = tiny.wan().components
    del parts["transformer_2"]
    pipe = MiragePipeline(**parts)
    torch.manual_seed(3)
    for block in pipe.transformer.modules():
        if hasattr(block, "proj_in"):  # an adapter that is heard, as after training
            for projection in (block.proj_in, block.proj_out):
                if projection is not None:
                    torch.nn.init.normal_(projection.weight, std=0.2)
    pipe.save_pretrained(tmp_path / "model")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(tmp_path / "room.png")
    np.save(tmp_path / "depth.npy", np.full((64, 96), 3, np.float32))
    (tmp_path / "K.txt").write_text("90 90 48 32\n")
    arguments = [str(tmp_path / "model"), "--raw", "--steps", "2"]
    for option, name in (("image", "room.png"), ("depth", "depth.npy"), ("intrinsics", "K.txt")):
        arguments += [f"--{option}", str(tmp_path / name)]
    return arguments


def run(launcher: list[str], arguments: list[str], out: Path) -> list[str]:
    """Run the example; what it printed. The number of threads may change bits, so there is one everywhere."""
    asked = [word for stream in STREAMS for word in ("--stream", *stream)]
    command = [sys.executable, *launcher, str(ROOT / "examples" / "two_streams.py"), *arguments, *asked]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--out", str(out)], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return sorted(line for line in done.stdout.splitlines() if line.startswith("process"))


def test_two_processes_give_the_frames_of_one(scene: list[str], tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert run([], scene, alone) == ["process 0: stream 0, 17 frames", "process 0: stream 1, 21 frames"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert run(torchrun, scene, together) == ["process 0: stream 0, 17 frames", "process 1: stream 1, 21 frames"]
    for folder in (alone, together):
        names = {f"stream-{n}{end}" for n in (0, 1) for end in (".mp4", ".safetensors", "-memory.safetensors")}
        assert {path.name for path in folder.iterdir()} == names
    walks = []
    for number in (0, 1):
        walk, expected = (load_file(folder / f"stream-{number}.safetensors") for folder in (together, alone))
        assert torch.equal(walk["frames"], expected["frames"])
        assert torch.equal(walk["latents"], expected["latents"])
        memory, other = (folder / f"stream-{number}-memory.safetensors" for folder in (together, alone))
        assert memory.read_bytes() == other.read_bytes()
        assert len(LatentSpatialMemory.load(memory)) > 0
        walks.append(walk)
    first, second = (walk["frames"] for walk in walks)
    assert first.shape == (1, 17, 3, 64, 96)
    assert not torch.equal(first, second[:, :17])
