# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage worldscore``: the folders that the benchmark's scorer reads."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mirage.cameras import read_worldscore, worldscore_path
from mirage.cli import worldscore as cli
from mirage.cli.main import main
from mirage.cli.output_lock import OutputLock
from mirage.errors import DataError
from mirage.evaluation.worldscore import read_object_mask, read_worldscore_dataset
from mirage.rollout import Chunk, RolloutSession
from mirage_kernels import Cameras

SAMPLE: dict[str, Any] = {
    "visual_movement": "static",
    "visual_style": "photorealistic",
    "scene_type": "indoor",
    "style": "photorealistic",
    "image": "./static/photorealistic/images/dining_spaces/000.jpg",
    "prompt_list": ["A table.", "A window", "A door."],
    "content_list": [["table"], ["window"], ["door"]],
    "camera_path": ["push_in", "pan_left"],
}
DYNAMIC: dict[str, Any] = {
    "visual_movement": "dynamic",
    "visual_style": "stylized",
    "motion_type": "fluid",
    "style": "watercolor",
    "image": "./dynamic/stylized/images/fluid/001.jpg",
    "prompt": "A river.",
    "objects": ["river", "boat"],
    "masks": ["./dynamic/stylized/masks/fluid/001/000.png", "./dynamic/stylized/masks/fluid/001/001.png"],
    "camera_path": ["fixed"],
}


def sample(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(SAMPLE) | changes


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The file of three still scenes, beside one with moving objects, in the layout of the data set."""
    names = ["dining_spaces/000", "dining_spaces/001", "bath rooms/000"]
    entries = [sample(image=f"./static/photorealistic/images/{name}.jpg") for name in names]
    entries[1]["camera_path"] = ["orbit_left"]
    rng = np.random.default_rng(0)
    for name in names:
        image = tmp_path / "data" / "static" / "photorealistic" / "images" / f"{name}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(image)
    file = tmp_path / "data" / "static" / "static.json"
    file.write_text(json.dumps(entries))
    image = tmp_path / "data" / DYNAMIC["image"]
    image.parent.mkdir(parents=True)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(image)
    for name, columns in zip(DYNAMIC["masks"], (slice(0, 20), slice(40, 60)), strict=True):
        mask = np.zeros((40, 60), np.uint8)
        mask[:, columns] = 1 if columns.start else 255  # the scorer takes what is not 0
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "data" / name)
    (tmp_path / "data" / "dynamic" / "dynamic.json").write_text(json.dumps([DYNAMIC]))
    return file


def worldscore(dataset: Path, out: Path, *options: str) -> int:
    size = ["--height=32", "--width=48", "--block=8", "--frames=5", "--chunk=3", "--focal-length=40"]
    return main(["worldscore", f"--dataset={dataset}", f"--out={out}", *size, *options])


def results(out: Path) -> list[str]:
    base = out / "worldscore_output" / "static" / "photorealistic" / "indoor"
    return sorted(str(path.relative_to(base)) for path in base.glob("*/*"))


def test_a_result_has_the_published_layout(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str | None] = []
    step = RolloutSession.step

    def keep(self: RolloutSession, cameras: Cameras, prompt: str | None = None, **more: Any) -> Chunk:
        prompts.append(prompt)
        return step(self, cameras, prompt, **more)

    monkeypatch.setattr(RolloutSession, "step", keep)
    out = tmp_path / "runs"
    assert worldscore(dataset, out) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'worldscore_output'}: 3 samples generated, 0 were finished\n"
    assert results(out) == ["bath rooms/000", "dining_spaces/000", "dining_spaces/001"]
    folder = out / "worldscore_output" / "static" / "photorealistic" / "indoor" / "dining_spaces" / "000"
    names = {"frames", "camera_data.json", "image_data.json", "input_image.png"}
    assert {path.name for path in folder.iterdir()} == names
    frames = sorted(path.name for path in (folder / "frames").iterdir())
    assert frames == [f"{number:03}.png" for number in range(9)]  # 2 moves of 5 frames that share one
    data = json.loads((folder / "image_data.json").read_text())
    expected = SAMPLE | {"num_scenes": 2, "total_frames": 9, "anchor_frame_idx": [0, 4, 8]}
    assert data == expected
    assert prompts[:4] == ["A window. photorealistic"] * 2 + ["A door. photorealistic"] * 2
    image = np.asarray(Image.open(folder / "input_image.png"))
    assert image.shape == (32, 48, 3)
    first = np.asarray(Image.open(folder / "frames" / "000.png")).astype(int)
    assert np.abs(first - image).mean() < 45  # the codec keeps the lowest frequencies of the noise


def test_moving_objects_are_kept_out_of_the_memory(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, masks = list[str | None](), list[torch.Tensor | None]()
    step, start = RolloutSession.step, RolloutSession.__init__

    def keep(self: RolloutSession, cameras: Cameras, prompt: str | None = None, **more: Any) -> Chunk:
        assert (cameras.cam2world == torch.eye(4, dtype=torch.float64)).all()
        prompts.append(prompt)
        masks.append(more["exclude"])
        return step(self, cameras, prompt, **more)

    def begin(self: RolloutSession, *args: Any, **options: Any) -> None:
        masks.append(options["exclude"])
        start(self, *args, **options)

    monkeypatch.setattr(RolloutSession, "step", keep)
    monkeypatch.setattr(RolloutSession, "__init__", begin)
    out = tmp_path / "runs"
    assert worldscore(dataset.parents[1] / "dynamic" / "dynamic.json", out) == 0
    (folder,) = (out / "worldscore_output" / "dynamic" / "stylized" / "fluid").iterdir()
    assert folder.name == "001"
    assert {path.name for path in folder.iterdir()} == {"frames", "image_data.json", "input_image.png"}
    assert sorted(path.name for path in (folder / "frames").iterdir()) == [f"{n:03}.png" for n in range(5)]
    assert json.loads((folder / "image_data.json").read_text()) == DYNAMIC | {"num_scenes": 1, "total_frames": 5}
    assert prompts == ["A river. watercolor"] * 2
    first, *others = [mask for mask in masks if mask is not None]
    assert first.shape == (32, 48)
    assert first[:, :16].all()
    assert first[:, 32:].all()
    assert not first[:, 17:31].any()
    assert [mask.shape for mask in others] == [(2, 32, 48)] * 2
    assert all((mask == first).all() for mask in others)


def test_a_folder_has_both_kinds_of_samples(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = dataset.parents[1], tmp_path / "runs"
    assert worldscore(folder, out) == 0
    assert capsys.readouterr().out == f"{out / 'worldscore_output'}: 4 samples generated, 0 were finished\n"
    monkeypatch.chdir(folder)
    assert worldscore(Path("."), out) == 0
    assert capsys.readouterr().out.endswith("0 samples generated, 4 were finished\n")
    assert worldscore(out, out) == 2
    expected = f"{out}: expected static/static.json or dynamic/dynamic.json in the folder of a data set of WorldScore"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "RGB", "I;16"])
def test_masks_of_all_modes(tmp_path: Path, mode: str) -> None:
    inside = np.zeros((4, 6), bool)
    inside[1:3, 2:5] = True
    if mode in ("RGBA", "LA"):  # the background is transparent black
        channels = len(mode)
        image = Image.fromarray(np.where(inside[..., None], 255, 0).astype(np.uint8).repeat(channels, -1), mode)
    elif mode == "P":
        image = Image.fromarray(inside.astype(np.uint8), "P")
        image.putpalette([255, 255, 255, 0, 0, 0])  # a white background
    elif mode == "I;16":
        image = Image.fromarray(inside.astype(np.uint16) * 3)
    else:
        image = Image.fromarray(inside.astype(np.uint8) * 255).convert(mode)
    image.save(tmp_path / "mask.png")
    assert (read_object_mask(tmp_path / "mask.png").numpy() == inside).all()


def test_masks_of_everything_are_a_warning(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in DYNAMIC["masks"]:
        Image.fromarray(np.full((40, 60), 255, np.uint8)).save(dataset.parents[1] / name)
    assert worldscore(dataset.parents[1] / "dynamic" / "dynamic.json", tmp_path / "runs") == 0
    assert "the masks cover the whole image, so that nothing of it is remembered" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["[]", "null", '"x"', "", "one frame less", "no file"])
def test_damaged_results_are_named(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    out = tmp_path / "runs"
    assert worldscore(dataset, out, "--shard=1/3") == 0
    (folder,) = (path.parent for path in out.rglob("image_data.json"))
    if damage == "one frame less":
        (folder / "frames" / "003.png").unlink()
    elif damage == "no file":
        (folder / "image_data.json").unlink()
    else:
        (folder / "image_data.json").write_text(damage)
    capsys.readouterr()
    assert worldscore(dataset, out, "--shard=1/3") == 2
    error = capsys.readouterr().err
    assert str(folder) in error
    assert "remove" in error or "use another --out" in error


def test_results_of_other_settings_are_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert worldscore(dataset, out, "--shard=1/3") == 0
    assert worldscore(dataset.parents[1], out, "--seed=3", "--speed=2") == 2
    assert "expected results of these settings, got some of other seed, speed; use another --out" in (
        capsys.readouterr().err
    )
    assert worldscore(dataset.parents[1], out) == 0, "other shards and parts of the data set are no other settings"


def test_settings_that_make_no_result_are_not_kept(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    assert worldscore(dataset, out, "--height=30") == 2
    assert worldscore(dataset, out, "--shard=1/3") == 0


def test_processes_leave_each_other_their_samples(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    folder = out / "worldscore_output" / "static" / "photorealistic" / "indoor" / "dining_spaces" / "000"
    folder.parent.mkdir(parents=True)
    lock = OutputLock(folder)
    try:
        assert worldscore(dataset, out) == 0
    finally:
        lock.release()
    captured = capsys.readouterr()
    assert captured.out.endswith("2 samples generated, 0 were finished\n")
    assert "1 samples are being generated by other processes" in captured.err
    assert results(out) == ["bath rooms/000", "dining_spaces/001"]
    assert worldscore(dataset, out) == 0


@pytest.mark.parametrize("damage", ["missing", "aspect", "text"])
def test_a_broken_mask_is_named(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    mask = dataset.parents[1] / DYNAMIC["masks"][1]
    expected = {
        "missing": "no such file",
        "aspect": "expected the aspect of the image, 60 x 40, got 60 x 60 pixels",
        "text": "expected an image",
    }
    if damage == "aspect":
        Image.fromarray(np.zeros((60, 60), np.uint8)).save(mask)
    elif damage == "text":
        mask.write_bytes(b"no image")
    else:
        mask.unlink()
    assert worldscore(dataset.parents[1], tmp_path / "runs") == 2
    error = capsys.readouterr().err
    assert f"{mask}: {expected[damage]}" in error
    assert "1 of 4 samples could not be generated" in error
    assert len(results(tmp_path / "runs")) == 3
    assert not (tmp_path / "runs" / "worldscore_output" / "dynamic" / "stylized" / "fluid" / "001").exists()


def test_the_cameras_are_those_of_the_benchmark(dataset: Path, tmp_path: Path) -> None:
    assert worldscore(dataset, tmp_path / "runs", "--speed=0.5", "--shard=1/3") == 0
    assert results(tmp_path / "runs") == ["dining_spaces/000"]
    (file,) = (tmp_path / "runs").rglob("camera_data.json")
    data = json.loads(file.read_text())
    assert (data["focal_length"], data["scale"], len(data["cameras"]), len(data["cameras_interp"])) == (40, 0.5, 3, 9)
    assert data["cameras_interp"][0] == np.diag([-1.0, 1, -1, 1]).tolist()  # Blender's axes in PyTorch3D's
    assert data["cameras"] == data["cameras_interp"][::4]
    read = read_worldscore(file, (32, 48))
    start = Cameras(read.intrinsics[0], torch.eye(4), (32, 48))
    assert (read.cam2world - worldscore_path(start, SAMPLE["camera_path"], 5, speed=0.5).cam2world).abs().max() < 1e-6


def test_chunks_are_as_long_as_in_training(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, load, lengths = RolloutSession.step, cli.load_model, list[int]()
    monkeypatch.setattr(cli, "load_model", lambda *given: load(*given)._replace(chunk=3))
    monkeypatch.setattr(RolloutSession, "step", lambda s, c, *a, **k: (lengths.append(len(c)), step(s, c, *a, **k))[1])
    options = ["--height=32", "--width=48", "--block=8", "--frames=5", "--shard=1/3"]
    assert main(["worldscore", f"--dataset={dataset}", f"--out={tmp_path / 'runs'}", *options]) == 0
    assert lengths == [2, 2, 2, 2]


def test_an_interrupted_command_goes_on(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, count = RolloutSession.step, 0

    def fail(self: RolloutSession, cameras: Cameras, prompt: str | None = None, **more: Any) -> Chunk:
        nonlocal count
        count += 1
        if count == 6:  # in the middle of the second sample
            raise KeyboardInterrupt
        return step(self, cameras, prompt, **more)

    out = tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr(RolloutSession, "step", fail)
        assert worldscore(dataset, out) == 130
    assert results(out) == ["dining_spaces/000"]
    finished = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    leftover = out / "worldscore_output" / "static" / "photorealistic" / "indoor" / "dining_spaces" / ".001.partial"
    (leftover / "frames").mkdir(parents=True)  # of a process that was killed
    capsys.readouterr()
    assert worldscore(dataset, out) == 0
    assert capsys.readouterr().out.endswith("2 samples generated, 1 were finished\n")
    assert results(out) == ["bath rooms/000", "dining_spaces/000", "dining_spaces/001"]
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert worldscore(dataset, out, "--frames=3") == 2
    assert "expected a result of 5 frames, got one of 9; use another --out" in capsys.readouterr().err


def test_a_broken_image_does_not_stop_the_others(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset.parent / "photorealistic" / "images" / "dining_spaces" / "001.jpg").write_bytes(b"no image")
    assert worldscore(dataset, tmp_path / "runs", "--shard=2/3") == 2
    assert "expected an image" in capsys.readouterr().err
    assert worldscore(dataset, tmp_path / "runs", "--shard=3/3") == 0
    assert results(tmp_path / "runs") == ["bath rooms/000"]
    (dataset.parent / "photorealistic" / "images" / "dining_spaces" / "000.jpg").write_bytes(b"no image")
    assert worldscore(dataset, tmp_path / "others") == 2
    assert results(tmp_path / "others") == ["bath rooms/000"], "the first image is not needed for the others"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"camera_path": ["jump"]}, "camera_path: expected moves among fixed,"),
        ({"camera_path": []}, "camera_path: expected a list of texts, got []"),
        ({"image": "../../a/b.jpg"}, "image: expected a path in the data set"),
        ({"image": "/etc/a/b.jpg"}, "image: expected a path in the data set"),
        ({"visual_style": ".."}, "expected names of folders, got '..'"),
        ({"scene_type": "a/b"}, "expected names of folders, got 'a/b'"),
        ({"prompt_list": [1]}, "prompt_list: expected a list of texts"),
        ({"style": None}, "style: expected a text, got None"),
        ({"visual_movement": "slow"}, "visual_movement: expected static or dynamic, got slow"),
        (DYNAMIC | {"prompt": ["a"]}, "prompt: expected a text, got ['a']"),
        (DYNAMIC | {"masks": []}, "masks: expected a list of texts, got []"),
        (DYNAMIC | {"masks": ["/etc/passwd"]}, "masks: expected a path in the data set, got /etc/passwd"),
        (DYNAMIC | {"motion_type": ".."}, "expected names of folders, got '..'"),
        (DYNAMIC | {"camera_path": None}, "camera_path: expected a list of texts, got None"),
    ],
)
def test_what_is_no_sample_is_named(tmp_path: Path, changes: dict[str, Any], error: str) -> None:
    file = tmp_path / "static.json"
    file.write_text(json.dumps([sample(image="./a/x/1.jpg"), sample(**changes)]))
    with pytest.raises(DataError) as raised:
        read_worldscore_dataset(file)
    assert str(raised.value).startswith(f"{file}: entry 1: {error}")


def test_two_samples_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "static.json"
    file.write_text(json.dumps([SAMPLE, SAMPLE]))
    with pytest.raises(DataError, match=r"expected samples of different names, got .*dining_spaces/000 twice"):
        read_worldscore_dataset(file)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("--shard=0/3", "--shard: expected I/N with I from 1 to N, got '0/3'"),
        ("--shard=4/3", "--shard: expected I/N with I from 1 to N, got '4/3'"),
        ("--frames=1", "--frames: expected 2 to 1000000, got 1"),
        ("--speed=0", "--speed: expected a number above 0"),
        ("--images=nowhere", "--images: expected a folder with"),
        ("--prompt=x", "--prompt: expected none, because the data set has the prompts, got 'x'"),
    ],
)
def test_wrong_options(
    dataset: Path, tmp_path: Path, option: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert worldscore(dataset, tmp_path / "runs", option) == 2
    assert error in capsys.readouterr().err
