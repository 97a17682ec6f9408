# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage eval closed-loop``: what it measures, lists of walks in several processes, restarts, and wrong options."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mirage.cli import evaluate_loops
from mirage.cli.main import main
from mirage.io.images import write_image

SIZE = (64, 96)
WALK = ["--trajectory=pan", "--amount=30", "--frames=17", "--chunk=9", "--block=8"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture of stripes and checks, with depth, in the current folder."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    image = torch.stack([(x // 7 + y // 9) % 2, x / SIZE[1], y / SIZE[0]]).float()
    write_image(tmp_path / "room.png", image)
    np.save(tmp_path / "depth.npy", np.full(SIZE, 2, np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*options: str) -> int:
    return main(["eval", "closed-loop", *options])


def one_walk(*options: str) -> int:
    return evaluate("--image=room.png", "--depth=depth.npy", "--fov=60", *WALK, *options)


def summary(out: str = "out/eval") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(out, "summary.json").read_text())
    return found


def test_laps_with_all_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert one_walk("--laps=3", "--compare", "memory", "none", "colored", "fill") == 0
    found = summary()
    scores = {name: {k: v["mean"] for k, v in part.items()} for name, part in found["summary"].items()}
    assert set(scores) == {"memory", "none", "colored", "fill"}
    assert found["walks"] == 1
    assert scores["memory"] == pytest.approx({**scores["fill"], "seconds": scores["memory"]["seconds"]}), (
        "the built-in model fills holes, too"
    )
    assert scores["memory"]["psnr"] > max(scores["none"]["psnr"] + 3, scores["colored"]["psnr"])
    assert scores["memory"]["drift"] < 0.1
    assert scores["memory"]["depth_difference"] < 0.01
    assert scores["none"]["points"] == scores["memory"]["points"] < scores["colored"]["points"]
    laps = found["laps"]["memory"]
    assert len(laps) == 3
    assert max(laps) - min(laps) < 0.5, "walking the loop again changes nothing"
    printed = capsys.readouterr().out
    assert printed == Path("out/eval/summary.md").read_text() + "\n"
    assert "| memory | " in printed
    with Image.open("out/eval/walk.jpg") as picture:
        assert picture.width > 3 * SIZE[1]
    if importlib.util.find_spec("matplotlib") is not None:
        with Image.open("out/eval/revisits.png") as figure:
            assert figure.width > 1000
    (sample,) = Path("out/eval/samples").iterdir()
    rows = json.loads(sample.read_text())["result"]["memory"]["revisits"]
    assert rows[-1][:2] == [48, 0]
    assert max(row[2] for row in rows) == pytest.approx(30), "with laps, the far end is seen again"


LINES = [
    {"name": name, "image": "room.png", "depth": "depth.npy", "fov": 60, "trajectory": "pan", "amount": amount}
    for name, amount in (("a", 10), ("b", 20), ("c", -10))
]


def a_list(*options: str, lines: list[dict[str, Any]] = LINES) -> int:
    Path("walks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return evaluate("--list=walks.jsonl", "--frames=9", "--chunk=5", "--block=8", *options)


def without_seconds(found: dict[str, Any]) -> dict[str, Any]:
    for scores in found["summary"].values():
        del scores["seconds"]
    return {name: found[name] for name in ("summary", "laps", "settings", "walks")}


def test_shards_give_what_one_process_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert a_list("--out=whole") == 0
    assert a_list("--out=parts", "--shard=2/2") == 0
    assert "this part is finished; the summary is written when the others are" in capsys.readouterr().out
    assert not Path("parts/summary.json").exists()
    assert a_list("--out=parts", "--shard=1/2") == 0
    assert without_seconds(summary("parts")) == without_seconds(summary("whole"))


def start(rank: int, out: str, processes: int = 2) -> subprocess.Popen[bytes]:
    """Start one of several processes that share a list, as ``accelerate launch`` does."""
    command = [sys.executable, "-m", "mirage", "eval", "closed-loop", "--list=walks.jsonl", f"--out={out}", *WALK]
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_process_that_is_killed_goes_on_where_it_was() -> None:
    lines = [{**LINES[0], "name": f"walk-{number}", "amount": 10 + number} for number in range(8)]
    Path("walks.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    single = start(0, "single", processes=1)
    first, second = start(0, "both"), start(1, "both")
    while len(done := list(Path("both/samples").glob("walk-[0246].json"))) < 1:
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    assert second.wait() == 0
    finished = {path: path.stat().st_mtime_ns for path in Path("both/samples").glob("*.json")}
    assert 5 <= len(finished) < 8
    assert set(done) <= set(finished)
    assert not Path("both/summary.json").exists(), "the summary needs the samples of the process that was killed"
    assert start(0, "both").wait() == single.wait() == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "finished samples are not repeated"
    assert without_seconds(summary("both")) == without_seconds(summary("single"))


def test_finished_walks_are_not_repeated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    compare, taken = evaluate_loops.compare_walks, []

    def counted(model: Any, start: Any, *args: Any, **options: Any) -> Any:
        taken.append(start)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return compare(model, start, *args, **options)

    monkeypatch.setattr(evaluate_loops, "compare_walks", counted)
    assert a_list() == 130
    assert [path.name for path in Path("out/eval/samples").iterdir()] == ["a.json"]
    assert a_list() == 0
    assert len(taken) == 4
    assert summary()["walks"] == 3
    assert a_list("--laps=2") == 2
    assert "expected a result of these settings, got one of other laps; use another --out" in capsys.readouterr().err
    assert len(taken) == 4


def test_a_walk_that_cannot_be_measured_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{**LINES[0], "name": "gone", "one-way": True}, *LINES]
    assert a_list(lines=lines) == 2
    error = capsys.readouterr().err
    assert "1 of 4 samples could not be evaluated, and out/eval/summary.md is of the others; the first one: " in error
    assert "gone: expected a path that returns to where it was, got one that does not (--one-way? --frames?" in error
    assert len(list(Path("out/eval/samples").iterdir())) == 3
    assert summary()["walks"] == 3
    assert set(summary()["failed"]) == {"gone"}
    assert "Left out:\n\n* gone: gone: expected a path that returns" in Path("out/eval/summary.md").read_text()


@pytest.mark.parametrize(("options", "message"), [
    (["--laps=0"], "--laps: expected 1 to 1000, got 0"),
    (["--compare", "memory", "memory"], "--compare: expected different names, got memory memory"),
    (["--shard=1/2"], "--shard: expected --list as well, got none"),
    (["--frames=1000000"], "--frames: expected"),
    (["--model=none"], "--block: expected --model embedded, got --model none"),
])  # fmt: skip
def test_wrong_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert one_walk(*options) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "piq", None)
    assert one_walk("--lpips") == 2
    assert "--lpips: expected piq and the weights of LPIPS, got none" in capsys.readouterr().err
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("skimage", "piq") else find(name))
    assert one_walk() == 2
    assert "mirage eval needs scikit-image; install it with pip install 'mirage-kernels[eval]'" in (
        capsys.readouterr().err
    )
    assert not Path("out").exists()


def test_other_files_and_damaged_results_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert one_walk("--compare", "fill") == 0
    (sample,) = Path("out/eval/samples").iterdir()
    text = sample.read_text()
    for damaged in ({}, {"fill": {}}, {"fill": {"scores": {"psnr": "x"}, "laps": [], "revisits": []}}):
        sample.write_text(json.dumps(json.loads(text) | {"result": damaged}))
        assert one_walk("--compare", "fill") == 2
        assert f"{sample}: expected the result of a sample, got a damaged one" in capsys.readouterr().err
    sample.write_text(text)
    assert one_walk("--compare", "fill") == 0
    write_image(folder / "room.png", torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)))
    assert one_walk("--compare", "fill") == 2
    assert "expected a result of these settings, got one of other files; use another --out" in capsys.readouterr().err


def test_equal_images_have_100_db() -> None:
    assert one_walk("--compare", "fill", "--amount=0", "--laps=2") == 0
    found = summary()
    assert found["summary"]["fill"]["revisit_psnr"]["mean"] == 100
    assert "Infinity" not in next(Path("out/eval/samples").iterdir()).read_text()
