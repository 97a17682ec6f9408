# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory as colored points."""

from __future__ import annotations

import pytest
import torch
from walls import CAMERA, CODEC, wall_memory

from mirage.memory import LatentSpatialMemory
from mirage.viewer import make_point_cloud
from mirage.viewer.colors import ComponentColors, decode_cells, stamp_colors
from mirage_kernels import Cameras

RED, GREEN = [255, 0, 0], [0, 255, 0]


def test_points_have_the_decoded_colors() -> None:
    cloud = make_point_cloud(wall_memory(), CODEC)
    assert cloud.colors[cloud.stamp == 0].unique(dim=0).tolist() == [RED]
    assert cloud.colors[cloud.stamp == 10].unique(dim=0).tolist() == [GREEN]
    assert cloud.size.sub(1 / 3).abs().max() < 1e-6


def test_the_points_of_a_cell_lie_where_its_parts_were_seen() -> None:
    """In the camera that wrote them, also a rolled one, they fall onto the centers of a grid that is finer."""
    turned = torch.tensor([[0.0, -1, 0, 3], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    camera = Cameras(CAMERA.intrinsics, turned, CAMERA.size)
    memory = LatentSpatialMemory(CODEC.channels, codec=CODEC.name)
    image = torch.rand(1, 3, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    latents = CODEC.encode(image)
    memory.write(latents[0], camera, torch.full((1, 32, 48), 2.0))
    cloud = make_point_cloud(memory, CODEC, detail=4)
    uv, _, inside = camera.rescale((16, 24)).project(cloud.xyz)
    assert inside.all()
    cells = uv[0].floor().long()
    assert (uv[0] - cells - 0.5).abs().max() < 1e-4
    assert len(cells.unique(dim=0)) == 16 * 24
    decoded = torch.nn.functional.avg_pool2d(CODEC.decode(latents)[0, :, 0], 2)
    expected = decoded[:, cells[:, 1], cells[:, 0]].T
    assert (cloud.colors / 255 - expected).abs().max() < 0.6 / 255


def test_points_of_a_forgotten_frame_take_the_nearest_one() -> None:
    memory = wall_memory()
    memory.history.version = memory.history.version._replace(stamps=torch.tensor([0, 7]))
    assert len(make_point_cloud(memory, CODEC, detail=2).xyz) == 4 * 32


@pytest.mark.parametrize("color", ["components", "frame"])
def test_other_colors_need_no_codec(color: str) -> None:
    cloud = make_point_cloud(wall_memory(), color=color, detail=2)
    first, second = (cloud.colors[cloud.stamp == stamp].unique(dim=0) for stamp in (0, 10))
    assert len(first) == len(second) == 1
    assert first.tolist() != second.tolist()


def test_an_empty_memory_has_no_points() -> None:
    memory = LatentSpatialMemory(CODEC.channels)
    for color in ("image", "components", "frame"):
        assert make_point_cloud(memory, CODEC, color=color, detail=2).xyz.shape == (0, 3)


def test_arguments_are_checked() -> None:
    memory = wall_memory()
    with pytest.raises(ValueError, match="codec: expected a codec for color 'image', got None"):
        make_point_cloud(memory)
    with pytest.raises(ValueError, match="detail: expected 1 to 8, got 9"):
        make_point_cloud(memory, CODEC, detail=9)
    with pytest.raises(ValueError, match="color: expected 'image', 'components' or 'frame', got 'red'"):
        make_point_cloud(memory, CODEC, color="red")  # type: ignore[arg-type]


def test_components_do_not_depend_on_the_order_of_rows() -> None:
    latents = torch.randn(500, 8, generator=torch.Generator().manual_seed(1)) * torch.arange(8, 0, -1)
    colors, order = ComponentColors(latents)(latents), torch.randperm(500, generator=torch.Generator().manual_seed(2))
    assert (ComponentColors(latents[order])(latents) - colors).abs().max() < 1e-5
    # The first component is that of the largest spread, and its color runs over the whole range.
    assert torch.corrcoef(torch.stack([colors[:, 0], latents[:, 0]]))[0, 1].abs() > 0.95
    assert colors.amin(0).max() == 0
    assert colors.amax(0).min() == 1


def test_cells_are_decoded_in_batches_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn(10, 48, generator=torch.Generator().manual_seed(3))
    whole = decode_cells(latents, CODEC, 2)
    monkeypatch.setattr("mirage.viewer.colors.BATCH", 3)
    # On some processors, the last bit of a matrix product depends on how many columns it has.
    assert (decode_cells(latents, CODEC, 2) - whole).abs().max() <= torch.finfo(torch.float32).eps
    one = CODEC.decode(latents[4][None, :, None, None, None])[0, :, 0].reshape(3, 2, 4, 2, 4).mean((2, 4))
    assert (whole[4].movedim(2, 0) - one).abs().max() < 1e-6


def test_stamps_run_from_violet_to_yellow() -> None:
    colors = stamp_colors(torch.tensor([5, 0, 900]))
    assert (colors * 255).round().int().tolist() == [[33, 145, 140], [68, 1, 84], [253, 231, 37]]
