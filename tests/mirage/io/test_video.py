# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import gc
import itertools
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mirage.io.images import write_image
from mirage.io.packet_log import Packet
from mirage.io.video import FrameEncoder, VideoWriter, _check_boxes, write_packets

PERTURB = -6  # glibc's M_PERTURB: fill memory with this byte when it is allocated and when it is freed


@pytest.fixture
def libc() -> Iterator[ctypes.CDLL]:
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("needs glibc's mallopt")
    library = ctypes.CDLL(None)
    yield library
    library.mallopt(PERTURB, 0)


def test_a_video_does_not_depend_on_what_memory_held_before(tmp_path: Path, libc: ctypes.CDLL) -> None:
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        for size in ((36, 50), (68, 500), (96, 128)):
            frames, written = torch.rand(5, 3, *size, generator=generator), set()
            for fill in (1, 85, 170, 255):
                libc.mallopt(PERTURB, fill)
                with VideoWriter(tmp_path / "video.mp4", 8) as video:
                    for frame in frames:
                        video.write(frame)
                written.add((tmp_path / "video.mp4").read_bytes())
            assert len(written) == 1, f"seed {seed}, {size}"


def encode(frames: np.ndarray, first: int = 0) -> list[Packet]:
    encoder = FrameEncoder(8, first)
    for frame in frames:
        encoder.add(frame)
    return encoder.finish()


def test_packets_do_not_depend_on_what_memory_held_before(libc: ctypes.CDLL) -> None:
    rng = np.random.default_rng(0)
    for size in ((36, 50), (68, 500), (96, 128)):
        frames, encoded = rng.integers(0, 256, (9, 3, *size), np.uint8), []
        for fill in (1, 85, 170, 255):
            libc.mallopt(PERTURB, fill)
            encoded.append(encode(frames))
        assert all(packets == encoded[0] for packets in encoded), size


def test_chunks_are_joined_in_the_order_of_frames(tmp_path: Path) -> None:
    """A joined video of any length and odd size has every frame once, at its time and with its colors."""
    levels = np.linspace(20, 230, 40).astype(np.uint8)
    frames = np.stack([np.broadcast_to(np.uint8([n, 255 - n, 90])[:, None, None], (3, 65, 97)) for n in levels])
    ends = [0, 33, 34, 37, 40]
    packets = [packet for a, b in itertools.pairwise(ends) for packet in encode(frames[a:b], a)]
    write_packets(tmp_path / "video.mp4", packets, 8, (64, 96))
    with av.open(str(tmp_path / "video.mp4")) as video:
        found = list(video.decode(video=0))
    assert [round(frame.time * 8) for frame in found] == list(range(40))
    for frame, expected in zip(found, frames, strict=True):
        assert np.abs(frame.to_ndarray(format="rgb24")[30, 40].astype(int) - expected[:, 30, 40]).max() < 8


def test_a_video_and_an_image_are_replaced_whole(tmp_path: Path) -> None:
    video, image = tmp_path / "video.mp4", tmp_path / "image.png"
    video.write_text("old")

    def fail() -> None:
        with VideoWriter(video, fps=8) as writer:
            writer.write(torch.zeros(3, 32, 32))
            raise OSError("a full disk")

    with pytest.raises(OSError, match="a full disk"):
        fail()
    assert video.read_text() == "old"
    with VideoWriter(video, fps=8) as writer:
        writer.write(torch.zeros(3, 32, 32))
        assert video.read_text() == "old"
    assert video.stat().st_size > 100
    image.write_text("old")
    with pytest.raises(TypeError):
        write_image(image, torch.zeros(2, 2, 2, 2))
    assert image.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.png", "video.mp4"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupted Path.open
@pytest.mark.parametrize("kind", ["writer", "packets"])
def test_an_interrupt_is_raised_or_the_video_is_complete(tmp_path: Path, kind: str) -> None:
    """PyAV drops what is raised while it calls Python, and signals interrupt Python anywhere."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (12, 3, 96, 160), np.uint8)
    packets, images, path = encode(frames), torch.from_numpy(frames) / 255, tmp_path / "video.mp4"

    def write() -> None:
        if kind == "packets":
            write_packets(path, packets, 8, (96, 160))
            return
        with VideoWriter(path, 8) as video:
            for image in images:
                video.write(image)

    since = time.perf_counter()
    write()
    seconds, complete, raised, arrived = time.perf_counter() - since, path.read_bytes(), 0, []

    writing = [False]

    def interrupt(number: int, _: object) -> None:
        if writing[0]:
            arrived.append(number)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.collect()
    gc.disable()  # finalizers of other tests' objects would drop interrupts too
    try:
        for _ in range(150 if kind == "packets" else 30):
            path.unlink(missing_ok=True)
            try:
                writing[0] = True
                signal.setitimer(signal.ITIMER_REAL, max(seconds * rng.random(), 1e-5))
                write()
                writing[0] = False
            except KeyboardInterrupt:
                raised += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert not path.exists() or path.read_bytes() == complete
            assert len(arrived) == raised, "an interrupt was dropped"
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    assert raised > 5


def test_a_video_that_lost_its_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_packets(path, encode(np.zeros((3, 3, 64, 96), np.uint8)), 8, (64, 96))
    _check_boxes(path)
    content = path.read_bytes()
    for size in (0, 7, 8, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(OSError, match="could not be written completely"):
            _check_boxes(path)
