# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lens distortion is removed from images, depth maps and masks."""

from __future__ import annotations

import json
from pathlib import Path

import layouts
import pytest
import torch
from layouts import make_frames

from mirage.cameras.colmap_files import ColmapCamera, parameters
from mirage.recordings import read_recording
from mirage.recordings.distortion import Distortion


def test_the_model_is_opencvs() -> None:
    """Expected values: cv2.projectPoints with (k1, k2, p1, p2, k3, k4, k5, k6) = (.1, -.2, .01, .02, .03, .04, .05,
    .06), worked out by hand for (0.5, -0.25)."""
    lens = Distortion((0.1, -0.2, 0.03), (0.01, 0.02), (0.04, 0.05, 0.06))
    x, y = lens.apply(torch.tensor(0.5, dtype=torch.float64), torch.tensor(-0.25, dtype=torch.float64))
    r2 = 0.3125
    factor = (1 + 0.1 * r2 - 0.2 * r2**2 + 0.03 * r2**3) / (1 + 0.04 * r2 + 0.05 * r2**2 + 0.06 * r2**3)
    assert x.item() == pytest.approx(0.5 * factor + 2 * 0.01 * -0.125 + 0.02 * (r2 + 2 * 0.25))
    assert y.item() == pytest.approx(-0.25 * factor + 0.01 * (r2 + 2 * 0.0625) + 2 * 0.02 * -0.125)


@pytest.mark.parametrize("k1", [-0.2, 0.2])
def test_undistorting_an_image_inverts_the_lens(k1: float) -> None:
    """A distorted image that shows, at every pixel, the pinhole position of what is there."""
    height, width, f = 60, 80, 60.0
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    xd, yd = (u - 40) / f, (v - 30) / f
    x, y = xd, yd
    for _ in range(50):  # invert by iteration
        factor = 1 + k1 * (x * x + y * y)
        x, y = xd / factor, yd / factor
    shown = torch.stack([x, y, torch.ones_like(x)])
    lens = Distortion((k1,))
    k = torch.tensor([[f, 0, 40], [0, f, 30], [0, 0, 1]], dtype=torch.float64)
    depth = torch.ones(height, width)
    image, depth_map, outside = lens.undistort(k, shown, depth, None)
    column, row = (value * f + center for value, center in zip(lens.apply(xd, yd), (40, 30), strict=True))
    inside = (column > 0.5) & (column < width - 0.5) & (row > 0.5) & (row < height - 0.5)  # not at the border
    assert (image[0] - xd)[inside].abs().max() < 2e-3
    assert (image[1] - yd)[inside].abs().max() < 2e-3
    assert bool(outside.any()) == (k1 > 0)  # a pincushion lens shows less than a pinhole camera in the corners
    assert depth_map is not None
    assert torch.equal(depth_map > 0, ~outside)


def test_both_files_with_distortion_remove_it(tmp_path: Path) -> None:
    frames = make_frames(2)
    plain = read_recording(layouts.write_folder(tmp_path / "p", frames))[0]
    folder = layouts.write_transforms(tmp_path / "n", frames)
    content = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps(content | {"k1": -0.2, "p1": 0.01}))
    colmap = layouts.write_colmap(tmp_path / "c", frames)
    k = frames.k
    values = (k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, -0.2, 0, 0.01, 0)
    (colmap / "sparse/0/cameras.txt").write_text(f"1 OPENCV 64 48 {layouts.text(values)}\n")
    read = [read_recording(path) for path in (folder, colmap)]
    assert all("lens distortion is removed" in recording.notes[-1] for recording in read)
    first, second = (recording[0] for recording in read)
    assert torch.equal(first.image, second.image)
    assert not torch.equal(first.image, plain.image)
    assert first.exclude is not None
    assert torch.equal(first.depth, second.depth)
    assert read[0].read(0, (24, 32)).image.shape == (3, 24, 32)


@pytest.mark.parametrize(
    ("model", "values", "focal", "distortion"),
    [
        ("SIMPLE_PINHOLE", (60, 32, 24), (60, 60), (0, 0, 0, 0)),
        ("PINHOLE", (60, 61, 32, 24), (60, 61), (0, 0, 0, 0)),
        ("SIMPLE_RADIAL", (60, 32, 24, 0.1), (60, 60), (0.1, 0, 0, 0)),
        ("RADIAL", (60, 32, 24, 0.1, 0.2), (60, 60), (0.1, 0.2, 0, 0)),
        ("OPENCV", (60, 61, 32, 24, 0.1, 0.2, 0.3, 0.4), (60, 61), (0.1, 0.2, 0.3, 0.4)),
        ("FULL_OPENCV", (60, 61, 32, 24, 0.1, 0.2, 0.3, 0.4, 5, 6, 7, 8), (60, 61), (0.1, 0.2, 0.3, 0.4)),
    ],
)
def test_parameters_of_colmaps_cameras(
    model: str, values: tuple[float, ...], focal: tuple[float, float], distortion: tuple[float, ...]
) -> None:
    k, found = parameters(ColmapCamera(model, (48, 64), values))
    assert k.tolist() == [[focal[0], 0, 32], [0, focal[1], 24], [0, 0, 1]]
    assert found[:4] == distortion
    assert found[4:] == ((5, 6, 7, 8) if model == "FULL_OPENCV" else (0, 0, 0, 0))
