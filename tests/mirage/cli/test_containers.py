# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Containers with the same process numbers and host name that share a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from mirage.memory import LatentSpatialMemory
from mirage_kernels import VoxelCache, testing

CONTAINER = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--uts")


def can_unshare() -> bool:
    found = shutil.which("unshare") is not None
    return found and subprocess.run([*CONTAINER, "true"], capture_output=True).returncode == 0


pytestmark = [pytest.mark.long, pytest.mark.skipif(not can_unshare(), reason="needs the right to make namespaces")]

SAVE = """
import os, sys, torch
from mirage_kernels import VoxelCache
torch.set_num_threads(1)
assert os.getpid() == 1
cache = VoxelCache.load(sys.argv[1])
for _ in range(300):
    cache.save(sys.argv[2])
"""


def start(*words: str) -> subprocess.Popen[str]:
    """Start Python in a container, as its process 1."""
    script = 'hostname box; exec "$0" "$@"'
    command = [*CONTAINER, "sh", "-c", script, sys.executable, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    text = process.communicate()[0]
    return process.returncode, text.splitlines()[-1] if text else ""


@pytest.fixture
def generate(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    np.save(tmp_path / "depth.npy", np.full((64, 96), 2, np.float32))
    files = [f"--{name}={tmp_path / file}" for name, file in (("image", "image.png"), ("depth", "depth.npy"))]
    sizes = ["--fov=60", "--block=8", "--frames=193", "--chunk=5"]
    return ["-m", "mirage", "generate", *files, *sizes, f"--out={tmp_path / 'out'}"]


def check_finished(out: Path, frames: int) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["finished"]
    assert metrics["frames"] == frames == len(json.loads((out / "cameras.json").read_text())["cam2world"])
    assert metrics["points"] == len(LatentSpatialMemory.load(out / "memory.safetensors"))
    assert not [name for name in os.listdir(out) if name.startswith(".") or name == "resume"]


def refused(ended: list[tuple[int, str]]) -> str:
    """Check that one of two succeeded, and return what the other one said."""
    (failed,) = [text for status, text in ended if status]
    assert sorted(status for status, _ in ended) == [0, 2], failed
    assert "no other process writes to, got one of process 1" in failed or "--overwrite" in failed, failed
    return failed


def test_a_rerun_after_a_kill(generate: list[str], tmp_path: Path, figures: Callable[[str], None]) -> None:
    first = start(*generate)
    while not (tmp_path / "out" / "resume" / "state-000003.safetensors").exists():
        assert first.poll() is None
    first.kill()
    first.communicate()
    assert (tmp_path / "out" / ".lock").read_text().startswith("1 box")
    status, text = end(start(*generate))
    assert (status, "go on with --resume FOLDER" in text) == (2, True)
    assert end(start("-m", "mirage", "generate", "--resume", str(tmp_path / "out")))[0] == 0
    check_finished(tmp_path / "out", 193)
    figures("containers, kill and rerun with the same process number: goes on, nothing lost")


@pytest.mark.parametrize("is_resumed", [False, True], ids=["new", "resumed"])
def test_two_runs_side_by_side(
    is_resumed: bool, generate: list[str], tmp_path: Path, figures: Callable[[str], None]
) -> None:
    words = generate
    if is_resumed:
        first = start(*generate)
        while not (tmp_path / "out" / "resume" / "state-000003.safetensors").exists():
            assert first.poll() is None
        first.kill()
        first.communicate()
        words = ["-m", "mirage", "generate", "--resume", str(tmp_path / "out")]
    text = refused([end(process) for process in [start(*words), start(*words)]])
    check_finished(tmp_path / "out", 193)
    figures(f"containers, two generate side by side{', resumed' * is_resumed}: one ends right, the other says {text!r}")


def test_two_remember_side_by_side(tmp_path: Path, figures: Callable[[str], None]) -> None:
    out = tmp_path / "out" / "m.safetensors"
    folders = [layouts.write_folder(tmp_path / str(n), layouts.make_frames(30 + n)) for n in range(2)]
    words = [["-m", "mirage", "remember", str(folder), "--out", str(out), "--block", "8"] for folder in folders]
    text = refused([end(process) for process in [start(*command) for command in words]])
    report = json.loads((out.parent / "m_report.json").read_text())
    cameras = json.loads((out.parent / "m_cameras.json").read_text())
    assert report["frames_used"] == len(cameras["cam2world"]) == len(LatentSpatialMemory.load(out).history)
    assert len(os.listdir(out.parent)) == 4
    figures(f"containers, two remember side by side: one ends right, the other says {text!r}")


def test_two_processes_save_to_one_name(tmp_path: Path, figures: Callable[[str], None]) -> None:
    sources, out = [], tmp_path / "out" / "cache.safetensors"
    out.parent.mkdir()
    for seed in range(2):
        g = torch.Generator().manual_seed(seed)
        cache = VoxelCache(0.05, 8)
        cache.insert(testing.random_points(g, "room", 2000), torch.randn(2000, 8, generator=g), stamp=seed)
        sources.append(tmp_path / f"{seed}.safetensors")
        cache.save(sources[-1])
    contents, seen = [source.read_bytes() for source in sources], []
    processes = [start("-c", SAVE, str(source), str(out)) for source in sources]
    while any(process.poll() is None for process in processes):
        if out.exists():
            seen.append(contents.index(out.read_bytes()))
    assert [end(process) for process in processes] == [(0, ""), (0, "")]
    assert set(seen) == {0, 1}
    assert os.listdir(out.parent) == ["cache.safetensors"]
    figures(f"containers, 2 x 300 saves to one name: {len(seen)} reads, all of a whole file")
