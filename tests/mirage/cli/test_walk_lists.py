# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lists of walks: what a line may say, and ``mirage generate --list`` by one process or several."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mirage.cli.generate import add_line_options
from mirage.cli.job_list import Job, read_jobs
from mirage.cli.main import build_parser, main
from mirage.cli.output_lock import OutputLock
from mirage.errors import DataError
from mirage.rollout import RolloutSession

COMMON = ["--frames=9", "--chunk=5", "--block=8", "--out=walks"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images beside the list, in a folder that is not the current one."""
    rng, home = np.random.default_rng(0), tmp_path / "set"
    (home / "images").mkdir(parents=True)
    for name in ("room", "hall"):
        Image.fromarray(rng.integers(0, 255, (32, 48, 3), np.uint8)).save(home / "images" / f"{name}.png")
    np.save(home / "depth.npy", np.full((32, 48), 2, np.float32))
    (home / "k.txt").write_text("40 40 24 16")
    monkeypatch.chdir(tmp_path)
    return home


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "walks.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    )
    return path


def read(path: Path, *options: str) -> list[Job]:
    return read_jobs(path, build_parser().parse_args(["generate", *options]), add_line_options)


ROOM = {"image": "images/room.png", "depth": "depth.npy", "intrinsics": "k.txt"}


def test_a_line_has_options_of_the_command(folder: Path) -> None:
    path = write(folder, {**ROOM, "trajectory": "pan", "amount": 30, "one-way": True}, "", {
        "name": "b.2", "image": "images/hall.png", "worldscore": ["push_in", "pan_left"], "frames": 17, "fov": 70,
        "save_frames": False, "intrinsics": "1,1,0.5,0.5",
    })  # fmt: skip
    first, second = read(path, "--frames=5", "--fps=8")
    assert [first.name, second.name] == ["0001-room", "b.2"]
    assert first.args.image == folder / "images/room.png"
    assert Path(first.args.intrinsics) == folder / "k.txt", "a file beside the list"
    assert (first.args.trajectory, first.args.amount, first.args.one_way, first.args.frames) == ("pan", 30, True, 5)
    assert (second.args.frames, second.args.fps, second.args.save_frames) == (17, 8, False)
    assert second.args.worldscore == ["push_in", "pan_left"]
    assert second.args.intrinsics == "1,1,0.5,0.5"
    assert first.args.one_way
    (walk,) = read(write(folder, {**ROOM, "one_way": False, "prompt": "a\u2028b"}), "--one-way")
    assert not walk.args.one_way, "the line wins"
    assert walk.args.prompt == "a\u2028b"
    assert second.args.amount is None, "that of the line before is not kept"


@pytest.mark.parametrize(("line", "message"), [
    ("{", "expected a JSON object, got {"),
    ("[1]", "expected a JSON object, got [1]"),
    ({"image": "a.png", "model": "x"}, "model: expected name or an option among "),
    ({"image": "a.png", "out": "x"}, "out: expected name or an option among "),
    ({"image": "a.png", "frames": "many"}, "argument --frames: invalid int value: 'many'"),
    ({"image": "a.png", "frames": None}, "--frames: expected a text or a number, got None"),
    ({"image": "a.png", "frames": [5, 9]}, "unrecognized arguments: 9"),
    ({"image": "a.png", "one_way": 1}, "--one-way: expected true or false, got 1"),
    ({"image": {"a": 1}}, "--image: expected a text or a number, got {'a': 1}"),
    ({"image": "a.png", "trajectory": "fly"}, "argument --trajectory: invalid choice: 'fly'"),
    ({"image": "a.png", "name": "../a"}, "name: expected letters, digits, '_', '-' and '.', got '../a'"),
    ({"image": "a.png", "name": 3}, "name: expected letters, digits"),
    ({"image": "a.png", "name": "空" * 90}, "name: expected letters, digits"),
    ('{"image": "a.png", "image": "b.png"}', "image: expected it once, got it twice"),
    ("[" * 100_000, "expected a JSON object, got [[["),
])  # fmt: skip
def test_a_wrong_line_is_named(folder: Path, line: Any, message: str) -> None:
    path = write(folder, ROOM, line)
    with pytest.raises(DataError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}:2: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_lists_that_hold_nothing(folder: Path) -> None:
    with pytest.raises(DataError, match="expected a walk on each line, got none"):
        read(write(folder, "", " "))
    with pytest.raises(DataError, match="expected walks of different names, got a twice"):
        read(write(folder, {**ROOM, "name": "a"}, {**ROOM, "name": "a"}))
    with pytest.raises(DataError, match="no such file"):
        read(folder / "none.jsonl")


def generate(path: Path, *options: str) -> int:
    return main(["generate", f"--list={path}", *COMMON, *options])


def test_walks_that_are_finished_are_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, {**ROOM, "name": "a"}, {**ROOM, "name": "b", "frames": 5})
    assert generate(path) == 0
    assert capsys.readouterr().out == "walks: 2 walks generated\n"
    metrics = {name: json.loads(Path("walks", name, "metrics.json").read_text()) for name in "ab"}
    assert [metrics[name]["frames"] for name in "ab"] == [9, 5]
    before = {p: p.stat().st_mtime_ns for p in Path("walks").rglob("*") if p.is_file()}
    assert generate(path) == 0
    assert "2 of 2 walks were finished already" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in Path("walks").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("change", ["option", "file"])
def test_finished_walks_of_others_are_not_taken_for_these(
    folder: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    path = write(folder, {**ROOM, "name": "a", "frames": 5})
    assert generate(path) == 0
    before = Path("walks/a/result.mp4").read_bytes()
    image = folder / ROOM["image"]
    if change == "file":
        picture = Image.open(image)
        picture.putpixel((0, 0), (1, 2, 3))
        picture.save(image)
    options = ["--seed=7"] if change == "option" else []
    assert generate(path, *options, "--shard=1/1") == 2
    expected = f"{Path('walks/a')}: expected a walk of these options and files, got a finished one of others"
    assert expected in capsys.readouterr().err
    assert Path("walks/a/result.mp4").read_bytes() == before
    assert generate(path, *options, "--overwrite") == 0
    assert generate(path, *options) == 0


def test_an_unfinished_walk_of_others_does_not_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, step = write(folder, {**ROOM, "name": "a"}), RolloutSession.step

    def interrupt(self: RolloutSession, *args: Any) -> Any:
        if self.chunks == 1:
            raise KeyboardInterrupt
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RolloutSession, "step", interrupt)
        assert generate(path) == 130
    for options in (["--seed=7"], ["--trajectory=truck"]):
        assert generate(path, *options) == 2
        assert f"{Path('walks/a')}: expected a walk of these options and files, got an unfinished one of others" in (
            capsys.readouterr().err
        )
    assert generate(path, "--shard=1/1") == 0, "the part of the list is no option of a walk"


def test_a_walk_that_was_killed_in_its_first_chunk_begins_again(folder: Path) -> None:
    Path("walks/a/resume").mkdir(parents=True)
    assert generate(write(folder, {**ROOM, "name": "a", "frames": 5})) == 0
    assert Path("walks/a/result.mp4").exists()


def test_a_memory_that_is_replaced_is_another_walk(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(write(folder, {**ROOM, "name": "a"})) == 0
    memory = folder / "memory.safetensors"
    memory.write_bytes(Path("walks/a/memory.safetensors").read_bytes())
    path = write(folder, {"memory": "memory.safetensors", "name": "b", "frames": 5})
    assert generate(path) == 0
    assert generate(write(folder, {**ROOM, "name": "c", "seed": 3, "trajectory": "truck"})) == 0
    memory.write_bytes(Path("walks/c/memory.safetensors").read_bytes())
    path = write(folder, {"memory": "memory.safetensors", "name": "b", "frames": 5})
    assert generate(path) == 2
    assert "expected a walk of these options and files, got a finished one of others" in capsys.readouterr().err


def test_failed_walks_are_a_warning_under_a_launcher(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images" / "broken.png").write_bytes(b"nothing")
    path = write(folder, {"image": "images/broken.png", "name": "bad"}, {**ROOM, "name": "good", "frames": 5})
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert generate(path) == 0
    captured = capsys.readouterr()
    assert captured.out == "walks: 1 walks generated\n"
    assert "--list: 1 of 2 walks could not be generated" in captured.err


def test_a_walk_of_another_process_is_left_to_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, {**ROOM, "name": "a", "frames": 5}, {**ROOM, "name": "b", "frames": 5})
    Path("walks/a").mkdir(parents=True)
    lock = OutputLock(Path("walks/a"))
    try:
        assert generate(path) == 0
    finally:
        lock.release()
    captured = capsys.readouterr()
    assert captured.out == "walks: 1 walks generated\n"
    assert "1 walks are being generated by other processes, such as a" in captured.err
    assert not Path("walks/a/metrics.json").exists()
    assert generate(path) == 0
    assert Path("walks/a/metrics.json").exists()


def test_videos_in_one_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, *({**ROOM, "name": name, "frames": 5} for name in "abc"))
    (folder / "images" / "room.png").rename(folder / "images" / "hidden.png")
    assert generate(path, "--videos=vbench") == 2
    assert not Path("vbench").exists(), "nothing is written before all lines are checked"
    (folder / "images" / "hidden.png").rename(folder / "images" / "room.png")
    assert generate(path, "--videos=vbench", "--shard=1/2") == 0
    assert sorted(p.name for p in Path("vbench").iterdir()) == ["a.mp4", "c.mp4", "prompts.json"]
    assert generate(path, "--videos=vbench") == 0
    assert sorted(p.name for p in Path("vbench").iterdir()) == ["a.mp4", "b.mp4", "c.mp4", "prompts.json"]
    assert json.loads(Path("vbench/prompts.json").read_text()) == {"a.mp4": "", "b.mp4": "", "c.mp4": ""}
    for name in "abc":
        assert Path(f"vbench/{name}.mp4").read_bytes() == Path(f"walks/{name}/result.mp4").read_bytes()
    assert generate(path, "--overwrite", "--fps=5", "--videos=vbench") == 0
    assert Path("vbench/a.mp4").read_bytes() == Path("walks/a/result.mp4").read_bytes()
    assert main(["generate", f"--image={folder / 'images' / 'room.png'}", "--videos=vbench"]) == 2
    assert "--videos: expected --list as well, got none" in capsys.readouterr().err
    assert generate(path, "--videos=walks/a/all") == 2
    assert "--videos: expected a folder outside those of the walks, got walks/a/all" in capsys.readouterr().err


def test_an_interrupted_list_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, step = write(folder, {**ROOM, "name": "a"}, {**ROOM, "name": "b"}), RolloutSession.step
    assert main(["generate", f"--list={path}", *COMMON[:-1], "--out=whole"]) == 0
    calls: list[int] = []

    def interrupt(self: RolloutSession, *args: Any) -> Any:
        calls.append(self.chunks)
        if len(calls) == 4:  # the second chunk of the second walk
            raise KeyboardInterrupt
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RolloutSession, "step", interrupt)
        assert generate(path) == 130
        assert generate(path) == 0
    assert calls == [0, 1, 0, 1, 1], "the finished chunks are not generated again"
    for name in ("a/result.mp4", "b/result.mp4", "b/video.mp4"):
        assert Path("walks", name).read_bytes() == Path("whole", name).read_bytes()


def test_shards_divide_the_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, *({**ROOM, "name": name, "frames": 5} for name in "abcde"))
    assert generate(path, "--shard=2/3") == 0
    assert {p.name for p in Path("walks").iterdir()} == {"b", "e"}
    monkeypatch.setenv("RANK", "0")  # as accelerate launch does
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert generate(path) == 0
    assert {p.name for p in Path("walks").iterdir()} == {"a", "b", "c", "e"}
    monkeypatch.setenv("RANK", "x")
    assert generate(path) == 2


def test_a_walk_that_fails_leaves_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "images" / "broken.png").write_bytes(b"nothing")
    path = write(folder, {"image": "images/broken.png", "name": "bad"}, {**ROOM, "name": "good"})
    assert generate(path) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "mirage: error: --list: 1 of 2 walks could not be generated, the first one because of bad: "
    )
    assert json.loads(Path("walks/good/metrics.json").read_text())["frames"] == 9


@pytest.mark.parametrize(("options", "message"), [
    (["--image=set/images/room.png"], "--image: expected in the lines of --list, got it on the command line"),
    (["--view"], "--view: expected no --list, got both"),
    (["--shard=3/2"], "--shard: expected I/N with I from 1 to N, got '3/2'"),
    (["--fps=0"], "a: --fps: expected"),
    (["--prompt=a"], "a: --prompt: expected --model FOLDER with Wan2.2, got --model embedded"),
])  # fmt: skip
def test_wrong_options(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    path = write(folder, {**ROOM, "name": "a"})
    assert generate(path, *options) == 2
    assert message in capsys.readouterr().err
    assert not Path("walks").exists()


def test_a_shard_needs_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--image=set/images/room.png", "--shard=1/2"]) == 2
    assert "--shard: expected --list as well, got none" in capsys.readouterr().err


def test_missing_files_are_named_before_any_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, ROOM, {**ROOM, "intrinsics": "none.txt", "name": "y"})
    assert generate(path) == 2
    assert "y: --intrinsics: expected fx,fy,cx,cy or a file, got none.txt: no such file" in capsys.readouterr().err
    path = write(folder, ROOM, {"image": "images/none.png", "name": "x"})
    assert generate(path) == 2
    assert f"{path}: x: --image: expected a file, got {folder / 'images/none.png'}: no such file" in (
        capsys.readouterr().err
    )
    assert not Path("walks").exists()


def test_the_command_line_stays_as_it_was() -> None:
    args = build_parser().parse_args(["generate"])
    assert isinstance(args, argparse.Namespace)
    assert args.list is None
    assert args.shard is None
