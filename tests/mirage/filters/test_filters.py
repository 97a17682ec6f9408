# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mirage.cameras import pan, straight
from mirage.filters import (
    ConsistencyFilter,
    DepthHistory,
    EdgeFilter,
    FarFilter,
    Filters,
    FrameObservation,
    MotionFilter,
    Observation,
    Reason,
    SkyFilter,
    overlay,
)
from mirage.geometry.components import complete_objects
from mirage.geometry.grids import masked_cells
from mirage.memory import LatentSpatialMemory
from mirage.rollout.write_back import MemoryWriter
from mirage_kernels import Cameras

GRID, SIZE = (12, 20), (192, 320)
START = Cameras(torch.tensor([[160.0, 0, 160], [0, 160, 96], [0, 0, 1]]), torch.eye(4), SIZE)
BOX = (slice(64, 128), slice(112, 208))  # pixels
CELLS = (slice(4, 8), slice(7, 13))  # the box's


def wall(distance: float = 4.0) -> torch.Tensor:
    return torch.full(SIZE, distance)


def room(box: float = 2.0) -> torch.Tensor:
    """A wall at 4 m with a box in front of it."""
    depth = wall()
    depth[BOX] = box
    return depth


def noise(seed: int = 0) -> torch.Tensor:
    """An image of random squares of 12 pixels."""
    coarse = torch.rand(1, 3, 16, 27, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, SIZE, mode="nearest-exact")[0]


def observe(depth: torch.Tensor | None = None, frame: torch.Tensor | None = None, **known: object) -> Observation:
    return Observation(noise() if frame is None else frame, START, GRID, depth=depth, **known)  # type: ignore[arg-type]


@given(st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([(12, 20), (5, 7), (191, 3), (30, 50)]))
def test_cells_are_masked_by_the_kernels_rule(seed: int, max_masked: float, grid: tuple[int, int]) -> None:
    """Compared with a loop over pixels; the grid need not divide the image."""
    height, width = 30, 50
    if grid[0] > height:
        grid = (7, 50)
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < 0.2
    masked, total = torch.zeros(grid), torch.zeros(grid)
    for r in range(height):
        for c in range(width):
            cell = ((2 * r + 1) * grid[0]) // (2 * height), ((2 * c + 1) * grid[1]) // (2 * width)
            masked[cell] += mask[r, c].item()
            total[cell] += 1
    assert torch.equal(masked_cells(mask, grid, max_masked), masked > max_masked * total)


def test_cells_without_pixels_are_not_masked() -> None:
    mask = torch.ones(2, 2, dtype=torch.bool)
    assert int(masked_cells(mask, (4, 2)).sum()) == 4


def test_the_first_reason_wins_after_the_users_mask() -> None:
    exclude = torch.zeros(SIZE, dtype=torch.bool)
    exclude[0, 0] = True
    depth = room()
    depth[:16] = 50.0
    result = Filters([FarFilter(10.0), SkyFilter(far=10.0)])(observe(depth, exclude=exclude))
    assert result.reason[0, 0] == Reason.EXCLUDED
    assert bool((result.reason[0, 1:] == Reason.FAR).all())
    assert bool(result.kept[1:].all())
    assert result.pixels[0, 0] == Reason.EXCLUDED
    assert result.pixels[0, 1] == Reason.FAR
    swapped = Filters([SkyFilter(far=10.0), FarFilter(10.0)])(observe(depth, exclude=exclude))
    assert bool((swapped.reason[0, 1:] == Reason.SKY).all())
    assert result.fractions == pytest.approx(
        {"kept": 220 / 240, "excluded": 1 / 240, "sky": 0, "moving": 0, "inconsistent": 0, "edge": 0, "far": 19 / 240}
    )


def test_the_users_keep_mask_overrides_filters() -> None:
    """For filters of pixels and of cells; the mask ``exclude`` still applies."""
    keep = torch.zeros(SIZE, dtype=torch.bool)
    keep[:, :160] = True
    everything = Filters([FarFilter(1.0)])(observe(wall(), keep=keep))
    assert bool((everything.kept[:, :10]).all())
    assert not everything.kept[:, 10:].any()
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, wall()[None])
    nearer = observe(wall(2.0), view=memory.read(START.rescale(GRID)), keep=keep)
    assert torch.equal(Filters([ConsistencyFilter()])(nearer).kept, everything.kept)
    assert not Filters()(replace(nearer, exclude=keep)).kept[:, :10].any()


def test_far_is_beyond_the_distance_or_infinite() -> None:
    depth = wall(3.0)
    depth[:16], depth[16:32], depth[32:48] = 3.1, math.inf, 0.0
    out = Filters([FarFilter(3.0)])(observe(depth)).mask
    assert out.any(1).tolist() == [True, True] + 10 * [False]
    with pytest.raises(ValueError, match="distance: expected more than 0, got 0"):
        FarFilter(0)


def test_edges_are_steps_and_flying_pixels_but_not_slopes() -> None:
    assert int(EdgeFilter()(observe(room())).sum()) == 2 * (2 * 64 + 2 * 96) - 4  # two pixels across, corners once
    assert bool(Filters([EdgeFilter()])(observe(room())).kept.all()), "the median lies on one side of a clean step"
    assert Filters([EdgeFilter(max_masked=0.0)])(observe(room())).mask.any()
    flying = room()
    flying[BOX[0], 100:104] = torch.linspace(1 / 4, 1 / 2, 6)[1:-1].reciprocal()
    flying[BOX[0], 104:112] = 2.0
    assert bool(Filters([EdgeFilter()])(observe(flying)).mask[CELLS[0], 6].all())
    rows = torch.arange(SIZE[0]).float()[:, None] + 0.5
    for degrees, marked in ((80.0, False), (88.0, True)):  # a floor, seen at so many degrees from its normal
        slope = math.tan(math.radians(degrees)) / 160
        floor = (1 / (1.0 - slope * (rows - 96))).expand(SIZE).contiguous()
        assert EdgeFilter(min_step=0.0)(observe(floor))[90:102].any().item() is marked
    with pytest.raises(ValueError, match="grazing: expected 0 to 90 degrees, got 90"):
        EdgeFilter(grazing=90)


def test_cells_nearer_than_the_memory_are_inconsistent() -> None:
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, wall()[None])
    view = memory.read(START.rescale(GRID))
    out = Filters([ConsistencyFilter()])(observe(room(), view=view)).reason == Reason.INCONSISTENT
    expected = torch.zeros(GRID, dtype=torch.bool)
    expected[CELLS] = True
    assert torch.equal(out, expected)
    for depth in (room(3.7), room(6.0), wall(0.0)):  # the same surface, a farther one, none
        assert bool(Filters([ConsistencyFilter()])(observe(depth, view=view)).kept.all())
    assert not ConsistencyFilter()(observe(room())).any(), "there is no memory to compare with"


def test_a_surface_outside_earlier_views_is_consistent() -> None:
    """A box outside the view that saw the background: it is nearer than the memory, but no view saw through it."""
    aside = START.cam2world.clone()
    aside[:, 0, 3] = 3.0
    side = Cameras(START.intrinsics, aside, SIZE)
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), side, wall()[None])
    history = memory.history
    assert history.cameras is not None
    view, earlier = memory.read(START.rescale(GRID)), DepthHistory(history.cameras, history.surface)
    depth = wall()
    depth[80:112, 240:272] = 0.8  # at x = 0.5 m, before a wall that the other view, from x = 3 m, sees behind it
    in_bounds = side.project(torch.tensor([[0.48, 0.0, 0.8]]))[2]
    assert not in_bounds.any()
    assert ConsistencyFilter()(observe(depth, view=view)).any()
    assert not ConsistencyFilter()(observe(depth, view=view, depth_history=earlier)).any()
    passed = wall()
    passed[80:112, 240:272] = 3.0  # at this position the earlier view saw the wall behind
    assert ConsistencyFilter()(observe(passed, view=view, depth_history=earlier))[5:7, 15:17].all()
    assert not ConsistencyFilter(min_views=2)(observe(passed, view=view, depth_history=earlier)).any()


def test_a_surface_in_an_earlier_view_is_consistent() -> None:
    """Even if the memory has lost it and shows the background."""
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, wall()[None])
    view, camera = memory.read(START.rescale(GRID)), START.rescale(GRID)
    cells = room()[8::16, 8::16]
    assert ConsistencyFilter()(
        observe(room(), view=view, depth_history=DepthHistory(camera, wall()[8::16, 8::16][None]))
    ).any()
    assert not ConsistencyFilter()(observe(room(), view=view, depth_history=DepthHistory(camera, cells[None]))).any()


def test_components_are_completed() -> None:
    depth = torch.full((6, 8), 4.0)
    depth[1:5, 2:6] = 2.0
    marked = torch.zeros(6, 8, dtype=torch.bool)
    marked[1:3, 2:5] = True
    marked[0, 0] = True
    box = depth == 2.0
    assert torch.equal(complete_objects(marked, depth, 0.3) & box, box)
    assert int((complete_objects(marked, depth, 0.3) & ~box).sum()) == 1, "one cell of the wall is not the wall"
    assert torch.equal(complete_objects(marked, depth, 0.4), marked)


def moved(shift: int, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A frame and its depth, with the box and its pattern ``shift`` pixels to the right."""
    image, depth = frame.clone(), wall()
    rows, columns = BOX[0], slice(BOX[1].start + shift, BOX[1].stop + shift)
    image[:, rows, columns] = noise(9)[:, rows, BOX[1]]
    depth[rows, columns] = 2.0
    return image, depth


@pytest.mark.parametrize("shift", [24, 48, 100, -100])
def test_a_moving_box_is_marked_completely_and_alone(shift: int) -> None:
    frame, depth = moved(0, noise())
    other = moved(shift, noise())
    result = Filters([MotionFilter()])(observe(depth, frame, others=(FrameObservation(*other, START),)))
    expected = torch.zeros(GRID, dtype=torch.bool)
    expected[CELLS] = True
    assert torch.equal(result.reason == Reason.MOVING, expected)


def test_a_moving_camera_is_not_motion() -> None:
    """The wall and the box from the side: disoccluded and occluded parts of the wall are not marked."""
    pose = START.cam2world.clone()
    pose[:, 0, 3] = 0.2
    aside = Cameras(START.intrinsics, pose, SIZE)
    frame, depth = noise(), room()
    other, other_depth = torch.zeros(3, *SIZE), wall()
    columns = torch.arange(SIZE[1])
    for z, part in ((4.0, slice(None)), (2.0, BOX[1])):
        shift = round(0.2 * 160 / z)
        rows = slice(None) if z == 4.0 else BOX[0]
        target = columns[part] - shift
        ok = target >= 0
        other[:, rows, target[ok]] = frame[:, rows][:, :, columns[part][ok]]
        other_depth[rows, target[ok]] = z
    others = (FrameObservation(other, other_depth, aside),)
    assert Filters([MotionFilter()])(observe(depth, frame, others=others)).fractions["moving"] < 0.02
    still = (FrameObservation(other, other_depth, START),)  # as if the camera had not moved
    assert Filters([MotionFilter()])(observe(depth, frame, others=still)).fractions["moving"] > 0.2


def test_color_shows_motion_along_a_surface() -> None:
    """An image that moves along a wall changes no depth. A light that fades everywhere is not motion."""
    frame, other = noise(), noise()
    other[:, BOX[0], BOX[1]] = noise(5)[:, BOX[0], BOX[1]]
    marked = MotionFilter()(observe(wall(), frame, others=(FrameObservation(other, wall(), START),)))
    assert marked[CELLS].float().mean() > 0.9
    marked[CELLS] = False
    assert not marked.any()
    assert not MotionFilter()(observe(wall(), frame, others=(FrameObservation(0.8 * frame, wall(), START),))).any()
    unsure = (
        FrameObservation(other, wall(), START),
        FrameObservation(frame, wall(), START),
        FrameObservation(frame, wall(), START),
    )
    assert not MotionFilter()(observe(wall(), frame, others=unsure)).any(), "most frames show no change"


def test_a_single_image_has_no_motion() -> None:
    assert not MotionFilter()(observe(wall())).any()
    assert not MotionFilter()(observe(None, others=(FrameObservation(noise(), wall(), START),))).any()


def landscape() -> torch.Tensor:
    """Blue sky, a brown ridge with a gap, green below; a blue pond that is not connected to the top."""
    frame = torch.tensor([0.3, 0.4, 0.2])[:, None, None].repeat(1, *SIZE)
    frame[:, :80] = torch.tensor([0.6, 0.75, 0.95])[:, None, None]
    frame[:, 60:80, :160] = torch.tensor([0.5, 0.35, 0.2])[:, None, None]
    frame[:, 66:69, 40:60] = torch.tensor([0.6, 0.75, 0.95])[:, None, None]
    frame[:, 130:160] = torch.tensor([0.5, 0.65, 0.9])[:, None, None]
    return frame


def test_sky_by_color() -> None:
    sky = SkyFilter(gap=0.05)(observe(None, landscape()))
    expected = torch.zeros(SIZE, dtype=torch.bool)
    expected[:80] = True
    expected[60:80, :160] = False
    expected[66:69, 40:60] = True  # the gap
    assert torch.equal(sky, expected)
    expected[66:69, 40:60] = False
    assert torch.equal(SkyFilter(gap=0.0)(observe(None, landscape()))[:55], expected[:55])
    assert not SkyFilter(gap=0.0)(observe(None, landscape()))[60:, :150].any()
    assert not SkyFilter()(observe(None, 0.4 * noise())).any()
    gray = torch.full((3, *SIZE), 0.95)
    assert SkyFilter()(observe(None, gray)).all(), "overcast"
    assert not SkyFilter()(observe(None, 0.3 * gray)).any()


def test_depth_overrides_color() -> None:
    depth = wall()
    depth[:20], depth[20:40], depth[100:120] = 0.0, math.inf, 60.0
    frame = landscape()
    assert SkyFilter()(observe(depth, frame)).any(1).nonzero().flatten().tolist() == list(range(40))
    far = SkyFilter(far=50.0)(observe(depth, frame)).any(1).nonzero().flatten().tolist()
    assert far == [*range(40), *range(100, 120)]


def test_observations_are_checked() -> None:
    with pytest.raises(ValueError, match=r"frame: expected \(3, H, W\), got \(192, 320\)"):
        observe(frame=wall())
    with pytest.raises(ValueError, match=r"camera: expected 1 camera over \(96, 320\)"):
        observe(frame=torch.zeros(3, 96, 320))
    with pytest.raises(ValueError, match=r"depth: expected float32 \(H=192, W=320\), got torch.float64"):
        observe(wall().double())
    with pytest.raises(ValueError, match=r"exclude: expected bool \(H=192, W=320\), got torch.bool \(12, 20\)"):
        observe(exclude=torch.zeros(GRID, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"view: expected T=1 over \(12, 20\), got \(2, 12, 20\)"):
        observe(view=LatentSpatialMemory(1).read(Cameras.cat([START, START]).rescale(GRID)))


def test_overlays_tint_excluded_cells() -> None:
    depth = room()
    depth[:16] = 50.0
    tinted = overlay(noise(), Filters([FarFilter(10.0)])(observe(depth)))
    assert torch.equal(tinted[:, 16:], noise()[:, 16:])
    assert not torch.equal(tinted[:, :16], noise()[:, :16])


def test_only_a_removed_object_is_carved() -> None:
    memory = LatentSpatialMemory(1)
    writer = MemoryWriter(memory, filters=Filters([ConsistencyFilter(), EdgeFilter()]))
    frames = noise()[:, None]
    path = pan(START, straight(2), 10)[1:]
    first = writer.write(torch.zeros(1, 1, *GRID), frames, START, depth=room()[None], stamps=[0])[0]
    assert (first.added, first.carved) == (240, 0)
    box = memory.cache.xyz[:, 2] < 3
    before = memory.cache.xyz[~box].clone()
    second = writer.write(torch.ones(1, 1, *GRID), frames, START, depth=wall()[None], stamps=[1])[0]
    assert (int(box.sum()), second.carved, second.added) == (24, 24, 24)
    assert torch.equal(memory.cache.xyz[: len(before)], before)
    view = memory.read(START.rescale(GRID))
    torch.testing.assert_close(view.depth[0], torch.full(GRID, 4.0))
    assert bool((view.latents[0, 0][CELLS] == 1).all())
    assert int(view.latents.sum()) == 24
    assert memory.carve(wall(), START, GRID) == 0
    assert memory.carve(wall(0.0), path, GRID) == 0, "invalid depth carves nothing"
    assert memory.carve(wall(4.3), START, GRID) == 0, "within the tolerance"
    sparse = wall(8.0)
    sparse[::2], sparse[1, ::16] = 0.0, 0.0
    assert memory.carve(sparse, START, GRID) == 12 * 20 - 20, "the first row of cells has depth in less than a half"


def test_carving_leaves_room_at_edges() -> None:
    """The box shifted by one cell: its border is not carved, although the wall is seen there."""
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, room()[None])
    shifted = wall()
    shifted[BOX[0], BOX[1].start + 16 : BOX[1].stop + 16] = 2.0
    assert memory.carve(shifted, START, GRID) == 0


def test_the_writer_excludes_filtered_cells() -> None:
    memory = LatentSpatialMemory(1)
    writer = MemoryWriter(memory, filters=Filters([ConsistencyFilter(), MotionFilter()]))
    shifts = [0, 48, 96, -48]
    moves = [moved(shift, noise()) for shift in shifts]
    frames, depth = torch.stack([f for f, _ in moves], 1), torch.stack([d for _, d in moves])
    marks = torch.zeros(1, 4, *GRID)
    for t, shift in enumerate(shifts):
        marks[0, t, CELLS[0], CELLS[1].start + shift // 16 : CELLS[1].stop + shift // 16] = 1
    written = writer.write(marks, frames, Cameras.cat([START] * 4), depth=depth, stamps=range(4))
    assert int((memory.cache.features() > 0).sum()) == 0
    assert [int(w.filter_result.mask.sum()) for w in written] == [24] * 4
    assert [int(w.filter_result.reason.max()) for w in written] == [Reason.MOVING] + 3 * [Reason.INCONSISTENT]
    assert memory.read(START.rescale(GRID)).mask.all(), "the background is known from the other frames"
    exclude = torch.ones(1, *SIZE, dtype=torch.bool)
    assert writer.write(marks[:, :1], frames[:, :1], START, depth=depth[:1], exclude=exclude)[0].added == 0
    with pytest.raises(ValueError, match=r"frames: expected \(3, 1, 192, 320\), got \(3, 4, 192, 320\)"):
        writer.write(marks[:, :1], frames, START, depth=depth[:1])
    with pytest.raises(ValueError, match=r"depth: expected \(1, 192, 320\), got \(192, 320\)"):
        writer.write(marks[:, :1], frames[:, :1], START, depth=depth[0])
