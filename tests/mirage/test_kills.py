# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Writers and commands that are killed or interrupted at random moments: a file is the old or the new one, and whatever
ran runs again."""

from __future__ import annotations

import functools
import gc
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import layouts
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from children import SIGNALS, STATUS, Board, measure, run_command, run_forked

from mirage.cameras import write_cameras
from mirage.cli.signals import Terminated, raise_on_signals
from mirage.data.geometry import Geometry, write_geometry
from mirage.io.images import write_image
from mirage.io.video import VideoWriter
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras, VoxelCache, testing

pytestmark = [pytest.mark.long, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

KINDS = list(SIGNALS)
TURNS, COMMANDS = 15, 18  # trials of a writer and of a command
SAVES = 6  # of an undisturbed child
Figures = Callable[[str], None]
K = torch.tensor([[60.0, 0, 40], [0, 60, 24], [0, 0, 1]])
Write = Callable[[Path], Any]


def some_cameras(count: int, size: tuple[int, int] = (48, 80)) -> Cameras:
    return testing.random_cameras(torch.Generator().manual_seed(count), count, size)


def some_cache(seed: int) -> VoxelCache:
    g = torch.Generator().manual_seed(seed)
    cache = VoxelCache(0.05, 48)
    cache.insert(testing.random_points(g, "room", 5000), torch.randn(5000, 48, generator=g), stamp=seed)
    return cache


def some_memory(seed: int) -> LatentSpatialMemory:
    g, memory = torch.Generator().manual_seed(seed), LatentSpatialMemory(16)
    memory.write(torch.randn(16, 1, 48, 80, generator=g), Cameras(K, torch.eye(4), (48, 80)), torch.ones(1, 48, 80))
    return memory


def some_geometry(seed: int) -> Geometry:
    g = torch.Generator().manual_seed(seed)
    return Geometry(1 + torch.rand(4, 48, 80, generator=g), some_cameras(4))


def write_video(path: Path, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    with VideoWriter(path, 16) as video:
        for _ in range(4):
            video.write(torch.rand(3, 48, 80, generator=g))


def writers(seed: int) -> dict[str, Write]:
    """Every function that writes a file, with the content of a seed."""
    cache, memory, geometry = some_cache(seed), some_memory(seed), some_geometry(seed)
    image = torch.rand(3, 200, 300, generator=torch.Generator().manual_seed(seed))
    return {
        "VoxelCache.save": cache.save,
        "VoxelCache.export_ply": cache.export_ply,
        "LatentSpatialMemory.save": memory.save,
        "write_cameras": lambda path: write_cameras(path, some_cameras(100 + 100 * seed)),
        "write_geometry": lambda path: write_geometry(path, geometry),
        "write_image": lambda path: write_image(path, image),
        "VideoWriter": lambda path: write_video(path, seed),
    }


class Writer(NamedTuple):
    """Writes three versions of a file in turns."""

    versions: list[Write]
    path: Path

    def run(self, board: Board, stop_after: int | None = None) -> int:
        """Write in turns, and report each file that is written."""
        board.ready = 1
        while board.reported != stop_after:
            self.versions[board.reported % 3](self.path)
            board.reported += 1
        return 0

    def run_until_interrupted(self, board: Board, signals: int) -> int:
        try:
            try:
                with raise_on_signals():
                    self.run(board)
            except (KeyboardInterrupt, Terminated):
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        except KeyboardInterrupt:  # the second one
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self.write_again(board.reported, signals)

    def write_again(self, reported: int, signals: int) -> int:
        """In another thread, which would wait for a lock that is held.

        A second interrupt may keep a temporary file from being removed, which the next process does.
        """
        gc.collect()  # contextlib leaves cycles, which a second interrupt may leave with an open file
        kept, results = self.path.read_bytes(), []

        def write() -> None:
            for version in self.versions:
                version(self.path)
                results.append(self.path.read_bytes())

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(60)
        is_right = len(results) == 3 and kept in (results[(reported - 1) % 3], results[reported % 3])
        left = [name for name in os.listdir(self.path.parent) if signals == 1 or not name.endswith(".partial")]
        print(f"{len(results)} of 3 written again, the file is {'right' if is_right else 'wrong'}, left is {left}")
        return 0 if is_right and left == [self.path.name] else 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", writers(0))
def test_a_file_is_the_old_or_the_new_one(name: str, kind: str, tmp_path: Path, figures: Figures) -> None:
    folder, log, since = tmp_path / "out", tmp_path / "log", time.perf_counter()
    folder.mkdir()
    writer, contents = Writer([writers(seed)[name] for seed in range(3)], folder / "file"), []
    for write in writer.versions:
        write(writer.path)
        contents.append(writer.path.read_bytes())
    undisturbed, places = measure(lambda board: writer.run(board, SAVES), folder), random.Random(f"{name} {kind}")
    signals, met = SIGNALS[kind], 0
    for turn in range(TURNS):
        moment = undisturbed.moment(turn // len(signals), places, signals[turn % len(signals)])
        interrupted = functools.partial(writer.run_until_interrupted, signals=len(moment.numbers))
        ended, _ = run_forked(writer.run if kind == "kill" else interrupted, moment, watched=folder, log=log)
        assert ended.status == (-signal.SIGKILL if kind == "kill" else 0), (moment, log.read_text())
        met += ended.met
        if kind == "kill":
            assert writer.path.read_bytes() in (contents[(ended.reported - 1) % 3], contents[ended.reported % 3])
        assert writer.run(Board(), 3) == 0
        assert os.listdir(folder) == ["file"], "what a killed process has left is removed by the next write"
        assert writer.path.read_bytes() == contents[2]
    figures(
        f"{name}: {TURNS} {kind}s, {met} met a writing, 0 lost, 0 reruns failed, {time.perf_counter() - since:.0f} s"
    )


OUTPUTS = ("m.safetensors", "m_contact_sheet.png", "m_report.json", "m_cameras.json")


def read_outputs(folder: Path) -> dict[str, bytes]:
    """The files of mirage remember, but for the times in the report."""
    found = {name: (folder / name).read_bytes() for name in OUTPUTS if (folder / name).exists()}
    if "m_report.json" in found:
        report = json.loads(found["m_report.json"])
        del report["seconds"], report["settings"]["recording"]
        found["m_report.json"] = json.dumps(report).encode()
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "overwrite"])
def test_remember(kind: str, existing: bool, tmp_path: Path, figures: Figures) -> None:
    """The results of two recordings are not mixed, and the same command runs again."""
    out, log, since = tmp_path / "out", tmp_path / "log", time.perf_counter()
    recordings = [layouts.write_folder(tmp_path / str(n), layouts.make_frames(4 + n)) for n in range(2)]

    def remember(n: int, folder: Path) -> Callable[[Board], int]:
        words = ["remember", str(recordings[n]), "--out", str(folder / "m.safetensors"), "--block", "8"]
        return lambda board: run_command([*words, *(["--overwrite"] if existing else [])], board)

    expected = []
    for n in range(2):
        assert run_forked(remember(n, tmp_path / f"expected{n}"))[0].status == 0
        expected.append(read_outputs(tmp_path / f"expected{n}"))
    undisturbed, places = measure(remember(1, tmp_path / "timed"), tmp_path / "timed"), random.Random(kind)
    signals, met, refused = SIGNALS[kind], 0, 0
    for turn in range(COMMANDS):
        shutil.rmtree(out, ignore_errors=True)
        if existing:
            assert run_forked(remember(0, out))[0].status == 0
        moment = undisturbed.moment(turn // len(signals), places, signals[turn % len(signals)])
        ended, _ = run_forked(remember(1, out), moment, watched=out, log=log)
        allowed = (0, -signal.SIGTERM, *(STATUS[number] for number in moment.numbers))
        assert ended.status in allowed, (moment, log.read_text())
        met += ended.met
        found = read_outputs(out)
        assert all(content in (expected[0][name], expected[1][name]) for name, content in found.items())
        if kind == "interrupt":  # a process that ends by itself leaves one recording's files, and nothing else
            assert found in ((expected[0] if existing else {}), expected[1]), (moment, log.read_text())
            left = set(os.listdir(out)) - set(OUTPUTS) if out.exists() else set()
            # A lock file that no process holds may be left, and anything else only after a second interrupt.
            assert left <= {".m.safetensors.lock"} or len(moment.numbers) > 1, (moment, left)
        status = run_forked(remember(1, out), log=log)[0].status
        if found == expected[1] and not existing:  # it was done
            assert status == 2
            refused += 1
        else:
            assert status == 0, (moment, log.read_text())
        assert read_outputs(out) == expected[1]
        assert set(os.listdir(out)) - ({".m.safetensors.lock"} if status else set()) == set(OUTPUTS)
    what = f"mirage remember{' --overwrite' if existing else ''}"
    figures(f"{what}: {COMMANDS} {kind}s, {met} met a writing, 0 lost, 0 reruns failed ({refused} were finished), "
            f"{time.perf_counter() - since:.0f} s")  # fmt: skip
