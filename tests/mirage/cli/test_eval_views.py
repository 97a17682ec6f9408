# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage eval novel-view``: what memories show of procedural scenes, where the truth is exact; and wrong options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import make_frames, write_folder
from PIL import Image

from mirage.cli.main import main
from mirage.data.procedural import ProceduralScene
from mirage.evaluation.novel_view import ViewedClip, compare_views
from mirage.evaluation.view_memories import MEMORIES
from mirage.models.embedded import DctCodec
from mirage.training.clips import frame_numbers

SMALL = ["--height=64", "--width=96", "--block=8", "--frames=33", "--apart=12"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*options: str) -> int:
    return main(["eval", "novel-view", *options])


def summary(out: str = "out/views") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(out, "summary.json").read_text())
    return found


def test_all_memories_of_a_walk_that_returns() -> None:
    clip = ProceduralScene(5, frames=33).clip(size=(64, 96), revisit="back")
    exclude = clip.moving | clip.sky
    walk = ViewedClip("walk", clip.frames, clip.depth, clip.cameras, exclude, range(0, 66, 2))
    results, picture = compare_views(walk, DctCodec(8, temporal_stride=1), list(MEMORIES), apart=24)
    means = {
        name: {
            key: sum(row[key] for row in found["views"] if key in row) / len(found["views"])
            for key in ("known", "placement", "misplaced", "depth_error", "psnr", "read_seconds")
        }
        for name, found in results.items()
    }
    assert results["default"]["frames"][0] >= 24
    assert all(number % 2 == 0 for number in results["default"]["frames"])
    assert means["default"]["known"] > 0.7
    assert means["default"]["placement"] < 0.1, "depth is exact, but the median of a cell is not that of its center"
    assert means["nearest-depth"]["placement"] < 1e-3
    assert means["release-placement"]["placement"] > 2 * means["default"]["placement"]
    assert means["points"]["known"] < means["default"]["known"]
    assert means["rendered"]["psnr"] > means["default"]["psnr"]
    assert means["colored"]["placement"] == 0, "not known"
    assert results["int8"]["bytes"] < 0.6 * results["default"]["bytes"] < results["append-only"]["bytes"]
    assert results["colored"]["points"] > 30 * results["append-only"]["points"]
    assert picture.shape[2] > 4 * 96


def test_what_moves_is_counted() -> None:
    """Without masks, what moves comes into the memory."""
    seed = next(n for n in range(100) if ProceduralScene(n, frames=33).clip(size=(16, 24)).moving.float().mean() > 0.03)
    clip = ProceduralScene(seed, frames=33).clip(size=(64, 96), revisit="back")
    walk = ViewedClip("walk", clip.frames, clip.depth, clip.cameras, clip.moving | clip.sky, range(33))
    results, _ = compare_views(walk, DctCodec(8, temporal_stride=1), ["default", "no-masks"], apart=12)
    masked, unmasked = (max(row["moving"] for row in found["views"]) for found in results.values())
    assert masked == 0
    assert unmasked > 0


def test_the_command_with_shards(capsys: pytest.CaptureFixture[str]) -> None:
    options = [*SMALL, "--memories", "default", "colored"]
    assert evaluate("procedural:1-2", *options, "--out=whole") == 0
    printed = capsys.readouterr().out
    assert "2 clips, " in printed
    assert "| colored | " in printed
    assert evaluate("procedural:1-2", *options, "--out=parts", "--shard=1/2") == 0
    assert "this part is finished" in capsys.readouterr().out
    assert evaluate("procedural:1-2", *options, "--out=parts", "--shard=2/2") == 0
    found = [summary(out) for out in ("whole", "parts")]
    for content in found:
        for scores in content["summary"].values():
            del scores["read_seconds"], scores["write_seconds"]
    assert found[0] == found[1]
    with Image.open("whole/procedural-00000001.jpg") as shown:
        assert shown.width > 3 * 96
    assert evaluate("procedural:1-2", *options[:-3], "--apart=16", *options[-3:], "--out=whole") == 2
    assert "expected a result of these settings, got one of other apart; use another --out" in capsys.readouterr().err


def test_a_recording_counts_by_the_names_of_its_frames(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(folder / "walk", make_frames(3, (64, 96)))
    names = sorted((folder / "walk" / "images").iterdir())
    assert frame_numbers([path.name for path in names])[0] in (0, 1)
    assert evaluate("walk", *SMALL, "--memories", "default", "--apart=1") == 0
    assert summary()["targets"] >= 1
    command = ("walk", *SMALL, "--memories", "default", "--apart=1")
    assert evaluate(*command) == 0, "nothing has changed"
    Image.new("RGB", (96, 64), "red").save(names[1])
    capsys.readouterr()
    assert evaluate(*command) == 2
    assert "expected a result of these settings, got one of other files; use another --out" in capsys.readouterr().err
    assert evaluate("walk", *SMALL, "--memories", "default", "--apart=100", "--out=other") == 2
    assert "expected frames that see what frames 100 older saw, got none" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "message"), [
    (["none"], "none: no such recording"),
    (["procedural:1-1", "procedural:1-1"], "SOURCE: expected clips of different names, got procedural-00000001 twice"),
    (["procedural:1-1", "--height=60", "--block=16"], "--height: expected a multiple of 16 from 11 to 8192, got 60"),
    (["procedural:1-1", "--apart=0"], "--apart: expected at least 1, got 0"),
    (["procedural:1-1", "--memories", "default", "default"], "--memories: expected different names, got default"),
    (["realestate10k:x"], "expected --videos FOLDER and --depth-model FOLDER for RealEstate10K, got none"),
])  # fmt: skip
def test_wrong_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(*options) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_frame_numbers() -> None:
    assert frame_numbers(["a/0003.png", "a/0010.png"]) == [3, 10]
    assert frame_numbers(["f9", "f9"]) == [0, 1]
    assert torch.tensor(frame_numbers([f"{n}.5.jpg" for n in range(3)])).tolist() == [0, 1, 2]
