# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Hole filling: of latents smoothly, of depth from the background."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.geometry.hole_filling import fill_from_far_side
from mirage.models.embedded import DctCodec, FillModel, fill_holes, push_pull

INF = torch.inf


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 13), st.integers(1, 13), st.floats(0, 1))
def test_push_pull_keeps_valid_cells_and_their_range(seed: int, h: int, w: int, density: float) -> None:
    g = torch.Generator().manual_seed(seed)
    values, mask = torch.randn(2, 3, h, w, generator=g), torch.rand(2, h, w, generator=g) < density
    filled = push_pull(values, mask)
    assert filled.isfinite().all()
    for t in range(2):
        valid = values[t][:, mask[t]]
        assert torch.equal(filled[t][:, mask[t]], valid)
        if mask[t].any():
            low, high = valid.amin(1)[:, None, None], valid.amax(1)[:, None, None]
            assert bool(((filled[t] >= low - 1e-5) & (filled[t] <= high + 1e-5)).all())
        else:
            assert not filled[t].any()


def test_push_pull_of_a_constant_is_that_constant() -> None:
    mask = torch.zeros(1, 31, 46, dtype=torch.bool)
    mask[0, 3, 7] = True
    torch.testing.assert_close(push_pull(torch.full((1, 2, 31, 46), 0.7), mask), torch.full((1, 2, 31, 46), 0.7))


def test_push_pull_ignores_values_in_holes() -> None:
    mask = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    a, b = torch.randn(1, 2, 9, 9), torch.randn(1, 2, 9, 9)
    b = torch.where(mask, a, b)
    assert torch.equal(push_pull(a, mask), push_pull(b, mask))


def test_the_fill_generator_keeps_the_first_latent_and_valid_cells() -> None:
    g = torch.Generator().manual_seed(0)
    view, mask = torch.randn(48, 5, 6, 7, generator=g), torch.rand(5, 6, 7, generator=g) < 0.7
    first = torch.randn(48, 6, 7, generator=g)
    none = view[:, :0]
    latents = FillModel()(
        view, mask, first=first, preceding=none, preceding_view=none, preceding_mask=mask[:0], references=none,
        prompt="", generator=g,
    )  # fmt: skip
    assert torch.equal(latents[:, 0], first)
    assert torch.equal(latents[:, 1:][:, mask[1:]], view[:, 1:][:, mask[1:]])


def test_holes_take_the_depth_of_the_background() -> None:
    row = torch.tensor([[[1.0, INF, INF, 3.0, 3.0]]])
    assert fill_from_far_side(row).tolist() == [[[1, 3, 3, 3, 3]]]
    assert fill_from_far_side(row.flip(2)).tolist() == [[[3, 3, 3, 3, 1]]]
    assert fill_from_far_side(row.transpose(1, 2)).flatten().tolist() == [1, 3, 3, 3, 3]


def test_a_hole_at_the_border_takes_the_depth_of_its_only_side() -> None:
    assert fill_from_far_side(torch.tensor([[[2.0, 5.0, INF, INF]]])).tolist() == [[[2, 5, 5, 5]]]


def test_a_side_is_its_nearest_valid_cell() -> None:
    assert fill_from_far_side(torch.tensor([[[9.0, 1.0, INF, 2.0, 8.0]]])).tolist() == [[[9, 1, 2, 2, 8]]]


def test_empty_rows_and_columns_are_filled() -> None:
    depth = torch.full((2, 5, 6), INF)
    depth[0, 2, 3] = 4.0
    filled = fill_from_far_side(depth)
    assert bool((filled[0] == 4).all())
    assert bool((filled[1] == INF).all()), "a map without any depth is unchanged"


def test_valid_depth_is_kept() -> None:
    depth = torch.rand(3, 7, 8, generator=torch.Generator().manual_seed(0)) + 1
    holes = torch.rand(3, 7, 8, generator=torch.Generator().manual_seed(1)) < 0.5
    filled = fill_from_far_side(torch.where(holes, INF, depth))
    assert torch.equal(filled[~holes], depth[~holes])
    assert filled.isfinite().all()


def textured(h: int, w: int) -> torch.Tensor:
    """Latents of an image of one color with strong texture in every block."""
    view = 3 * torch.randn(48, 1, h, w, generator=torch.Generator().manual_seed(0))
    view[::16] = torch.tensor([0.8, 0.5, 0.2])[:, None, None, None] * 16
    return view


def test_holes_take_the_colors_around_them_without_a_grid() -> None:
    mask = torch.zeros(1, 12, 20, dtype=torch.bool)
    mask[:, :, :7] = True
    filled = fill_holes(textured(12, 20), mask)
    image = DctCodec(16).decode(filled[None])[0, :, 0, :, 7 * 16 :]
    torch.testing.assert_close(image, torch.tensor([0.8, 0.5, 0.2])[:, None, None].expand_as(image), rtol=0, atol=1e-5)
    assert torch.equal(filled[:, mask], textured(12, 20)[:, mask])


def test_filled_blocks_join_without_steps() -> None:
    view, mask = torch.zeros(48, 1, 6, 12), torch.zeros(1, 6, 12, dtype=torch.bool)
    mask[:, :, 0] = mask[:, :, -1] = True
    view[::16, :, :, -1] = 16.0  # from black on the left to white on the right
    image = DctCodec(16).decode(fill_holes(view, mask)[None])[0, 0, 0, 40, 16:-16]
    assert image.diff().min() > -1e-3
    assert image.diff().max() < 0.02, "a step from one block to the next would be 0.09"


def test_where_nothing_is_known_the_frame_before_goes_on() -> None:
    view = torch.cat([textured(12, 20), torch.zeros(48, 2, 12, 20)], 1)
    mask = torch.tensor([True, False, False])[:, None, None].expand(3, 12, 20)
    image = DctCodec(16).decode(fill_holes(view, mask)[None])[0, :, ::4]
    for n in (1, 2):
        assert (image[:, n] - torch.tensor([0.8, 0.5, 0.2])[:, None, None]).abs().max() < 0.01
    with pytest.raises(ValueError, match="view: expected 48 channels of DctCodec, got 3"):
        fill_holes(view[:3], mask)


def test_push_pull_in_rounds_hardly_depends_on_the_place_on_the_grid() -> None:
    values = torch.linspace(0, 1, 24)[:, None].expand(1, 1, 24, 40)
    far = []
    for border in (9, 10, 11, 12):
        mask = torch.zeros(1, 24, 40, dtype=torch.bool)
        mask[:, :, :border] = True
        far.append(push_pull(values, mask, 6)[0, 0, 12:, border + 4])
    assert max((a - far[0]).abs().max() for a in far) < 0.06
