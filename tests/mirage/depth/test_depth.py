# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth estimators. The networks are tiny and random, with the real classes, pre- and post-processing."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_depth
import torch
from PIL import Image
from torch.nn import functional as nnf

from mirage.depth import (
    DepthAnything3Depth,
    DepthEstimator,
    MapAnythingDepth,
    MemoryDepth,
    MonocularDepth,
    RecordedDepth,
)
from mirage.errors import DataError
from mirage.geometry.hole_filling import fill_from_far_side
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras

SIZE = (37, 61)  # no multiple of any patch
NETWORKS = ["depth_anything", "zoedepth", "depth_pro"]


def cameras(count: int, focal: float = 50.0, size: tuple[int, int] = SIZE, step: float = 0.1) -> Cameras:
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, 0, 3] = step * torch.arange(count)
    k = torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    return Cameras(k.repeat(count, 1, 1), pose, size)


def frames(count: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.rand(3, count, *size, generator=torch.Generator().manual_seed(0))


def network(name: str, **options: Any) -> MonocularDepth:
    return MonocularDepth(*getattr(tiny_depth, name)(), **options)


def test_recorded_depth_is_returned_in_order() -> None:
    depth = torch.rand(5, 10, 20) + 1
    depth[0, 0, :4] = torch.tensor([0, -1, torch.nan, torch.inf])
    recorded: DepthEstimator = RecordedDepth(depth)
    first, second = recorded(frames(2, (10, 20))), recorded(frames(3, (20, 40)), cameras(3))
    assert torch.equal(first.valid[0, 0, :5], torch.tensor([False] * 4 + [True]))
    assert torch.equal(first.depth, torch.where(first.valid, depth[:2], 0))
    assert torch.equal(second.depth, depth[2:].repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert first.metric
    assert not RecordedDepth(depth, metric=False)(frames(1, (10, 20))).metric
    with pytest.raises(ValueError, match=r"frames: expected at most 0 \(the number of depth maps left\), got 1"):
        recorded(frames(1))


def test_recorded_depth_from_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        Image.fromarray(np.full((4, 6), 1000 * k, np.uint16)).save(path)
    estimate = RecordedDepth.from_files(paths)(frames(3, (4, 6)))
    assert estimate.depth[:, 0, 0].tolist() == [0, 1, 2]
    assert estimate.valid[:, 0, 0].tolist() == [False, True, True]
    Image.fromarray(np.full((5, 6), 1000, np.uint16)).save(paths[2])
    with pytest.raises(DataError, match=r"2\.png: expected size \(4, 6\) as in .*0\.png, got \(5, 6\)"):
        RecordedDepth.from_files(paths)
    with pytest.raises(DataError, match="depth: expected at least one file, got none"):
        RecordedDepth.from_files([])


def test_memory_depth_is_rendered_and_filled_with_the_background() -> None:
    size, grid = (96, 160), (6, 10)
    start = cameras(1, 80.0, size)
    depth = torch.full((1, *size), 4.0)
    depth[:, 32:64, 48:112] = 2.0
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *grid), start, depth)
    source: DepthEstimator = MemoryDepth(memory, 16)
    moved = cameras(3, 80.0, size, step=0.6)
    estimate = source(frames(3, size), moved)
    view = memory.read(moved.rescale(grid))
    assert not view.mask.all()
    assert torch.equal(estimate.depth[:, 8::16, 8::16], fill_from_far_side(view.depth))
    assert estimate.valid.all()
    assert estimate.metric
    assert not MemoryDepth(LatentSpatialMemory(1), 16)(frames(1, size), start).valid.any()
    with pytest.raises(ValueError, match="cameras: expected one per frame, got None"):
        source(frames(1, size))
    with pytest.raises(ValueError, match=r"frames: expected H and W to be multiples of 16, got \(37, 61\)"):
        source(frames(1), cameras(1))


def test_frames_and_cameras_are_checked() -> None:
    with pytest.raises(ValueError, match=r"frames: expected \(3, T, H, W\), got \(2, 3, 37, 61\)"):
        RecordedDepth(torch.ones(3, 4, 4))(frames(2).movedim(0, 1))
    with pytest.raises(ValueError, match="cameras: expected T=2 cameras, got 3"):
        RecordedDepth(torch.ones(3, 4, 4))(frames(2), cameras(3))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_estimate_depth_of_any_size(name: str) -> None:
    estimate = network(name)(frames(3), cameras(3))
    assert estimate.depth.shape == (3, *SIZE)
    assert estimate.depth.dtype == torch.float32
    assert estimate.metric
    assert estimate.valid.all()
    assert estimate.depth.std() > 0
    assert not torch.equal(estimate.depth[0], estimate.depth[1]), "depth depends on the image"
    # In float64: on some processors, float32 sums depend on the batch, and random weights amplify the difference.
    alone, together = (network(name, batch=batch) for batch in (1, 2))
    for estimator in (alone, together):
        estimator.model.double()
    expected = alone(frames(3), cameras(3)).depth
    torch.testing.assert_close(together(frames(3), cameras(3)).depth, expected, rtol=1e-3, atol=1e-3)
    assert network(name)(frames(3)[:, :0], cameras(3)[:0]).depth.shape == (0, *SIZE)


@pytest.mark.parametrize("name", NETWORKS)
def test_resizing_does_not_average_depths(name: str) -> None:
    """Every depth is one that the network predicted; away from edges it agrees with the processor's interpolation."""
    model, processor = getattr(tiny_depth, name)()
    some = frames(1, (120, 120))
    estimate = MonocularDepth(model, processor)(some, cameras(1, 50.0, (120, 120)))
    image = (some[:, 0].movedim(0, -1) * 255).round().byte().numpy()
    inputs = processor(images=[image], return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        outputs = model.eval()(**inputs)
    raw = outputs.predicted_depth
    if name == "depth_pro":
        # depth = f / (W C) for the canonical inverse depth C (Depth Pro, section 3.1)
        raw = 1 / (120 * raw / 50).clamp(1e-4, 1e4)
        outputs.field_of_view = torch.tensor([2 * math.degrees(math.atan(120 / (2 * 50)))])
    nearest = (estimate.depth.flatten()[:, None] - raw.flatten()).abs().amin(1)
    assert bool((nearest <= 1e-5 * estimate.depth.flatten()).all())
    sizes = {"source_sizes": [(120, 120)]} if name == "zoedepth" else {"target_sizes": [(120, 120)]}
    own = processor.post_process_depth_estimation(outputs, **sizes)[0]["predicted_depth"]
    maps = torch.stack([own.flatten(), estimate.depth.flatten(), estimate.depth.flip(2).flatten()])
    same, mirrored = torch.corrcoef(1 / maps)[0, 1:]
    assert same > 0.75, "the same image, not mirrored"
    assert mirrored < 0.5


def test_the_cameras_field_of_view_replaces_the_predicted_one() -> None:
    """Twice the focal length is twice the depth; the grid of the cameras does not matter."""
    source = network("depth_pro")
    short, long = (source(frames(2), cameras(2, focal)).depth for focal in (50.0, 100.0))
    small = (short > 1e-3) & (long < 1e3)
    torch.testing.assert_close(long[small], 2 * short[small])
    torch.testing.assert_close(source(frames(2), cameras(2).rescale((11, 13))).depth, short)
    guessed = source(frames(2))
    assert guessed.metric
    assert not torch.equal(guessed.depth, short)
    blind = MonocularDepth(*tiny_depth.depth_pro(field_of_view=False))
    assert not blind(frames(1)).metric
    assert blind(frames(1), cameras(1)).metric


def test_depth_is_float32_in_half_precision() -> None:
    source = network("depth_anything")
    source.model.to(torch.bfloat16)
    estimate = source(frames(1))
    assert estimate.depth.dtype == torch.float32
    torch.testing.assert_close(estimate.depth, network("depth_anything")(frames(1)).depth, rtol=0.1, atol=0.5)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_load_from_a_folder(name: str, tmp_path: Path) -> None:
    model, processor = getattr(tiny_depth, name)()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = MonocularDepth.load(tmp_path)
    assert loaded.name == name
    torch.testing.assert_close(loaded(frames(1)).depth, MonocularDepth(model, processor)(frames(1)).depth)
    assert MonocularDepth.load(tmp_path, dtype=torch.bfloat16).model.dtype == torch.bfloat16
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"expected weights and an image processor, got .*model\.safet.*'hf download"):
        MonocularDepth.load(tmp_path)


def test_other_networks_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got '[^']*'; download the weights with 'hf download apple/DepthPro-hf"):
        MonocularDepth.load(tmp_path)
    model, processor = tiny_depth.depth_anything("relative")
    with pytest.raises(ValueError, match=r"model: expected metric depth, such as depth-anything/.* for relative depth"):
        MonocularDepth(model, processor)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(DataError, match="model: expected metric depth"):
        MonocularDepth.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="model: expected one of depth_pro, depth_anything, zoedepth, got bert"):
        MonocularDepth.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json"):
        MonocularDepth.load(tmp_path)
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        network("depth_anything", batch=0)


def test_the_error_for_missing_packages_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "zoedepth"}')
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        DataError, match=r"needs transformers; install it with pip install 'mirage-kernels\[depth\]' \("
    ):
        MonocularDepth.load(tmp_path)
    monkeypatch.setitem(sys.modules, "depth_anything_3", None)
    with pytest.raises(DataError, match=r"needs depth_anything_3; .*github.com/ByteDance-Seed/Depth-Anything-3"):
        DepthAnything3Depth.load(tmp_path)
    monkeypatch.setitem(sys.modules, "mapanything", None)
    with pytest.raises(DataError, match=r"needs mapanything; .*github.com/facebookresearch/map-anything"):
        MapAnythingDepth.load(tmp_path)
    for source in (DepthAnything3Depth, MapAnythingDepth):
        with pytest.raises(DataError, match=f"'hf download {source.weights} --local-dir"):
            source.load(tmp_path / "none")


class StandIn:
    """Replaces ``depth_anything_3.api.DepthAnything3``, with its documented interface and a resolution of 14x28."""

    def __init__(self, name: str, *, agree: bool = True) -> None:
        self.model_name, self.agree, self.inputs = name, agree, {}  # type: ignore[var-annotated]

    def inference(self, image: list[Any], extrinsics: Any = None, intrinsics: Any = None) -> Any:
        self.inputs = {"image": image, "extrinsics": extrinsics, "intrinsics": intrinsics}
        poses = extrinsics if extrinsics is not None else np.tile(np.eye(4), (len(image), 1, 1))
        sky = np.zeros((len(image), 14, 28), bool)
        sky[:, :7] = True
        return SimpleNamespace(
            depth=np.full((len(image), 14, 28), 2.0, np.float32),
            extrinsics=poses[:, :3] + (0 if self.agree else 1),
            sky=sky if self.model_name.startswith("da3nested") else None,
        )


def test_depth_anything_3_gets_moving_cameras() -> None:
    model = StandIn("da3-large")
    moving = cameras(3)
    estimate = DepthAnything3Depth(model)(frames(3), moving.rescale((10, 10)))
    assert [image.shape for image in model.inputs["image"]] == [(*SIZE, 3)] * 3
    assert model.inputs["image"][0].dtype == np.uint8
    inverse = np.linalg.inv(moving.cam2world.numpy())
    np.testing.assert_allclose(model.inputs["extrinsics"], inverse, atol=1e-6)
    np.testing.assert_allclose(model.inputs["intrinsics"], moving.intrinsics.numpy(), rtol=1e-5)
    assert estimate.depth.shape == (3, *SIZE)
    assert bool((estimate.depth == 2).all())
    assert estimate.metric
    still = DepthAnything3Depth(model)(frames(3), cameras(3, step=0))
    assert model.inputs["extrinsics"] is None
    assert not still.metric
    assert not DepthAnything3Depth(StandIn("da3-large", agree=False))(frames(3), moving).metric
    assert not DepthAnything3Depth(model)(frames(3)).metric


def test_depth_anything_3_in_meters() -> None:
    metric = DepthAnything3Depth(StandIn("da3metric-large"))
    estimate = metric(frames(2), cameras(2, 60.0))
    focal = (60 * 28 / SIZE[1] + 60 * 14 / SIZE[0]) / 2  # at the network's resolution
    torch.testing.assert_close(estimate.depth, torch.full((2, *SIZE), 2 * focal / 300))
    assert metric.model.inputs["extrinsics"] is None
    assert estimate.metric
    assert not metric(frames(2)).metric
    nested = DepthAnything3Depth(StandIn("da3nested-giant-large"))(frames(1))
    assert nested.metric
    assert not nested.valid[:, :18].any(), "sky"
    assert nested.valid[:, 19:].all()


def test_map_anything_gets_cameras_and_its_crop_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement with the documented interface: images are scaled to cover a size and cropped at the center."""
    inputs: list[dict[str, Any]] = []
    grid = (28, 28)

    def preprocess(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
        inputs.extend(views)
        images = torch.stack([view["img"] for view in views]).movedim(3, 1).float()
        scale = max(grid[0] / SIZE[0], grid[1] / SIZE[1])
        h, w = math.ceil(SIZE[0] * scale), math.ceil(SIZE[1] * scale)
        large = nnf.interpolate(images, (h, w), mode="nearest-exact")
        top, left = (h - grid[0]) // 2, (w - grid[1]) // 2
        return [{"img": p[None, :, top : top + grid[0], left : left + grid[1]]} for p in large]

    class Model:
        def infer(self, views: list[dict[str, Any]], apply_mask: bool, mask_edges: bool) -> list[dict[str, Any]]:
            assert apply_mask
            assert mask_edges
            depth = [view["img"][:, 0, :, :, None] for view in views]
            return [{"depth_z": d, "mask": d != 7} for d in depth]

        @classmethod
        def from_pretrained(cls, folder: str) -> Model:
            assert folder == str(tmp_path)
            return cls()

        def to(self, device: torch.device) -> Model:
            assert device == torch.device("cpu")
            return self

        def eval(self) -> Model:
            return self

    (tmp_path / "config.json").write_text("{}")
    for name in ("mapanything", "mapanything.models", "mapanything.utils", "mapanything.utils.image"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["mapanything.models"], "MapAnything", Model, raising=False)
    monkeypatch.setattr(sys.modules["mapanything.utils.image"], "preprocess_inputs", preprocess, raising=False)
    source = MapAnythingDepth.load(tmp_path)
    column = torch.arange(SIZE[1]).expand(2, *SIZE) + 1  # the red channel is the column, from 1
    some = torch.stack([column / 255] * 3)
    estimate = source(some, cameras(2))
    assert inputs[0]["img"].dtype == torch.uint8
    assert inputs[0]["img"].shape == (*SIZE, 3)
    assert torch.equal(inputs[1]["camera_poses"], cameras(2).cam2world[1])
    assert torch.equal(inputs[1]["intrinsics"], cameras(2).intrinsics[1])
    assert inputs[1]["is_metric_scale"].tolist() == [True]
    assert estimate.metric
    kept = estimate.valid[0].any(0)
    assert 35 <= int(kept.sum()) <= 37, "the center of 61 columns"
    assert torch.equal(kept, kept.flip(0))
    assert not estimate.valid[estimate.depth == 7].any()
    assert bool(((estimate.depth - column).abs()[estimate.valid] <= 2).all())
    inputs.clear()
    assert source(some).metric
    assert set(inputs[0]) == {"img"}
    assert not MapAnythingDepth(Model(), preprocess, metric_poses=False)(some, cameras(2)).metric
