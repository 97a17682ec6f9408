# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that are interrupted at random places: finished chunks are kept, and resumed runs end like undisturbed ones."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from children import SIGNALS, STATUS, Board, Ended, Hook, Moment, measure, run_command, run_forked
from children import Undisturbed as Course

from mirage.cli.output_files import read_status
from mirage.cli.output_folder import OutputFolder
from mirage.cli.run_store import RunStore
from mirage.memory import LatentSpatialMemory
from mirage.rollout import Chunk, RolloutSession

FRAMES, CHUNK = 29, 5  # seven chunks
COMMANDS = 60  # trials with kills, and with interrupts


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 256, (4, 6, 3)), np.ones((8, 8, 1)))
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "image.png")
    np.save(folder / "depth.npy", (2 + np.kron(rng.random((4, 6)), np.ones((8, 8)))).astype(np.float32))
    (folder / "k.txt").write_text("40 40 24 16")
    names = {"image": "image.png", "depth": "depth.npy", "intrinsics": "k.txt"}
    files = [text for name, file in names.items() for text in (f"--{name}", str(folder / file))]
    path = ["--trajectory", "pan", "--amount", "40", "--frames", str(FRAMES), "--chunk", str(CHUNK)]
    return [*files, *path, "--block", "8", "--filters", "default", "--seed", "3"]


def run_child(
    argv: list[str], hook: Callable[[], Hook] | None = None, log: Path | None = None, moment: Moment | None = None
) -> Ended:
    """Run the command line in a fork, which reports the chunks whose videos were written; see :func:`run_forked`."""

    def run(board: Board) -> int:
        encode = OutputFolder._encode

        def count(self: OutputFolder, *args: Any) -> None:
            encode(self, *args)
            board.reported += 1

        OutputFolder._encode = count  # type: ignore[method-assign]
        return run_command(argv, board)

    out = Path(argv[argv.index("--out" if "--out" in argv else "--resume") + 1])
    return run_forked(run, moment, watched=out, hook=hook, log=log)[0]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def metrics_without_times(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if not name.endswith("seconds")}


class Undisturbed(NamedTuple):
    folder: Path
    videos: dict[str, list[np.ndarray]]
    course: Course


@pytest.fixture(scope="module")
def undisturbed(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    course = measure(lambda board: run_command(["generate", *inputs, "--out", str(out)], board), out)
    return Undisturbed(out, {name: decoded(out / f"{name}.mp4") for name in ("result", "video")}, course)


def check_like_undisturbed(out: Path, undisturbed: Undisturbed) -> None:
    for name in ("memory.safetensors", "cameras.json"):
        assert (out / name).read_bytes() == (undisturbed.folder / name).read_bytes(), name
    for name, frames in undisturbed.videos.items():
        found = decoded(out / f"{name}.mp4")
        assert len(found) == FRAMES
        assert all(np.array_equal(a, b) for a, b in zip(found, frames, strict=True)), name
    assert metrics_without_times(out) == metrics_without_times(undisturbed.folder)
    assert sorted(os.listdir(out)) == sorted(os.listdir(undisturbed.folder))


def check_finished_chunks(out: Path, ended: Ended, undisturbed: Undisturbed) -> int:
    """What was finished is there; returns the number of chunks."""
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["finished"] is False
    frames = metrics["frames_done"]
    chunks = (frames - 1) // (CHUNK - 1)
    assert chunks >= ended.reported
    assert frames == 1 + chunks * (CHUNK - 1)
    assert len(json.loads((out / "cameras.json").read_text())["cam2world"]) == frames
    assert len(LatentSpatialMemory.load(out / "memory.safetensors")) == metrics["points"]
    for name, all_frames in undisturbed.videos.items():
        found = decoded(out / f"{name}.mp4")
        assert len(found) == frames
        assert all(np.array_equal(a, b) for a, b in zip(found, all_frames[:frames], strict=True)), name
    return chunks


def check_and_resume(
    out: Path, ended: Ended, undisturbed: Undisturbed, again: list[str], *, is_cut: bool = False
) -> None:
    """After an interruption: nothing finished is lost, and the run can go on. A process whose end was cut short, by a
    kill or a second interrupt, has not made files from the finished chunks."""
    is_cut |= ended.status == -signal.SIGKILL
    if (read_status(out) or {}).get("finished", False):  # and interrupted only afterwards
        assert run_child(["generate", "--resume", str(out)]).status == 0
        check_like_undisturbed(out, undisturbed)
        return
    names = os.listdir(out) if out.exists() else []
    stored = RunStore(out / "resume").load() if names else None
    assert (0 if stored is None else stored.chunks) >= ended.reported
    if "resume" in names and not is_cut:
        assert check_finished_chunks(out, ended, undisturbed) == (0 if stored is None else stored.chunks)
    if stored is None:
        assert ended.reported == 0
        assert is_cut or not names
        argv = ["generate", *again, "--out", str(out)]
    else:
        argv = ["generate", "--resume", str(out)]
    assert run_child(argv).status == 0
    check_like_undisturbed(out, undisturbed)


@pytest.mark.parametrize("number", list(STATUS), ids=lambda number: number.name)
def test_signals(inputs: list[str], undisturbed: Undisturbed, tmp_path: Path, number: signal.Signals) -> None:
    """At two of the moments in which a file is about to be touched."""
    places, events = random.Random(int(number)), undisturbed.course.events
    for turn in range(2):
        out, event = tmp_path / f"out{turn}", places.randrange(events // 4, events * 9 // 10)
        ended = run_child(["generate", *inputs, "--out", str(out)], moment=Moment((number,), event))
        assert ended.status == STATUS[number], f"event {event}"
        check_and_resume(out, ended, undisturbed, inputs)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of some KiB."""
    mounted = []

    def mount(kib: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a small disk; test_a_failing_chunk raises its error instead")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


@pytest.mark.parametrize("kib", [120, 2200, 2600])
def test_a_full_disk(
    inputs: list[str], undisturbed: Undisturbed, tmp_path: Path, small_disk: Callable[[int], Path], kib: int
) -> None:
    """The output folder is a link to a small disk."""
    disk, out, log = small_disk(kib), tmp_path / "out", tmp_path / "log"
    out.symlink_to(disk)
    ended = run_child(["generate", *inputs, "--out", str(out)], log=log)
    assert ended.status == 2
    assert "mirage: error: [Errno 28] No space left on device" in log.read_text()
    assert "Traceback" not in log.read_text()
    grow(disk)
    check_and_resume(out, ended, undisturbed, inputs)


@pytest.mark.parametrize("place", ["encoding", "memory"])
def test_a_failing_chunk(inputs: list[str], undisturbed: Undisturbed, tmp_path: Path, place: str) -> None:
    """An error in the thread that encodes the third chunk, and one while the third chunk is written to the memory."""
    out, log = tmp_path / "out", tmp_path / "log"

    def fail() -> Hook:
        encode, step = OutputFolder._encode, RolloutSession.step

        def fail_encode(self: OutputFolder, chunks: int, *args: Any) -> None:
            if chunks == 3:
                raise OSError(28, "No space left on device")
            encode(self, chunks, *args)

        def fail_step(self: RolloutSession, *args: Any) -> Chunk:
            if self.chunks == 2:
                step(self, *args)  # the memory has changed
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8388608 bytes.")
            return step(self, *args)

        if place == "encoding":
            OutputFolder._encode = fail_encode  # type: ignore[method-assign]
        else:
            RolloutSession.step = fail_step  # type: ignore[method-assign]
        return lambda: None

    ended = run_child(["generate", *inputs, "--out", str(out)], fail, log)
    assert ended[:2] == (2, 2)
    error = {
        "encoding": "[Errno 28] No space left on device",
        "memory": "out of memory (tried to allocate 8 MiB); use a smaller --height, --width or --chunk",
    }
    assert log.read_text().splitlines()[-1] == f"mirage: error: {error[place]}"
    assert f"9 of {FRAMES} frames are finished and kept; go on with: mirage generate --resume {out}" in log.read_text()
    check_and_resume(out, ended, undisturbed, inputs)


@pytest.mark.long
def test_disks_of_any_size(
    inputs: list[str], undisturbed: Undisturbed, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    places = random.Random(17)
    for turn in range(10):
        out = tmp_path / f"out{turn}"
        out.symlink_to(disk := small_disk(places.randrange(100, 3400)))
        ended = run_child(["generate", *inputs, "--out", str(out)], log=tmp_path / "log")
        assert ended.status in (0, 2), (tmp_path / "log").read_text()
        grow(disk)
        if ended.status:
            check_and_resume(out, ended, undisturbed, inputs)
        else:
            check_like_undisturbed(out, undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("kind", list(SIGNALS))
def test_random_moments(
    kind: str, inputs: list[str], undisturbed: Undisturbed, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """Every fourth run is interrupted again when it goes on."""
    places, met, since, log = random.Random(kind), 0, time.perf_counter(), tmp_path / "log"
    for turn in range(COMMANDS):
        out, numbers = tmp_path / f"out{turn}", SIGNALS[kind][turn % len(SIGNALS[kind])]
        allowed = (0, -signal.SIGTERM, *(STATUS[number] for number in numbers))
        moment = undisturbed.course.moment(turn // len(SIGNALS[kind]), places, numbers)
        ended = run_child(["generate", *inputs, "--out", str(out)], log=log, moment=moment)
        assert ended.status in allowed, (moment, log.read_text())
        met += ended.met
        if turn % 4 == 3 and (out / "resume").exists() and RunStore(out / "resume").load() is not None:
            moment = undisturbed.course.moment(turn, places, numbers)
            ended = run_child(["generate", "--resume", str(out)], log=log, moment=moment)._replace(
                reported=ended.reported
            )
            assert ended.status in allowed, (moment, log.read_text())
        if ended.status:
            check_and_resume(out, ended, undisturbed, inputs, is_cut=len(numbers) > 1)
        else:
            check_like_undisturbed(out, undisturbed)
    figures(f"mirage generate: {COMMANDS} {kind}s, {met} met a writing, 0 lost, 0 reruns failed, "
            f"{time.perf_counter() - since:.0f} s")  # fmt: skip
