# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Shards of a few small clips, and recipes that train a tiny model in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mirage.models.embedded import DctCodec
from mirage.recordings import read_recording
from mirage.training.build import BuildReport, build_shards
from mirage.training.clips import ClipSource, ProceduralClips, RecordingClips, TrainingClip
from mirage.training.dataset import TrainingData
from mirage.training.loop import StageTrainer
from mirage.training.models import make_model
from mirage.training.recipe import Recipe, StageName, read_recipe
from mirage.training.run import find_conditioning, make_accelerator
from mirage.training.samples import SampleSettings
from mirage_kernels import Cameras, load_tensors

ALL = "stages=['base','adapter','lora']"
SIZE = (64, 96)
SETTINGS = SampleSettings(targets=3, per_clip=2)
TINY = [
    "precision=no", "checkpointing=false", "max_sequence_length=2", "backbone.num_layers=2",
    "backbone.attention_head_dim=24", "backbone.num_attention_heads=2", "backbone.ffn_dim=64", "backbone.text_dim=8",
    "backbone.freq_dim=16", "lora_rank=4", "held_out=0.2", "validation_samples=2", "validation_steps=0", "workers=0",
    "log_every=1",
]  # fmt: skip


class TableClips:
    """Clips of a textured wall, four meters ahead, along which the camera moves to the right."""

    origin = "a wall"

    def __init__(self, count: int, frames: int = 17, broken: Sequence[str] = (), first: int = 0) -> None:
        self.names = [f"wall.{number}" for number in range(first, first + count)]
        self.frames, self.broken = frames, broken

    def read(self, name: str) -> TrainingClip:
        if name in self.broken:
            from mirage.errors import DataError

            raise DataError(f"{name}: expected an image, got a damaged file")
        number = int(name.partition(".")[2])
        wall = torch.rand(3, SIZE[0], 2 * SIZE[1], generator=torch.Generator().manual_seed(number))
        k = torch.tensor([[90.0, 0, 48], [0, 90, 32], [0, 0, 1]])
        poses = torch.eye(4).repeat(self.frames, 1, 1)
        poses[:, 0, 3] = torch.arange(self.frames) * (4.0 / 90)  # a pixel per frame
        frames = torch.stack([wall[:, :, t : t + SIZE[1]] for t in range(self.frames)])
        depth = torch.full((self.frames, *SIZE), 4.0)
        return TrainingClip((frames * 255).round().to(torch.uint8), depth, Cameras(k, poses, SIZE), None, "a wall")


def build(
    folder: Path, sources: Sequence[ClipSource] | None = None, settings: SampleSettings = SETTINGS, **options: Any
) -> BuildReport:
    """Build shards of procedural clips, or of other sources."""
    sources = [ProceduralClips(range(8), 29, SIZE)] if sources is None else sources
    return build_shards(sources, folder, DctCodec(16), SIZE, settings, **{"clips_per_shard": 3, **options})


def build_both(data: Path, folder: Path) -> None:
    """Build shards of fifty procedural clips and of a recording."""
    recording = RecordingClips(read_recording(data / "hololens_dev"), 37, SIZE)
    build(folder, [ProceduralClips(range(50), 29, SIZE), recording], clips_per_shard=5)


def recipe(*values: str, steps: int = 6, preset: str = "paper") -> Recipe:
    """A recipe of a tiny model.

    Args:
        values: to replace.
        steps: of each stage.
        preset: of the adapter.
    """
    common = (f"steps={steps}", "batch_size=2", "accumulate=1", "learning_rate=3e-3", "warmup=2", "ema=0.9")
    each = [f"{stage}.{value}" for stage in ("base", "adapter", "lora") for value in common]
    return read_recipe(preset, [*TINY, *each, *values])


def trainer_of(
    shards: Path, out: Path, made: Recipe, stage: StageName, run: Path | None = None, dtype: torch.dtype = torch.float32
) -> StageTrainer:
    """A trainer of a stage, after the earlier stages of a run."""
    data = TrainingData(shards, made.held_out)
    folder = None if run is None else run / "base" / "transformer"
    adapter = None if run is None or stage != "lora" else run / "adapter" / "adapter.safetensors"
    torch.manual_seed(0)
    model = make_model(stage, made, 48, find_conditioning(made, data), folder, adapter, dtype)
    return StageTrainer(make_accelerator(made, out, cpu=True), stage, made, data, model, out)


def state_of(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint."""
    return load_tensors(path, kind="training state", version=1)[0]
