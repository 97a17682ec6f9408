# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage render``: what a memory knows, from any cameras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import torch
from layouts import make_frames
from PIL import Image

from mirage.cameras import read_cameras_json, write_cameras
from mirage.cli.main import main
from mirage.data.geometry import Geometry, write_geometry
from mirage.io.files import read_depth, read_image
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec
from mirage.rollout import read_memory
from mirage_kernels import Cameras

OUTPUTS = {"images", "depth", "video.mp4", "contact_sheet.png", "cameras.json", "report.json"}


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    layouts.write_folder(folder / "recording", make_frames(3))
    assert main(["remember", str(folder / "recording"), "--out", str(folder / "m.safetensors"), "--block", "8"]) == 0
    return folder / "m.safetensors"


def render(memory: Path, out: Path, *options: str) -> int:
    return main(["render", "--memory", str(memory), "--out", str(out), *options])


def read_report(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def recorded(memory: Path) -> Path:
    return memory.with_name("m_cameras.json")


def test_the_recorded_cameras_show_what_was_recorded(
    memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    assert render(memory, out, "--cameras", str(recorded(memory))) == 0
    assert {path.name for path in out.iterdir()} == OUTPUTS
    assert [path.name for path in sorted((out / "images").iterdir())] == ["00000.png", "00001.png", "00002.png"]
    report, cameras = read_report(out), read_cameras_json(recorded(memory))
    assert report["views"] == 3
    assert report["settings"]["size"] == [48, 64]
    assert torch.equal(read_cameras_json(out / "cameras.json").cam2world, cameras.cam2world)
    n = min(range(3), key=lambda k: report["known_share"][k])  # one with holes
    view = read_memory(LatentSpatialMemory.load(memory), cameras[n].rescale((6, 8)), DctCodec(8))
    assert report["known_share"][n] == pytest.approx(view.mask.float().mean().item(), abs=1e-6)
    decoded = DctCodec(8).decode(view.latents[None])[0, :, 0]
    image, depth = read_image(out / "images" / f"0000{n}.png"), read_depth(out / "depth" / f"0000{n}.png")
    mask = view.mask[0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert mask.any()
    assert not mask.all()
    assert (image - decoded)[:, mask].abs().max() <= 0.5 / 255 + 1e-6
    assert set((image[:, ~mask] * 255).round().unique().tolist()) == {64.0, 102.0}  # the checkerboard
    cells = torch.where(view.mask, view.depth, 0)[0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert (depth - cells).abs().max() <= 0.0005 + 1e-6
    assert f"{out}: 3 views of 64x48, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--trajectory", "pan", "--amount", "90", "--frames", "6"], 6),
        (["--actions", "w*2 l*4"], 7),
        (["--actions", "w*2 l*4", "--frames", "2"], 2),
        (["--worldscore", "push_in", "pan_left", "--frames", "5"], 5),
        (["--frames", "3"], 3),
    ],
)
def test_paths_begin_at_the_last_camera(options: list[str], count: int, memory: Path, tmp_path: Path) -> None:
    """The number of views is not bound to 4 N + 1."""
    assert render(memory, tmp_path / "out", *options) == 0
    cameras = read_cameras_json(tmp_path / "out" / "cameras.json")
    assert len(cameras) == count
    assert torch.equal(cameras.cam2world[0], read_cameras_json(recorded(memory)).cam2world[-1])
    assert read_report(tmp_path / "out")["known_share"][0] > 0.5


def test_files_are_in_the_coordinates_of_the_memory_or_from_the_last_camera(memory: Path, tmp_path: Path) -> None:
    cameras = read_cameras_json(recorded(memory))
    lines = [json.dumps(pose.tolist()) for pose in cameras.cam2world[:2]]
    (tmp_path / "poses.txt").write_text("\n".join(lines))
    poses = ["--poses", str(tmp_path / "poses.txt"), "--pose-convention", "c2w"]
    write_geometry(tmp_path / "geometry.npz", Geometry(torch.ones(3, 48, 64), cameras))
    for name, options in {
        "poses": poses,
        "text": ["--cameras", *poses[1:]],
        "npz": ["--cameras", str(tmp_path / "geometry.npz"), "--frames", "2"],
    }.items():
        assert render(memory, tmp_path / name, *options) == 0
        found = read_cameras_json(tmp_path / name / "cameras.json")
        torch.testing.assert_close(found.cam2world, cameras.cam2world[:2])
        torch.testing.assert_close(found.intrinsics, cameras.intrinsics[:2])
    assert render(memory, tmp_path / "moved", *poses, "--from-last") == 0
    moved = read_cameras_json(tmp_path / "moved" / "cameras.json")
    assert torch.equal(moved.cam2world[0], cameras.cam2world[-1])


def test_cameras_of_other_programs(memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A COLMAP folder, a transforms.json and a TUM trajectory, whose poses need no --pose-convention."""
    frames, cameras = make_frames(3), read_cameras_json(recorded(memory))
    trajectory = tmp_path / "trajectory.txt"
    poses = [f"{layouts.text(p[:3, 3])} {layouts.text(layouts.quaternion(p[:3, :3]))}" for p in frames.poses]
    trajectory.write_text("\n".join(f"{n} {pose}" for n, pose in enumerate(poses)))
    for path, order in (
        (layouts.write_colmap(tmp_path / "colmap", frames, binary=True), [0, 1]),
        (layouts.write_transforms(tmp_path / "nerfstudio", frames) / "transforms.json", [2, 1]),
        (trajectory, [0, 1]),
    ):
        out = tmp_path / f"out-{path.name}"
        assert render(memory, out, "--cameras", str(path), "--frames", "2") == 0
        found = read_cameras_json(out / "cameras.json")
        torch.testing.assert_close(found.cam2world, cameras.cam2world[order])
        torch.testing.assert_close(found.intrinsics, cameras.intrinsics[order])
    assert "--pose-convention" not in capsys.readouterr().err


def test_the_size_keeps_the_shape_of_pixels(memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        ("--height", "96"): (96, 128),
        ("--width", "30"): (24, 32),
        ("--height", "48", "--width", "48"): (48, 48),
    }
    for n, (options, size) in enumerate(expected.items()):
        out = tmp_path / str(n)
        assert render(memory, out, *options, "--frames", "1") == 0
        cameras = read_cameras_json(out / "cameras.json")
        assert cameras.size == size
        with Image.open(out / "images" / "00000.png") as image:
            assert image.size == size[::-1]
        k = cameras.intrinsics[0]
        assert k[0, 0].item() / k[1, 1].item() == pytest.approx(60 / 61)
    capsys.readouterr()
    wide = ("--height", "48", "--width", "96", "--cameras", str(recorded(memory)))
    assert render(memory, tmp_path / "wide", *wide) == 0
    assert "fx is 90 and fy 61 at 96x48: the views are stretched" in capsys.readouterr().err


def test_depth_beyond_a_png_is_noticed_and_kept_by_npy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = Cameras(torch.tensor([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]]), torch.eye(4), (6, 8))
    memory = LatentSpatialMemory(48, codec="dct-8")
    memory.write(torch.ones(48, 1, 6, 8), camera, torch.full((1, 6, 8), 70.0))
    memory.save(tmp_path / "m.safetensors")
    assert render(tmp_path / "m.safetensors", tmp_path / "png", "--frames", "1") == 0
    assert "1 depth maps have depth beyond 65.535 m" in capsys.readouterr().err
    assert read_depth(tmp_path / "png" / "depth" / "00000.png").max() == 0
    assert render(tmp_path / "m.safetensors", tmp_path / "npy", "--frames", "1", "--depth-format", "npy") == 0
    assert np.load(tmp_path / "npy" / "depth" / "00000.npy").min() == pytest.approx(70)
    far = Cameras(camera.intrinsics, torch.tensor([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]), (6, 8))
    write_cameras(tmp_path / "away.json", far)
    assert render(tmp_path / "m.safetensors", tmp_path / "away", "--cameras", str(tmp_path / "away.json")) == 0
    assert "the memory shows nothing in any view" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from-last"], "--from-last: expected --cameras or --poses, got the path orbit"),
        (["--frames", "0"], "--frames: expected at least 1, got 0"),
        (["--fps", "0"], "--fps: expected at least 1, got 0"),
        (["--height", "4"], "--height: expected at least 8, got 4"),
        (["--block", "16"], "expected latents of codec 'dct-16', got latents of 'dct-8'; change --block"),
        (["--cameras", "missing.json"], "missing.json: no such file"),
        (["--memory", "missing.safetensors"], "missing.safetensors: no such file"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], message: str, memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(memory, tmp_path / "out", *options) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("mirage: "))
    assert message in line
    assert not (tmp_path / "out").exists()


def test_memories_that_cannot_be_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for codec, message in (("dct-8", "with none"), ("wan-48-16", "pass the --model FOLDER that it was made with")):
        LatentSpatialMemory(48, codec=codec).save(tmp_path / "m.safetensors")
        assert render(tmp_path / "m.safetensors", tmp_path / "out") == 2
        assert message in capsys.readouterr().err


def test_a_folder_is_replaced_only_if_it_was_rendered_and_overwrite_is_set(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert render(memory, out, "--frames", "3") == 0
    assert render(memory, out, "--frames", "2") == 2
    assert "with rendered views; --overwrite replaces them" in capsys.readouterr().err
    assert render(memory, out, "--frames", "2", "--overwrite") == 0
    assert len(list((out / "images").iterdir())) == 2  # nothing of the first run is left

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = sorted(path.name for path in out.rglob("*"))
    monkeypatch.setattr("mirage.cli.render.write_image", interrupt)
    assert render(memory, out, "--overwrite") == 130
    assert render(memory, tmp_path / "other") == 130
    assert sorted(path.name for path in out.rglob("*")) == before
    assert not (tmp_path / "other").exists()
    recording = memory.parent / "recording"  # images/ and depth/ of somebody
    assert render(memory, recording, "--overwrite") == 2
    assert "with other files" in capsys.readouterr().err
    assert len(list((recording / "images").iterdir())) == 3


def test_results_are_moved_as_one(memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing move leaves the earlier results, and what a killed process left does not stop a rerun."""
    out, options = tmp_path / "out", ("--cameras", str(recorded(memory)), "--overwrite")
    assert render(memory, out, *options) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if path.name == "contact_sheet.png" and path.parent.name.endswith(".partial"):
            raise OSError("cannot be moved")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", fail)
        assert render(memory, out, *options, "--frames", "1") == 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / ".render.partial" / "old").mkdir(parents=True)  # killed while the results were moved
    (out / "report.json").unlink()
    assert render(memory, out, *options) == 0
    assert {path.name for path in out.iterdir()} == OUTPUTS
