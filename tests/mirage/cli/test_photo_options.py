# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage generate`` from one image: what is found, what is assumed, how it is brought to the frames, and warnings."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_depth
import torch
from PIL import Image

from mirage.cameras import read_cameras_json
from mirage.cli.main import build_parser, main
from mirage_kernels import __version__

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 255, (8, 12, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 26
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray(pixels).save("phone.jpg", exif=exif)
    depth = np.linspace(4, 1, SIZE[0], dtype=np.float32)[:, None].repeat(SIZE[1], 1)
    arrays = {
        "meters": depth, "millimeters": depth * 1000, "disparity": 1 / depth, "half": depth[::2, ::2],
        "square": depth[:, :64], "invalid": depth * np.nan, "negative": -depth,
        "few": np.where(np.arange(SIZE[1]) < 1, depth, 0), "relative": depth[::-1] / 4 * (np.arange(96) % 7 > 2) + 1e-3,
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(f"{name}.npy", array.astype(np.float32))
    Image.new("L", (96, 64), 255).save("white.png")
    Image.fromarray(((np.arange(48) > 2) * np.full((32, 1), 255)).astype(np.uint8)).save("most.png")
    return tmp_path


def run(options: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code, and the lines that are no progress bar."""
    code = main(
        [
            *["generate", "--block", "8", "--frames", "5", "--chunk", "5", "--out", "out", "--overwrite"],
            *options.split(),
        ]
    )
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return code, [line for line in lines if line.startswith("mirage: ")]


def metrics() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(Path("out/metrics.json").read_text())
    return made


def first_intrinsics() -> list[float]:
    k = read_cameras_json("out/cameras.json").intrinsics[0]
    return [round(k[row, column].item(), 1) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))]


GUESS = "depth guessed by a small network that knows rooms"


@pytest.mark.parametrize(("options", "intrinsics", "note"), [
    ("--image phone.jpg", [69.3, 69.3, 32, 48], f"(EXIF: 26 mm in 35 mm film; --intrinsics or --fov sets it); {GUESS}"),
    ("--image photo.png", [83.1, 83.1, 48, 32], "(assumed: 60 degrees along the longer side; --intrinsics or --fov"),
    ("--image phone.jpg --fov 90", [32, 32, 32, 48], f"phone.jpg: {GUESS}"),
    ("--image photo.png --intrinsics 80,80,48,30", [80, 80, 48, 30], f"photo.png: {GUESS}"),
    ("--image photo.png --intrinsics 80,80,48,30 --depth meters.npy", [80, 80, 48, 30], None),
])  # fmt: skip
def test_one_note_tells_what_was_assumed(
    options: str, intrinsics: list[float], note: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = run(options, capsys)
    assert code == 0
    assert first_intrinsics() == intrinsics
    assert len(lines) == (0 if note is None else 1)
    assert note is None or note in lines[0]
    assert metrics()["image_depth"] == ("file" if "--depth" in options else "guessed")
    assert metrics()["size"] == ([96, 64] if "phone" in options else [64, 96])


def test_a_network_estimates_the_depth_before_the_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The default orbit needs the median depth for its radius."""
    for part in tiny_depth.depth_anything():
        part.save_pretrained(folder / "network")
    code, lines = run("--image phone.jpg --depth-model network", capsys)
    assert code == 0
    assert metrics()["image_depth"] == "depth_anything"
    assert len(lines) == 1
    assert "guessed" not in lines[0]


def test_depth_pro_gives_the_focal_length(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, processor = tiny_depth.depth_pro()
    processor.save_pretrained(folder / "network")
    model.save_pretrained(folder / "network")
    _, lines = run("--image photo.png --depth-model network", capsys)
    assert any("depth_pro predicts a field of view of" in line for line in lines), "random weights: 0 degrees"
    assert first_intrinsics()[0] == 83.1
    torch.nn.init.constant_(model.fov_model.head.layers[-1].bias, 50.0)
    model.save_pretrained(folder / "network")
    assert run("--image photo.png --depth-model network", capsys)[1][0].count("predicted by depth_pro") == 1
    predicted = first_intrinsics()
    assert predicted[0] == predicted[1] != 83.1
    assert metrics()["focal_length"] == "depth_pro"
    run("--image phone.jpg --depth-model network", capsys)
    assert first_intrinsics()[0] == 69.3, "EXIF is preferred"


@pytest.mark.parametrize(("options", "size", "notes"), [
    ("--width 48", [32, 48], []),
    ("--height 30", [32, 48], ["--height: 30 is rounded to 32, a multiple of 8"]),
    ("--width 64 --height 64", [64, 64], ["33% of the image is cut to frames of 64 x 64 pixels"]),
    ("--width 64 --height 80 --fit pad", [80, 64], ["padded with 0 columns and 37 rows"]),
    ("--width 64 --height 64 --fit squash", [64, 64], ["squashed to frames of 64 x 64 pixels, 0.667 times as wide"]),
])  # fmt: skip
def test_the_size_of_the_frames(
    options: str, size: list[int], notes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = run(f"--image photo.png --intrinsics 96,96,48,32 --depth meters.npy {options}", capsys)
    assert code == 0
    assert metrics()["size"] == size
    assert len(lines) == len(notes)
    assert all(note in line for note, line in zip(notes, lines, strict=True))
    center = first_intrinsics()[2:]
    assert center == pytest.approx([size[1] / 2, size[0] / 2], abs=0.5), "the principal point stays in the middle"


def test_a_large_image_gets_frames_of_a_sensible_size(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (4000, 250)).save("long.png")
    code, lines = run("--image long.png --fov 60", capsys)
    assert code == 0
    assert metrics()["size"] == [80, 1280]
    assert "long.png: 4000 x 250 pixels (width x height), frames of 1280 x 80; --width or --height sets" in lines[0]


@pytest.mark.parametrize(("options", "message"), [
    ("--depth millimeters.npy", "the median depth is 2476 m; if the file is in millimeters, pass --depth-scale 0.001"),
    ("--depth disparity.npy", "(rank correlation 1.00), as those of disparity do"),
    ("--depth relative.npy --depth-scale 0.999", "all values lie between 0 and 1 (median"),
    ("--depth few.npy", "few.npy: only 1.04% of the pixels have a valid depth"),
    ("--depth square.npy", "square.npy: 64 x 64 pixels are stretched to the image's aspect of 96 x 64"),
    ("--intrinsics 80,80,480,30", "the principal point (480, 30) lies outside the image of 96 x 64 pixels"),
    ("--intrinsics 80000,80000,48,30", "the field of view is 0.0688 degrees"),
    ("--mask white.png", "--mask white.png: excludes 100.0% of the image, and leaves nothing with depth to write"),
    ("--mask most.png", "--mask most.png: excludes 93.8% of the image; white is excluded, is the mask inverted?"),
])  # fmt: skip
def test_warnings(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(f"--image photo.png {options}", capsys)
    assert code == 0
    warnings = [line for line in lines if line.startswith("mirage: warning: ") and "the memory knew" not in line]
    assert len(warnings) == 1
    assert message in warnings[0]


@pytest.mark.parametrize("options", [
    "--depth meters.npy", "--depth millimeters.npy --depth-scale 0.001", "--depth half.npy", "",
    "--intrinsics 80,80,48,32",
])  # fmt: skip
def test_no_warning_for_usual_input(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(f"--image photo.png {options}", capsys)
    assert code == 0
    assert not any("warning" in line for line in lines)
    assert any("resized from 48 x 32 to the image's 96 x 64 pixels" in line for line in lines) == ("half" in options)


def test_an_image_in_an_earlier_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """Its depth is the memory's, and its frames have the size of those before."""
    assert run("--image photo.png --fov 60 --depth meters.npy", capsys)[0] == 0
    Path("out/memory.safetensors").rename("memory.safetensors")
    code, lines = run("--image photo.png --fov 60 --memory memory.safetensors", capsys)
    assert code == 0
    assert metrics()["image_depth"] == "memory"
    assert "depth rendered from the memory" in lines[0]
    _, (line,) = run("--memory memory.safetensors --width 48", capsys)
    assert "--width: expected 96, as the frames of memory.safetensors have, got 48" in line


def test_the_scale_of_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    poses = torch.eye(4).repeat(5, 1, 1)
    poses[:, 0, 3] = -torch.arange(5) / 10
    Path("poses.txt").write_text("\n".join(json.dumps(pose.tolist()) for pose in poses))
    assert run("--image photo.png --poses poses.txt --path-scale 0.5", capsys)[0] == 0
    centers = read_cameras_json("out/cameras.json").centers[:, 0]
    torch.testing.assert_close(centers, torch.arange(5) / 20)


BAD = [
    ("--image photo.png --depth invalid.npy", "invalid.npy: expected a valid depth (above 0 and below 1e12) somewhere"),
    ("--image photo.png --depth negative.npy", "without --depth, the depth is estimated by --depth-model or guessed"),
    ("--image photo.png --fov 0", "--fov: expected 1 to 175 degrees, got 0"),
    ("--image photo.png --fov 180", "--fov: expected 1 to 175 degrees, got 180"),
    ("--image photo.png --fov nan", "--fov: expected 1 to 175 degrees, got nan"),
    ("--image photo.png --fov 60 --intrinsics 80,80,48,32", "--fov: expected no --intrinsics, got both"),
    ("--image photo.png --intrinsics 0,0,48,32", "expected a focal length above 0, got 0"),
    ("--image photo.png --depth-scale 2", "--depth-scale: expected --depth or --geometry, got neither"),
    ("--image photo.png --depth meters.npy --depth-scale nan", "--depth-scale: expected a number above 0, got nan"),
    ("--image photo.png --path-scale 2", "--path-scale: expected one of the paths poses, cameras, geometry, got orbit"),
    ("--image photo.png --radius 0", "--radius: expected a number above 0, got 0"),
    ("--image photo.png --width 9000", "--width: expected 1 to 8192 pixels, got 9000"),
    ("--image photo.png --depth-model nowhere", "--depth-model: expected a folder with config.json, got 'nowhere'"),
    ("--image .", "--image: expected a file, got .: a folder"),
    ("--depth meters.npy", "--depth: expected --image as well, got none"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), BAD)
def test_errors_name_the_option(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(options, capsys)
    assert code == 2
    assert lines[-1].startswith("mirage: error: ")
    assert message in lines[-1]
    assert not Path("out").exists()


def commands(parser: argparse.ArgumentParser | None = None, before: str = "") -> dict[str, argparse.ArgumentParser]:
    """All commands, and those of commands, by what is typed."""
    found = {}
    for action in (build_parser() if parser is None else parser)._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                found |= {f"{before}{name}": command} | commands(command, f"{before}{name} ")
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_shows_every_default_and_examples(name: str) -> None:
    parser = commands()[name]
    silent = [
        action.option_strings
        for action in parser._actions
        if action.option_strings and action.dest != "help" and "default: " not in (action.help or "")
    ]
    assert not silent
    assert f"mirage {name} " in (parser.epilog or "")


def test_version_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as stop:
            main([option])
        assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"mirage {__version__}\n")
    assert "exit codes:" in printed


def test_the_default_move_is_small_where_the_depth_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    angles = []
    for options in ("", "--depth meters.npy", "--amount 15"):
        assert run(f"--image photo.png --fov 60 {options} --one-way", capsys)[0] == 0
        pose = json.loads(Path("out/cameras.json").read_text())
        last = torch.tensor(pose["cam2world"][-1], dtype=torch.float64)
        angles.append(torch.rad2deg(torch.acos(((last[:3, :3].trace() - 1) / 2).clamp(-1, 1))).item())
    assert angles == pytest.approx([6, 15, 15], abs=1e-3)
