# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage generate --save-frames``: the frames as images beside the video."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mirage.cli.main import main
from mirage.cli.output_folder import OutputFolder
from mirage.cli.preview import Preview
from mirage.cli.run_store import RunStore, remove_frames
from mirage.rollout import Chunk, RolloutSession
from mirage_kernels import Cameras


def names(count: int) -> list[str]:
    return [f"{number:06}.png" for number in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def fail_at_chunk(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = RolloutSession.step

    def fail(self: RolloutSession, cameras: Cameras, prompt: str | None = None) -> Chunk:
        if self.chunks == number:
            raise OSError("no room")
        return step(self, cameras, prompt)

    monkeypatch.setattr(RolloutSession, "step", fail)


def test_the_folder_has_every_frame_as_it_was_generated(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated: list[np.ndarray] = []
    encode = OutputFolder._encode

    def keep(self: OutputFolder, chunks: int, preview: Preview) -> None:
        generated.extend(preview.frames)
        encode(self, chunks, preview)

    monkeypatch.setattr(OutputFolder, "_encode", keep)
    assert main([*arguments, "--save-frames"]) == 0
    assert [path.name for path in sorted((tmp_path / "out" / "frames").iterdir())] == names(13)
    for name, planes in zip(names(13), generated, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "frames" / name)), planes.transpose(1, 2, 0))


def test_an_interrupted_run_has_the_frames_of_its_finished_chunks(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*arguments, "--save-frames"]) == 0
    whole = contents(tmp_path / "out" / "frames")
    with monkeypatch.context() as patch:
        fail_at_chunk(2, patch)
        assert main([*arguments, "--save-frames", "--overwrite"]) == 2
    frames = tmp_path / "out" / "frames"
    assert contents(frames) == {name: whole[name] for name in names(9)}
    assert main(["generate", "--resume", str(tmp_path / "out")]) == 0
    assert contents(frames) == whole


def test_a_later_run_removes_the_frames_and_nothing_else(arguments: list[str], tmp_path: Path) -> None:
    frames = tmp_path / "out" / "frames"
    assert main([*arguments, "--save-frames"]) == 0
    (frames / ".000003.png.partial").write_bytes(b"of a process that was killed")
    (frames / "mine.png").write_bytes(b"mine")
    assert main([*arguments, "--save-frames", "--overwrite", "--frames=5"]) == 0
    assert sorted(contents(frames)) == [*names(5), "mine.png"]
    assert main([*arguments, "--overwrite"]) == 0
    assert sorted(contents(frames)) == ["mine.png"]


@pytest.mark.parametrize("links", [True, False])
def test_frames_are_exported_with_and_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no hard links")))
    (tmp_path / "resume").mkdir()
    store, frames = RunStore(tmp_path / "resume"), tmp_path / "frames"
    store.save_frames(0, [np.full((3, 4, 6), number, np.uint8) for number in range(3)])
    store.export_frames(frames, 3)
    store.export_frames(frames, 2)
    assert sorted(contents(frames)) == names(2)
    assert np.asarray(Image.open(frames / "000001.png")).max() == 1
    assert not store.holds_other_files()
    remove_frames(frames)
    assert not frames.exists()
