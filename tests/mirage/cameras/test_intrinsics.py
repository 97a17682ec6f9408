# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Intrinsics from files of all kinds and from numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mirage.cameras import read_intrinsics

SIZE = (360, 540)
K = [[495.0, 0, 270], [0, 495, 180], [0, 0, 1]]
FLAT = [number for row in K for number in row]


@pytest.mark.parametrize("content", [
    {"fx": 495, "fy": 495, "cx": 270, "cy": 180},
    {"fx": 495},
    {"f": 495, "ppx": 270, "ppy": 180},
    {"fl_x": 990, "fl_y": 990, "cx": 540, "cy": 360, "w": 1080, "h": 720, "frames": []},
    {"camera_angle_x": 2 * np.arctan(270 / 495)},
    {"K": K},
    {"intrinsics": [K, K], "size": [360, 540], "cam2world": []},
    {"intrinsics": {"fx": 495 / 540, "fy": 495 / 360, "cx": 0.5, "cy": 0.5}},
    {"camera_matrix": {"rows": 3, "cols": 3, "data": FLAT}},
    {"width": 540, "height": 360, "intrinsic_matrix": [495, 0, 0, 0, 495, 0, 270, 180, 1]},
], ids=lambda content: next(iter(content)))  # fmt: skip
def test_json(tmp_path: Path, content: Any) -> None:
    (tmp_path / "k.json").write_text(json.dumps(content))
    np.testing.assert_allclose(read_intrinsics(tmp_path / "k.json", SIZE).numpy(), K)


@pytest.mark.parametrize("text", [
    "495,495,270,180", "495 495 270 180", "0.916666667 1.375 0.5 0.5", "[495, 495, 270, 180]",
    "495 0 270 0 495 180 0 0 1",
])  # fmt: skip
def test_numbers_and_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "k.txt").write_text("# a comment\n" + text)
    for source in (text, tmp_path / "k.txt"):
        np.testing.assert_allclose(read_intrinsics(source, SIZE).numpy(), K, rtol=1e-6)


@pytest.mark.parametrize("array", [
    np.array(K), np.array([495.0, 495, 270, 180]), np.array([K, K]), np.array(K) / [[540], [360], [1]],
    np.block([[np.array(K), np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]),
])  # fmt: skip
def test_arrays(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "k.npy", array)
    np.savez(tmp_path / "k.npz", K=array, other=np.ones(2))
    for name in ("k.npy", "k.npz"):
        np.testing.assert_allclose(read_intrinsics(tmp_path / name, SIZE).numpy(), K)
