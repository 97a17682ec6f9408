# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mirage.io.video import VideoWriter

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
