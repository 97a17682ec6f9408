# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A stranger's first try: one photo of a phone, and nothing else, becomes a video."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def mirage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mirage", *arguments], cwd=folder, capture_output=True, text=True)


def test_a_portrait_photo_becomes_a_video(tmp_path: Path) -> None:
    """A phone stores a portrait photo lying on its side, and says so in EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 26
    rows, columns = np.mgrid[:300, :400]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256], 2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif)
    done = mirage(tmp_path, "generate", "--image", "photo.jpg", "--width", "96", "--frames", "9", "--out", "out")
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if line.startswith("mirage: ")]
    assert len(notes) == 1, "one note tells what was assumed"
    assert "focal length 300 pixels" in notes[0]
    assert "26 mm in 35 mm film" in notes[0]
    assert "depth guessed by a small network that knows rooms" in notes[0]
    assert "Traceback" not in done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["size"] == [128, 96], "upright"
    assert metrics["points"] > 0
    assert (tmp_path / "out" / "video.mp4").stat().st_size > 0
