# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from mirage.cameras import CameraController, read_cameras_json
from mirage.cli.main import main
from mirage.data.geometry import Geometry, write_geometry
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras

OUTPUTS = {"result.mp4", "video.mp4", "contact_sheet.png", "cameras.json", "memory.safetensors", "metrics.json"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """An image of 50x70 pixels with its depth, intrinsics and a path of 13 poses."""
    rng = np.random.default_rng(0)
    paths = {name: tmp_path / name for name in ("image.png", "depth.png", "depth.npy", "k.txt", "poses.txt")}
    Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)).resize((70, 50)).save(paths["image.png"])
    depth = 2 + rng.random((50, 70))
    Image.fromarray((depth * 1000).astype(np.uint16)).save(paths["depth.png"])
    np.save(paths["depth.npy"], depth.astype(np.float32))
    paths["k.txt"].write_text("60 0 35\n0 60 25\n0 0 1\n")
    poses = torch.eye(4).repeat(13, 1, 1)
    poses[:, 0, 3] = -torch.linspace(0, 0.3, 13)
    paths["poses.txt"].write_text("\n".join(json.dumps(pose.tolist()) for pose in poses))
    return paths


def arguments(files: dict[str, Path], target: Path, *more: str, **changed: str) -> list[str]:
    options = {
        "image": str(files["image.png"]),
        "depth": str(files["depth.png"]),
        "intrinsics": str(files["k.txt"]),
        "block": "8",
        "frames": "9",
        "chunk": "5",
        "out": str(target),
    } | changed
    return [
        "generate",
        "--overwrite",
        *(x for name, value in options.items() if value for x in (f"--{name}", value)),
        *more,
    ]


def read_metrics(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def test_generate_from_an_image(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "video"
    assert main(arguments(files, out)) == 0
    assert {path.name for path in out.iterdir()} == OUTPUTS
    assert list(out.parent.iterdir()) == [out]
    metrics = read_metrics(out)
    assert metrics["size"] == [48, 64]
    assert metrics["frames"] == 9
    assert len(metrics["known_share"]) == len(metrics["points_written"]) == 9, "one latent for each frame"
    assert metrics["points_written"][0] == 48
    assert (
        sum(metrics["points_written"]) == metrics["points"] == len(LatentSpatialMemory.load(out / "memory.safetensors"))
    )
    assert metrics["loop_psnr"] >= metrics["codec_psnr"] - 1
    cameras = json.loads((out / "cameras.json").read_text())
    assert len(cameras["cam2world"]) == len(cameras["intrinsics"]) == 9
    with av.open(str(out / "video.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 9
    assert frames[0].shape == (48, 2 * 64 + 8, 3)
    result = capsys.readouterr()
    assert f"{out}: 9 frames" in result.out
    assert "generating" in result.err
    assert "9/9" in result.err


@pytest.mark.parametrize("more", [
    ("--trajectory", "orbit", "--amount", "10", "--radius", "2"),
    ("--trajectory", "pan", "--amount", "-15", "--one-way"),
    ("--trajectory", "dolly", "--amount", "0.4", "--integer-centers"),
    ("--trajectory", "truck", "--amount", "-0.2"),
    ("--trajectory", "spiral", "--radius", "3"),
    ("--worldscore", "push_in", "orbit_left", "--amount", "0.3"),
    ("--actions", "w*4 s*4", "--step", "0.1"),
    ("--actions", "l+w*8", "--turn", "2"),
])  # fmt: skip
def test_moves(files: dict[str, Path], tmp_path: Path, more: tuple[str, ...]) -> None:
    assert main(arguments(files, tmp_path / "out", *more, depth=str(files["depth.npy"]))) == 0
    metrics = read_metrics(tmp_path / "out")
    assert ("loop_psnr" in metrics) == (not {"--one-way", "--worldscore", "l+w*8"} & set(more))


def test_poses_from_a_file(files: dict[str, Path], tmp_path: Path) -> None:
    assert main(arguments(files, tmp_path / "out", "--poses", str(files["poses.txt"]), frames="")) == 0
    cameras = json.loads((tmp_path / "out" / "cameras.json").read_text())
    assert len(cameras["cam2world"]) == 13
    assert cameras["cam2world"][12][0][3] == pytest.approx(0.3), "world-to-camera in the file"


def path_of(out: Path) -> Cameras:
    return read_cameras_json(out / "cameras.json")


def test_actions_are_followed_and_trimmed(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(arguments(files, out, "--actions", "w*6 l*4", "--step", "0.1", "--turn", "2", frames="")) == 0
    assert (
        "mirage: note: --actions: using the first 9 of 11 cameras (frames must be 4 N + 1)\n" in capsys.readouterr().err
    )
    cameras = path_of(out)
    assert torch.equal(cameras.cam2world[1:], CameraController(cameras[0], step=0.1, turn=2).go("w*6 l*2").cam2world)
    assert main(arguments(files, out, "--actions", "w*10", frames="5")) == 0
    assert "note" not in capsys.readouterr().err
    assert path_of(out).centers[:, 2].tolist() == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


REALESTATE10K = "https://www.youtube.com/watch?v=x\n" + "".join(
    f"{n} 0.8 1.2 0.5 0.5 0 0  1 0 0 {0.02 * n - 1}  0 1 0 2  0 0 1 0\n" for n in range(6)
)


def test_intrinsics_of_a_camera_file(files: dict[str, Path], tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "re10k.txt"
    path.write_text(REALESTATE10K)
    assert main(arguments(files, out, "--cameras", str(path), frames="", intrinsics="")) == 0
    cameras = path_of(out)
    assert len(cameras) == 5
    # the file has fractions of the image of 50x70, which is cropped to 48x64
    assert cameras.size == (48, 64)
    torch.testing.assert_close(cameras.intrinsics[4], torch.tensor([[56.0, 0, 35], [0, 60, 25], [0, 0, 1]]))
    torch.testing.assert_close(cameras.centers[:, 0], torch.linspace(0, -0.08, 5))
    assert torch.equal(cameras.cam2world[0], torch.eye(4))
    assert main(arguments(files, out, "--cameras", str(path), frames="")) == 0
    torch.testing.assert_close(path_of(out).cam2world, cameras.cam2world)
    assert path_of(out).intrinsics[4].tolist() == [[60, 0, 35], [0, 60, 25], [0, 0, 1]], "--intrinsics takes precedence"


def test_the_path_of_an_earlier_video(files: dict[str, Path], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(arguments(files, first, "--trajectory", "spiral", "--radius", "2")) == 0
    cropped = np.asarray(Image.open(files["image.png"]))[:48, :64]
    Image.fromarray(cropped).save(files["image.png"])
    np.save(files["depth.npy"], np.load(files["depth.npy"])[:48, :64])
    more = ("--cameras", str(first / "cameras.json"))
    assert main(arguments(files, second, *more, depth=str(files["depth.npy"]), frames="", intrinsics="")) == 0
    assert torch.equal(path_of(second).intrinsics, path_of(first).intrinsics)
    torch.testing.assert_close(path_of(second).cam2world, path_of(first).cam2world, rtol=0, atol=1e-6)
    assert torch.equal(path_of(second).cam2world[8], path_of(second).cam2world[0])


def write_sample(path: Path, *, frames: bool = True) -> Cameras:
    """Nine views of 40x56 away from the origin; part of the first depth map is masked."""
    poses = torch.eye(4).repeat(9, 1, 1)
    poses[:, 0, 3], poses[:, 1, 3] = torch.linspace(0, 0.2, 9), 5
    cameras = Cameras(torch.tensor([[50.0, 0, 28], [0, 50, 20], [0, 0, 1]]), poses, (40, 56))
    masks = torch.ones(9, 40, 56, dtype=torch.bool)
    masks[0, :24, :24] = False
    images = torch.randint(0, 256, (1, 3, 40, 56), generator=torch.Generator().manual_seed(0)).byte()
    write_geometry(path, Geometry(torch.full((9, 40, 56), 2.0), cameras, images if frames else None, masks))
    return cameras


def test_a_geometry_file_needs_no_other_input(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, path = tmp_path / "out", tmp_path / "geometry.npz"
    cameras = write_sample(path)
    nothing = {"image": "", "depth": "", "intrinsics": "", "frames": ""}
    assert main(arguments(files, out, "--geometry", str(path), **nothing)) == 0
    assert torch.equal(path_of(out).cam2world, cameras.cam2world)
    assert read_metrics(out)["points_written"][0] == 5 * 7 - 9, "masked pixels are not written"
    assert main(arguments(files, out, "--geometry", str(path), "--trajectory", "pan", **nothing | {"frames": "5"})) == 0
    assert torch.equal(path_of(out).centers, cameras.centers[:1].expand(5, 3))
    assert main(arguments(files, out, "--geometry", str(path), "--integer-centers", **nothing)) == 0
    assert path_of(out).intrinsics[0, :2, 2].tolist() == [28.5, 20.5]
    write_sample(path, frames=False)
    Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(tmp_path / "black.png")
    nothing["image"] = str(tmp_path / "black.png")
    assert main(arguments(files, out, "--geometry", str(path), **nothing)) == 0
    assert "codec_psnr              -\n" in capsys.readouterr().out, "black is decoded exactly, so its PSNR is infinite"


def test_the_block_is_chosen_by_size_and_the_stand_in_is_named(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(files, tmp_path / "out", block="", frames="5")) == 0
    assert read_metrics(tmp_path / "out")["block"] == 4
    assert "Holes were filled smoothly by the built-in stand-in" in capsys.readouterr().out


def test_a_saved_memory_continues_along_a_file(files: dict[str, Path], tmp_path: Path) -> None:
    """The path of a file starts at the last camera of the earlier video."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(arguments(files, first, "--trajectory", "pan", "--amount", "10", "--one-way")) == 0
    for option, name in (("--cameras", "re10k.txt"), ("--poses", "poses.txt")):
        (tmp_path / "re10k.txt").write_text(REALESTATE10K)
        resume = ["generate", "--memory", str(first / "memory.safetensors"), "--chunk", "5"]  # the memory's block
        assert main([*resume, option, str(tmp_path / name), "--frames", "5", "--out", str(second), "--overwrite"]) == 0
        assert torch.equal(path_of(second).cam2world[0], path_of(first).cam2world[-1])


def test_the_same_seed_gives_the_same_bytes(files: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(arguments(files, tmp_path / name, seed="5")) == 0
    for name in OUTPUTS - {"metrics.json"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_output_replaces_that_of_an_earlier_run(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(arguments(files, out)) == 0
    (out / "note.txt").write_text("mine")
    assert main(arguments(files, out, frames="5")) == 0
    assert read_metrics(out)["frames"] == 5
    assert (out / "note.txt").read_text() == "mine"


BAD: list[tuple[dict[str, str], tuple[str, ...], str]] = [
    ({"image": "missing.png"}, (), "missing.png: no such file"),
    ({"image": ""}, (), "--depth: expected --image as well, got none"),
    ({"image": "", "depth": "", "intrinsics": ""}, (),
     "--image: expected a file (or use --scene, --geometry or --memory), got none"),
    ({"depth": "cut.png"}, (), "cut.png: expected a depth map, got a damaged file"),
    ({"depth": "image.png"}, (), "floats in meters, got an image of mode RGB"),
    ({"intrinsics": "poses.txt"}, (), "poses.txt: expected a 3x3 matrix or fx fy cx cy, got 208 numbers"),
    ({"frames": "10"}, (), "frames: expected 4 N + 1, got 10"),
    ({"chunk": "8"}, (), "chunk: expected 4 N + 1, got 8"),
    ({"block": "2"}, (), "--block: expected at least 4, got 2"),
    ({"block": "64"}, (), "image.png: expected at least 64x64 pixels, got 70 x 50; enlarge it with --height"),
    ({"fps": "0"}, (), "--fps: expected at least 1, got 0"),
    ({}, ("--trajectory", "scene"), "--trajectory scene: expected --scene, got none"),
    ({}, ("--scene", "motorcycle"), "--scene: expected no other input, got --image as well"),
    ({"poses": "poses.txt"}, ("--trajectory", "pan"), "--poses: expected one camera path, got --trajectory as well"),
    ({"poses": "poses.txt", "frames": "17"}, (), "poses.txt: expected at least 17 poses for 17 frames, got 13"),
    ({"poses": "cut.txt"}, (), "cut.txt:2: expected a pose of 4x4 or 3x4 numbers"),
    ({"poses": "poses.txt"}, ("--actions", "w"), "--poses: expected one camera path, got --actions as well"),
    ({"cameras": "poses.txt"}, ("--worldscore", "fixed"), "--cameras: expected one camera path, got --worldscore"),
    ({"cameras": "poses.txt", "intrinsics": ""}, (), "poses.txt: expected intrinsics in addition, because"),
    ({"cameras": "missing.txt"}, (), "missing.txt: no such file"),
    ({"cameras": "image.png"}, (), "image.png: expected cameras, got a file that is not text"),
    ({"cameras": "image.png", "intrinsics": ""}, (), "image.png: expected cameras, got a file that is not text"),
    ({"cameras": "short.txt", "frames": ""}, (), "short.txt: expected at least 5 poses for 5 frames, got 1"),
    ({"cameras": "bent.txt"}, (), "bent.txt:2: expected a camera without distortion (k1 = k2 = 0), got 0.1 and 0"),
    ({"geometry": "geometry.npz"}, (), "--geometry: expected no --depth, --intrinsics or --fov, got --depth as well"),
    ({"geometry": "geometry.npz", "depth": "", "intrinsics": ""}, (),
     "geometry.npz: expected either frames in the file or --image, got both"),
    ({"geometry": "bare.npz", "depth": "", "intrinsics": "", "image": ""}, (),
     "bare.npz: expected either frames in the file or --image, got none"),
    ({"geometry": "bare.npz", "depth": "", "intrinsics": "", "image": "long.png"}, (),
     "long.png: expected the aspect of the depth, 56 x 40 pixels, got 90 x 20"),
    ({"geometry": "cut.png", "depth": "", "intrinsics": "", "image": ""}, (),
     "cut.png: expected a geometry file, got a damaged file"),
    ({}, ("--actions", "w*16 x*2"), "--actions: expected keys among w s a d r f j l i k, got 'x' in 'x*2'"),
    ({}, ("--actions", ""), "--actions: expected keys and numbers of frames, such as 'w*16 l*24', got ''"),
    ({}, ("--actions", "w*4"), "--actions: expected at least 9 poses for 9 frames, got 5"),
    ({"frames": ""}, ("--actions", "w*2"), "--actions: expected at least 5 poses for 5 frames, got 3"),
    ({}, ("--actions", "w*8", "--step", "0"), "--step: expected a number above 0, got 0"),
    ({}, ("--actions", "w*8", "--one-way"), "--one-way: expected one of the paths scene, orbit, dolly"),
    ({}, ("--step", "1"), "--step: expected one of the paths actions, got orbit"),
    ({}, ("--trajectory", "truck", "--radius", "1"), "--radius: expected one of the paths orbit, spiral, got truck"),
    ({}, ("--trajectory", "truck", "--pose-convention", "c2w"), "--pose-convention: expected one of the"),
    ({}, ("--trajectory", "dolly", "--amount", "nan"), "--amount: expected a finite number, got nan"),
    ({}, ("--worldscore", "push_in", "fly"), "--worldscore: expected moves among fixed, move_left"),
    ({}, ("--worldscore", "push_in", "fixed", "push_in"),
     "--frames: expected a multiple of 3 (the number of moves) plus 1, got 9"),
    ({"depth": "empty.npy"}, (), "empty.npy: expected a valid depth (above 0 and below 1e12) somewhere, got none"),
    ({"out": "image.png"}, (), "--out: expected a folder, got the file "),
    ({"out": "image.png/out"}, (), "image.png"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "more", "message"), BAD, ids=[b[2][:48] for b in BAD])
def test_errors_are_one_line_and_leave_no_files(
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str],
    more: tuple[str, ...],
    message: str,
) -> None:
    (tmp_path / "cut.png").write_bytes(files["depth.png"].read_bytes()[:400])
    (tmp_path / "cut.txt").write_text(files["poses.txt"].read_text()[:150])
    Image.new("RGB", (90, 20)).save(tmp_path / "long.png")
    np.save(tmp_path / "empty.npy", np.zeros((50, 70), np.float32))
    (tmp_path / "short.txt").write_text("\n".join(REALESTATE10K.splitlines()[:2]))
    (tmp_path / "bent.txt").write_text(REALESTATE10K.replace("0.5 0 0", "0.5 0.1 0"))
    write_sample(tmp_path / "geometry.npz")
    write_sample(tmp_path / "bare.npz", frames=False)
    before = sorted(path.name for path in tmp_path.iterdir())
    text = ("frames", "chunk", "block", "fps")
    options = {name: value if name in text or not value else str(tmp_path / value) for name, value in changed.items()}
    assert main(arguments(files, tmp_path / "out", *more, **options)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("mirage: error: ")
    assert message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("argv", [["generate", "--block", "x"], ["generate", "--scene", "moon"], ["play"], []])
def test_wrong_options_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_saved_memory_continues(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second video starts at the last camera of the first one, and the memory knows its views."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(arguments(files, first, "--trajectory", "pan", "--amount", "30", "--one-way")) == 0
    kept = (first / "memory.safetensors").read_bytes()
    resume = [
        "generate",
        "--overwrite",
        "--memory",
        str(first / "memory.safetensors"),
        "--block",
        "8",
        "--frames",
        "9",
        "--chunk",
        "5",
    ]
    resume += ["--trajectory", "pan", "--amount", "-30", "--one-way"]
    assert main([*resume, "--out", str(second)]) == 0
    assert (first / "memory.safetensors").read_bytes() == kept
    before, after = read_metrics(first), read_metrics(second)
    assert min(after["known_share"]) > 0.95
    assert after["points"] == before["points"] + sum(after["points_written"])
    paths = [json.loads((out / "cameras.json").read_text())["cam2world"] for out in (first, second)]
    assert paths[1][0] == paths[0][-1]
    np.testing.assert_allclose(paths[1][-1], paths[0][0], atol=1e-5)
    stamps = LatentSpatialMemory.load(second / "memory.safetensors").history.stamps
    assert len(stamps.unique()) == len(stamps) == 6
    # an image starts at the origin of the memory, which knows its view
    assert main(arguments(files, tmp_path / "third", memory=str(first / "memory.safetensors"))) == 0
    assert read_metrics(tmp_path / "third")["points_written"][0] == 0
    capsys.readouterr()
    wrong = [*resume, "--out", str(tmp_path / "fourth")]
    wrong[wrong.index("8")] = "16"
    assert main(wrong) == 2
    assert "--memory: expected latents of codec" in capsys.readouterr().err
    (first / "memory.safetensors").write_bytes(kept[:-9])
    assert main([*resume, "--out", str(tmp_path / "fourth")]) == 2
    assert "expected a memory file, got a damaged file" in capsys.readouterr().err
    assert not (tmp_path / "fourth").exists()


@pytest.mark.parametrize(("block", "codec", "right"), [(16, 24.4, 17.6), (8, 29.8, 18.9)])
def test_the_motorcycle(tmp_path: Path, block: int, codec: float, right: float) -> None:
    """To the real right camera and back: PSNR of the codec, of the memory's view and of the loop."""
    out = tmp_path / "out"
    assert main(["generate", "--scene", "motorcycle", "--block", str(block), "--frames", "97", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == OUTPUTS | {"right_view.png", "right_known.png", "right_real.png"}
    metrics = read_metrics(out)
    assert metrics["codec_psnr"] == pytest.approx(codec, abs=0.05)
    assert metrics["unmoved_psnr"] == pytest.approx(12.6, abs=0.05)
    assert metrics["right_view_psnr"] >= right
    assert metrics["loop_psnr"] >= metrics["codec_psnr"] - 1
    assert sum(metrics["points_written"][1:]) > 0
    assert min(metrics["second_trip_known_share"]) >= 0.99
    # the metric, computed again from the image files
    view, known, real = (np.asarray(Image.open(out / f"right_{name}.png")) / 255 for name in ("view", "known", "real"))
    error = ((view - real) ** 2)[known == 1].mean()
    assert -10 * np.log10(error) == pytest.approx(metrics["right_view_psnr"], abs=0.05)
