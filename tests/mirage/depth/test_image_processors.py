# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image processors of depth networks: equal to those of transformers, and none needs torchvision."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_depth
import torch
from transformers import DepthProImageProcessor, ZoeDepthImageProcessor

from mirage.depth.image_processors import PROCESSORS, DepthProProcessor, ZoeDepthProcessor

SIZES = [(37, 61), (64, 64), (120, 50), (300, 402)]


def images(size: tuple[int, int], count: int = 2) -> list[Any]:
    generator = np.random.default_rng(0)
    return list(generator.integers(0, 256, (count, *size, 3), dtype=np.uint8))


def both(name: str, folder: Path, **settings: Any) -> tuple[Any, Any]:
    """The processor of transformers, and ours with the settings that it saves."""
    theirs = {"depth_pro": DepthProImageProcessor, "zoedepth": ZoeDepthImageProcessor}[name](**settings)
    theirs.save_pretrained(folder)
    return theirs, PROCESSORS[name].load(folder)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "settings"), [
    ("depth_pro", {"size": {"height": 192, "width": 192}}),
    ("depth_pro", {"size": {"height": 96, "width": 64}, "image_mean": [0.4, 0.5, 0.6], "resample": 3}),
    ("depth_pro", {"do_resize": False, "do_normalize": False}),
    ("zoedepth", {}),
    ("zoedepth", {"ensure_multiple_of": 32, "size": {"height": 64, "width": 96}}),
    ("zoedepth", {"keep_aspect_ratio": False, "ensure_multiple_of": 32, "do_pad": False, "resample": 3}),
    ("zoedepth", {"rescale_factor": 1 / 127, "image_std": [0.2, 0.3, 0.4]}),
])  # fmt: skip
def test_pixel_values_are_those_of_transformers(
    name: str, settings: dict[str, Any], size: tuple[int, int], tmp_path: Path
) -> None:
    theirs, ours = both(name, tmp_path, **settings)
    inputs = {"images": images(size), "return_tensors": "pt", "input_data_format": "channels_last"}
    expected, got = theirs(**inputs)["pixel_values"], ours(**inputs)["pixel_values"]
    scale = float(expected.abs().max())
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("pad", [True, False])
def test_depth_is_that_of_transformers(tmp_path: Path, pad: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(2, 48, 64, generator=generator)
    theirs, ours = both("zoedepth", tmp_path, do_pad=pad)
    outputs = SimpleNamespace(predicted_depth=predicted, field_of_view=torch.tensor([50.0, 70.0]))
    pairs = [(theirs, ours, {"source_sizes": [(37, 61), (37, 61)]})]
    pairs.append((*both("depth_pro", tmp_path), {"target_sizes": [(48, 64), (20, 30)]}))  # type: ignore[arg-type]
    for their, our, sizes in pairs:
        expected = their.post_process_depth_estimation(outputs, **sizes)
        for result, other in zip(our.post_process_depth_estimation(outputs, **sizes), expected, strict=True):
            torch.testing.assert_close(result["predicted_depth"], other["predicted_depth"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", [
    {"size": {"shortest_edge": 64}}, {"size": 64}, {"size": None}, {"resample": 1},
])  # fmt: skip
def test_settings_that_are_not_supported_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    DepthProImageProcessor().save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"^preprocessor_config\.json: "):
        DepthProProcessor.load(tmp_path)
    assert ZoeDepthProcessor(size={"height": 1, "width": 1}).align_corners


@pytest.mark.long
def test_networks_run_without_torchvision(tmp_path: Path) -> None:
    """In a process that has none: every depth network, and every network of SemanticFilter."""
    import tiny_segmenters

    for name in ("depth_anything", "zoedepth", "depth_pro"):
        model, processor = getattr(tiny_depth, name)()
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
    for name, save in tiny_segmenters.SAVE.items():
        save(tmp_path / name)
    program = """
import sys
sys.modules["torchvision"] = None
import torch
from mirage.depth import MonocularDepth
from mirage.filters import SemanticFilter
from mirage.filters.observation import Observation
from mirage_kernels import Cameras
folder = sys.argv[1]
frame = torch.rand(3, 64, 64)
camera = Cameras(torch.tensor([[50.0, 0, 32], [0, 50, 32], [0, 0, 1]]), torch.eye(4), (64, 64))
for name in ("depth_anything", "zoedepth", "depth_pro"):
    depth = MonocularDepth.load(f"{folder}/{name}")(frame[:, None], camera)
    print(name, tuple(depth.depth.shape))
for name in ("segformer", "mask2former", "oneformer"):
    mask = SemanticFilter(f"{folder}/{name}", ("person",))(Observation(frame, camera, (4, 4), None))
    print(name, tuple(mask.shape))
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        *(f"{name} (1, 64, 64)" for name in ("depth_anything", "zoedepth", "depth_pro")),
        *(f"{name} (64, 64)" for name in tiny_segmenters.SAVE),
    ]
