# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage eval prediction``: clips from their first frames, along camera files of RealEstate10K through rooms that are
known, and by image-to-video models of diffusers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_generators import tiny_cogvideox, tiny_wan_image_to_video

from mirage.cameras import read_realestate10k
from mirage.cli.main import main
from mirage.evaluation.filmed_paths import film, place_path
from mirage.evaluation.image_to_video import ImageToVideo
from mirage.evaluation.walks import warp
from mirage.training.clips import SourceOptions, open_sources

SIZE = (64, 96)
SMALL = ["--height=64", "--width=96", "--block=8"]


def write_cameras(path: Path, unit: float, frames: int = 9) -> None:
    """A camera that moves ahead and turns by 20 degrees, in a unit of so many meters."""
    lines = ["https://www.youtube.com/watch?v=x"]
    for t in range(frames):
        angle, z = math.radians(20 * t / (frames - 1)), 0.8 * t / (frames - 1) / unit
        c, s = math.cos(angle), math.sin(angle)
        pose = np.linalg.inv(np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, z], [0, 0, 0, 1]]))[:3]
        lines.append(" ".join(map(repr, [1000 * t, 0.6, 0.9, 0.5, 0.5, 0, 0, *pose.flatten().tolist()])))
    path.write_text("\n".join(lines))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two camera files, and rooms filmed along them."""
    (tmp_path / "cameras").mkdir()
    for name, unit in (("aa", 1.0), ("bb", 0.1)):
        write_cameras(tmp_path / "cameras" / f"{name}.txt", unit)
        film(tmp_path / "cameras" / f"{name}.txt", tmp_path / "videos" / name, size=SIZE)
    return tmp_path


def evaluate(*options: str) -> int:
    return main(["eval", "prediction", *options, *SMALL])


def summary(out: str = "out/prediction") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(out, "summary.json").read_text())
    return found


def test_filmed_rooms_have_depth_in_the_unit_of_the_file(folder: Path) -> None:
    """Points of a frame have the depth of another one where that sees them."""
    (source,) = open_sources(f"realestate10k:{folder}/cameras", SourceOptions(9, SIZE, videos=folder / "videos"))
    assert source.names == ["aa-000000", "bb-000000"]
    medians = []
    for name in source.names:
        clip = source.read(name)
        medians.append(float(clip.depth[0].median()))
        shown, known = warp(clip.frames[0].float() / 255, clip.cameras[0], clip.depth[4], clip.cameras[4])
        error = (shown - clip.frames[4].float() / 255).abs().mean(0)
        assert error[known].median() < 0.03
    assert 5 < medians[1] / medians[0] < 20, "the unit of the second is a tenth"
    scene, placed, meters = place_path(read_realestate10k(folder / "cameras" / "bb.txt", SIZE), 10_000_000)
    assert meters == pytest.approx(1 / 8, rel=0.05)
    assert placed.centers.sub(placed.centers[0]).norm(dim=1).max() == pytest.approx(1, rel=0.01)
    assert scene.seed >= 10_000_000


@pytest.mark.usefixtures("folder")
def test_the_protocol_of_realestate10k(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["realestate10k:cameras", "--videos=videos", "--compare", "memory", "none", "colored", "--chunk=5"]
    assert evaluate(*options) == 0
    scores = {name: {k: v["mean"] for k, v in part.items()} for name, part in summary()["summary"].items()}
    assert scores["memory"]["psnr"] > scores["none"]["psnr"] + 2
    assert scores["memory"]["loop_psnr"] > scores["none"]["loop_psnr"] + 5
    printed = capsys.readouterr().out
    assert "| Mirage (paper) | 18.38 | 0.779 | 0.250 | 20.05 | 0.825 | 0.228 |" in printed.replace(" - |", "")
    assert "The paper's rows are its own" in printed
    with Image.open("out/prediction/aa-000000.jpg") as picture:
        assert picture.width > 4 * SIZE[1]
    rows = json.loads(Path("out/prediction/samples/aa-000000.json").read_text())["result"]["memory"]["frames"]
    assert [row[0] for row in rows] == list(range(1, 9))


def test_more_clips_leave_the_results_of_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["realestate10k:cameras", "--videos=videos"]
    assert evaluate(*options) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("out/prediction/samples").iterdir()}
    name = next(path.stem for path in (folder / "cameras").iterdir())
    shutil.copy(folder / "cameras" / f"{name}.txt", folder / "cameras" / "zz.txt")
    shutil.copytree(folder / "videos" / name, folder / "videos" / "zz")
    assert evaluate(*options) == 0
    assert summary()["clips"] == len(before) + 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    next((folder / "videos" / "zz").glob("*.npy")).write_bytes(b"another")
    capsys.readouterr()
    assert evaluate(*options) == 2
    error = capsys.readouterr().err
    assert "zz-000000.json: expected a result of these settings, got one of other files" in error


def test_depth_maps_of_some_frames_alone_are_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "videos" / "aa" / "3000.npy").unlink()
    options = ["realestate10k:cameras", "--videos=videos"]
    assert evaluate(*options) == 2
    assert "aa/3000.npy: expected a depth map, as other frames have, got none" in capsys.readouterr().err
    for path in (folder / "videos").glob("*/*.npy"):
        path.unlink()
    assert evaluate(*options) == 2
    assert "expected --videos FOLDER and --depth-model FOLDER for RealEstate10K, got none" in capsys.readouterr().err


def test_scores_that_are_missing_are_left_out() -> None:
    assert evaluate("procedural:3-4", "--frames=9", "--chunk=5") == 0
    path = next(Path("out/prediction/samples").iterdir())
    content = json.loads(path.read_text())
    part = next(iter(content["result"].values()))
    part["scores"]["psnr"], part["frames"][0][1] = None, None
    path.write_text(json.dumps(content))
    assert evaluate("procedural:3-4", "--frames=9", "--chunk=5") == 0
    assert summary()["clips"] == 2


def test_other_clips_have_no_row_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("procedural:3-4", "--frames=9", "--chunk=5") == 0
    assert "paper" not in capsys.readouterr().out
    assert summary()["clips"] == 2
    assert evaluate("procedural:3-4", "--frames=9", "--chunk=5", "--seed=1") == 2
    assert "expected a result of these settings, got one of other " in capsys.readouterr().err


@pytest.mark.parametrize("make", [tiny_wan_image_to_video, tiny_cogvideox])
def test_models_of_diffusers_without_cameras(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make().save_pretrained("tiny")
    options = ["procedural:3-3", "--frames=9", "--compare", "memory", "generator", "--generator=tiny", "--chunk=5"]
    assert main(["eval", "prediction", *options, *SMALL, "--generator-frames=6"]) == 2
    assert "--generator-frames: expected a multiple of 4 plus 1, got 6" in capsys.readouterr().err
    assert main(["eval", "prediction", *options, *SMALL, "--generator-frames=9"]) == 0
    found = summary()["summary"]
    assert found["memory"]["loop_psnr"]["mean"] > found["generator"]["loop_psnr"]["mean"]
    assert "known" not in found["generator"]


def test_long_videos_go_on_from_their_last_frame() -> None:
    generator = ImageToVideo(tiny_wan_image_to_video(), 5, num_inference_steps=1)
    image = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    video = generator(image, 12, "", 0)
    assert video.shape == (12, 3, 32, 48)
    assert torch.equal(video[0], (image * 255).round().to(torch.uint8))
    assert torch.equal(video, generator(image, 12, "", 0))
    assert torch.equal(video[:5], generator(image, 5, "", 0))


@pytest.mark.parametrize(("options", "message"), [
    (["--compare", "generator"], "--generator: expected a folder together with --compare generator, got only one"),
    (["--generator=x"], "--generator: expected a folder together with --compare generator, got only one"),
    (["--compare", "generator", "--generator=x"], "x: expected a pipeline in diffusers' layout, got no"),
    (["--compare", "memory", "memory"], "--compare: expected different names, got memory memory"),
    (["--frames=1"], "--frames: expected at least 2, got 1"),
    (["--chunk=1"], "--chunk: expected at least 2, got 1"),
    (["--shard=2/1"], "--shard: expected I/N with I from 1 to N, got '2/1'"),
    (["--depth-model=none"], "--depth-model: expected a folder with config.json, got 'none'"),
])  # fmt: skip
def test_wrong_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("procedural:3-3", "--frames=9", *options) == 2
    assert message in capsys.readouterr().err
    assert not Path("out/prediction/summary.json").exists()
