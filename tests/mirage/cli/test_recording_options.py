# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Frames, sizes and codecs that the options of ``mirage remember`` and ``mirage render`` select."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import tiny
import torch

from mirage.cli.main import main
from mirage.cli.recording_options import find_size, load_codec, parse_bytes, pick_frames
from mirage.errors import DataError
from mirage.memory import LatentSpatialMemory


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, list(range(10))),
        ("1", [0]),
        ("2", [0, 9]),
        ("4", [0, 3, 6, 9]),
        ("10", list(range(10))),
        ("99", list(range(10))),
        ("3:6", [3, 4, 5]),
        (":4:2", [0, 2]),
        ("-3::", [7, 8, 9]),
        ("::", list(range(10))),
    ],
)
def test_frames(text: str | None, expected: list[int]) -> None:
    assert pick_frames(text, 10) == expected


@pytest.mark.parametrize("text", ["", "a", "1.5", "-2", "0", "::0", "5:2", "1:2:3:4", "::-1"])
def test_frames_that_are_none(text: str) -> None:
    with pytest.raises(DataError, match="--frames: expected"):
        pick_frames(text, 10)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (None, None, (352, 528)),
        (704, None, (704, 1056)),
        (None, 1280, (848, 1280)),
        (100, 100, (96, 96)),
        (16, None, (16, 32)),
        (None, 16, (16, 16)),
    ],
)
def test_size(height: int | None, width: int | None, expected: tuple[int, int]) -> None:
    assert find_size(argparse.Namespace(height=height, width=width), (360, 540), 16) == expected


def test_bytes() -> None:
    assert [parse_bytes("--max-bytes", text) for text in (None, "7", "2k", "1.5MiB", "3 GB")] == [
        None, 7, 2048, 3 << 19, 3 << 30
    ]  # fmt: skip


def test_the_autoencoder_of_wan_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No transformer and no text encoder is needed to remember or render."""
    import layouts

    folder = layouts.write_folder(tmp_path / "recording", layouts.make_frames(2, (32, 48)))
    tiny.vae().save_pretrained(tmp_path / "wan" / "vae")
    out = tmp_path / "m.safetensors"
    wan = ["--model", str(tmp_path / "wan"), "--device", "cpu"]
    assert main(["remember", str(folder), "--out", str(out), *wan]) == 0
    memory = LatentSpatialMemory.load(out)
    assert memory.codec == "wan-48-16"
    assert len(memory) > 0
    assert main(["render", "--memory", str(out), "--out", str(tmp_path / "r"), "--frames", "1", *wan]) == 0
    assert main(["remember", str(folder), "--out", str(tmp_path / "x.safetensors"), "--model", str(tmp_path)]) == 2
    assert "--model: expected a folder with vae/config.json" in capsys.readouterr().err


def test_a_memory_sets_the_block() -> None:
    options = argparse.Namespace(model="embedded", block=None)
    assert load_codec(options, "dct-12").codec.spatial_stride == 12
    assert load_codec(options).device == torch.device("cpu")
    with pytest.raises(DataError, match="got latents of 'other'"):
        load_codec(options, "other")
