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
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import torch
from PIL import Image

from mirage.cli.main import main
from mirage.cli.output_files import read_status
from mirage.cli.output_folder import OutputFolder
from mirage.cli.run_store import RunStore
from mirage.memory import LatentSpatialMemory
from mirage.rollout import Chunk, RolloutSession

FRAMES, CHUNK = 29, 5  # seven chunks
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
Hook = Callable[[], None]


class Ended(NamedTuple):
    """How a child process ended: its exit status (negative: the signal), and the chunks whose videos were written."""

    status: int
    chunks: int


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


def run_child(argv: list[str], hook: Callable[[], Hook] | None = None, log: Path | None = None) -> Ended:
    """Run the command line in a fork of this process, which has torch already.

    Args:
        argv: the arguments.
        hook: makes, in the child, what is called whenever it is about to touch a file of the output folder.
        log: gets what the child prints.
    """
    count, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other threads of this process do not exist in the child
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _in_child(argv, hook, write_end, log)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(count, "rb") as finished:
        chunks = len(finished.read())
    return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), chunks)


def _in_child(argv: list[str], hook: Callable[[], Hook] | None, finished: int, log: Path | None) -> int:
    torch.set_num_threads(1)  # the threads of this process are not in the child
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # tests that run in the background inherit that it is ignored
    printed = os.open(os.devnull if log is None else log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    encode, out = OutputFolder._encode, argv[argv.index("--out" if "--out" in argv else "--resume") + 1]

    def count(self: OutputFolder, *args: Any) -> None:
        encode(self, *args)
        os.write(finished, b".")

    OutputFolder._encode = count  # type: ignore[method-assign]
    if hook is not None:
        on_event = hook()
        # Every file that is opened, renamed, truncated or removed raises an event, before it happens.
        sys.addaudithook(lambda _, args: on_event() if any(out in str(arg) for arg in args[:2]) else None)
    status = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def at_event(number: int, action: Hook) -> Callable[[], Hook]:
    """A hook that does something at one event."""

    def make() -> Hook:
        left = number

        def on_event() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                action()

        return on_event

    return make


def send(number: int) -> Hook:
    return lambda: os.kill(os.getpid(), number)


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def metrics_without_times(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if not name.endswith("seconds")}


class Undisturbed(NamedTuple):
    folder: Path
    videos: dict[str, list[np.ndarray]]
    events: int


@pytest.fixture(scope="module")
def undisturbed(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    events = folder / "events"

    def count_all() -> Hook:
        return lambda: events.open("ab", 0).write(b".") and None

    with events.open("wb"):
        pass
    counted = folder / "out"
    assert run_child(["generate", *inputs, "--out", str(counted)], count_all) == Ended(0, 7)
    return Undisturbed(
        counted, {name: decoded(counted / f"{name}.mp4") for name in ("result", "video")}, events.stat().st_size
    )


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
    assert chunks >= ended.chunks
    assert frames == 1 + chunks * (CHUNK - 1)
    assert len(json.loads((out / "cameras.json").read_text())["cam2world"]) == frames
    assert len(LatentSpatialMemory.load(out / "memory.safetensors")) == metrics["points"]
    for name, all_frames in undisturbed.videos.items():
        found = decoded(out / f"{name}.mp4")
        assert len(found) == frames
        assert all(np.array_equal(a, b) for a, b in zip(found, all_frames[:frames], strict=True)), name
    return chunks


def check_and_resume(out: Path, ended: Ended, undisturbed: Undisturbed, again: list[str]) -> None:
    """After an interruption: nothing finished is lost, and the run can go on."""
    killed, finished = ended.status == -signal.SIGKILL, (read_status(out) or {}).get("finished", False)
    if finished:  # and interrupted only afterwards
        assert run_child(["generate", "--resume", str(out)]).status == 0
        check_like_undisturbed(out, undisturbed)
        return
    names = os.listdir(out) if out.exists() else []
    stored = RunStore(out / "resume").load() if names else None
    assert (0 if stored is None else stored.chunks) >= ended.chunks
    if "resume" in names and not killed:
        assert check_finished_chunks(out, ended, undisturbed) == (0 if stored is None else stored.chunks)
    if stored is None:
        assert ended.chunks == 0
        assert killed or not names
        argv = ["generate", *again, "--out", str(out), *(["--overwrite"] if names else [])]
    else:
        argv = ["generate", "--resume", str(out)]
    assert run_child(argv).status == 0
    check_like_undisturbed(out, undisturbed)


@pytest.mark.parametrize("number", list(STATUS), ids=lambda number: number.name)
def test_signals(inputs: list[str], undisturbed: Undisturbed, tmp_path: Path, number: signal.Signals) -> None:
    """At two of the moments in which a file is about to be touched."""
    places = random.Random(int(number))
    for turn in range(2):
        out, event = tmp_path / f"out{turn}", places.randrange(undisturbed.events // 4, undisturbed.events * 9 // 10)
        ended = run_child(["generate", *inputs, "--out", str(out)], at_event(event, send(number)))
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
    assert ended == Ended(2, 2)
    error = {
        "encoding": "[Errno 28] No space left on device",
        "memory": "out of memory (tried to allocate 8 MiB); use a smaller --height, --width or --chunk",
    }
    assert log.read_text().splitlines()[-1] == f"mirage: error: {error[place]}"
    assert f"9 of {FRAMES} frames are finished and kept; go on with: mirage generate --resume {out}" in log.read_text()
    check_and_resume(out, ended, undisturbed, inputs)


@pytest.mark.long
def test_fifty_interruptions(
    inputs: list[str], undisturbed: Undisturbed, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    """Signals at random files and random times, and disks of random sizes; some runs are interrupted twice."""
    places = random.Random(17)
    since = time.perf_counter()
    assert run_child(["generate", *inputs, "--out", str(tmp_path / "timed")]).status == 0
    duration = time.perf_counter() - since
    for turn in range(50):
        out = tmp_path / f"out{turn}"
        argv = ["generate", *inputs, "--out", str(out)]
        kind = turn % 5
        if kind == 3:
            out.symlink_to(disk := small_disk(places.randrange(100, 3400)))
            ended = run_child(argv, log=tmp_path / "log")
            assert ended.status in (0, 2), (tmp_path / "log").read_text()
            grow(disk)
        else:
            number = places.choice(list(STATUS))
            hook = at_event(places.randrange(1, undisturbed.events), send(number))
            if kind == 4:
                hook = after(places.uniform(0, duration), send(number))
            ended = run_child(argv, hook)
            assert ended.status in (0, STATUS[number])
            if kind == 2 and (out / "resume").exists() and RunStore(out / "resume").load() is not None:
                hook = at_event(places.randrange(1, undisturbed.events), send(number))
                ended = run_child(["generate", "--resume", str(out)], hook)._replace(chunks=ended.chunks)
                assert ended.status in (0, STATUS[number])
        if ended.status:
            check_and_resume(out, ended, undisturbed, inputs)
        else:
            check_like_undisturbed(out, undisturbed)


def after(seconds: float, action: Hook) -> Callable[[], Hook]:
    """A hook that does something after some time, wherever the process is then."""

    def make() -> Hook:
        signal.signal(signal.SIGALRM, lambda *_: action())
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return lambda: None

    return make
