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
from mirage.errors import DataError
from mirage.filters import (
    ConsistencyFilter,
    DepthHistory,
    EdgeFilter,
    FarFilter,
    Filters,
    FrameObservation,
    MotionFilter,
    Observation,
    OpenVocabularyFilter,
    Reason,
    SemanticFilter,
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
    """A wall at 4 m with a box before it."""
    depth = wall()
    depth[BOX] = box
    return depth


def noise(seed: int = 0) -> torch.Tensor:
    """A picture with a pattern everywhere, 12 pixels coarse."""
    coarse = torch.rand(1, 3, 16, 27, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, SIZE, mode="nearest-exact")[0]


def observe(depth: torch.Tensor | None = None, frame: torch.Tensor | None = None, **known: object) -> Observation:
    return Observation(noise() if frame is None else frame, START, GRID, depth=depth, **known)  # type: ignore[arg-type]


@given(st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([(12, 20), (5, 7), (191, 3), (30, 50)]))
def test_cells_are_masked_by_the_kernels_rule(seed: int, share: float, grid: tuple[int, int]) -> None:
    """Against the rule, spelt out for every pixel; sizes need not divide."""
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
    assert torch.equal(masked_cells(mask, grid, share), masked > share * total)


def test_cells_without_a_pixel_have_none_masked() -> None:
    mask = torch.ones(2, 2, dtype=torch.bool)
    assert int(masked_cells(mask, (4, 2)).sum()) == 4


def test_the_first_reason_wins_and_the_users_before_it() -> None:
    exclude = torch.zeros(SIZE, dtype=torch.bool)
    exclude[0, 0] = True
    depth = room()
    depth[:16] = 50.0
    verdict = Filters([FarFilter(10.0), SkyFilter(far=10.0)])(observe(depth, exclude=exclude))
    assert verdict.reason[0, 0] == Reason.EXCLUDED
    assert bool((verdict.reason[0, 1:] == Reason.FAR).all())
    assert bool(verdict.keep[1:].all())
    assert verdict.pixels[0, 0] == Reason.EXCLUDED
    assert verdict.pixels[0, 1] == Reason.FAR
    swapped = Filters([SkyFilter(far=10.0), FarFilter(10.0)])(observe(depth, exclude=exclude))
    assert bool((swapped.reason[0, 1:] == Reason.SKY).all())
    assert verdict.shares == pytest.approx(
        {"kept": 220 / 240, "excluded": 1 / 240, "sky": 0, "moving": 0, "inconsistent": 0, "edge": 0, "far": 19 / 240}
    )


def test_kept_by_the_user_means_kept() -> None:
    """From filters of pixels and of cells alike; what is excluded stays out."""
    keep = torch.zeros(SIZE, dtype=torch.bool)
    keep[:, :160] = True
    everything = Filters([FarFilter(1.0)])(observe(wall(), keep=keep))
    assert bool((everything.keep[:, :10]).all())
    assert not everything.keep[:, 10:].any()
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, wall()[None])
    nearer = observe(wall(2.0), view=memory.read(START.rescale(GRID)), keep=keep)
    assert torch.equal(Filters([ConsistencyFilter()])(nearer).keep, everything.keep)
    assert not Filters()(replace(nearer, exclude=keep)).keep[:, :10].any()


def test_far_is_beyond_the_distance_or_infinite() -> None:
    depth = wall(3.0)
    depth[:16], depth[16:32], depth[32:48] = 3.1, math.inf, 0.0
    out = Filters([FarFilter(3.0)])(observe(depth)).out
    assert out.any(1).tolist() == [True, True] + 10 * [False]
    with pytest.raises(ValueError, match="distance: expected more than 0, got 0"):
        FarFilter(0)


def test_edges_are_steps_and_flying_pixels_but_no_slopes() -> None:
    assert int(EdgeFilter()(observe(room())).sum()) == 2 * (2 * 64 + 2 * 96) - 4  # two pixels across, corners once
    assert bool(Filters([EdgeFilter()])(observe(room())).keep.all()), "the median keeps to one side of a clean step"
    assert Filters([EdgeFilter(max_masked=0.0)])(observe(room())).out.any()
    flying = room()
    flying[BOX[0], 100:104] = torch.linspace(1 / 4, 1 / 2, 6)[1:-1].reciprocal()
    flying[BOX[0], 104:112] = 2.0
    assert bool(Filters([EdgeFilter()])(observe(flying)).out[CELLS[0], 6].all())
    rows = torch.arange(SIZE[0]).float()[:, None] + 0.5
    for degrees, marked in ((80.0, False), (88.0, True)):  # a floor, seen at so many degrees from its normal
        slope = math.tan(math.radians(degrees)) / 160
        floor = (1 / (1.0 - slope * (rows - 96))).expand(SIZE).contiguous()
        assert EdgeFilter(least=0.0)(observe(floor))[90:102].any().item() is marked
    with pytest.raises(ValueError, match="grazing: expected 0 to 90 degrees, got 90"):
        EdgeFilter(grazing=90)


def test_nearer_than_remembered_is_inconsistent() -> None:
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, wall()[None])
    view = memory.read(START.rescale(GRID))
    out = Filters([ConsistencyFilter()])(observe(room(), view=view)).reason == Reason.INCONSISTENT
    expected = torch.zeros(GRID, dtype=torch.bool)
    expected[CELLS] = True
    assert torch.equal(out, expected)
    for depth in (room(3.7), room(6.0), wall(0.0)):  # the same surface, a farther one, none
        assert bool(Filters([ConsistencyFilter()])(observe(depth, view=view)).keep.all())
    assert not ConsistencyFilter()(observe(room())).any(), "without a memory there is nothing to hold it against"


def test_what_was_only_hidden_is_no_contradiction() -> None:
    """A box that stood out of view while its background was seen from aside: nearer than remembered, but no view has
    seen through it."""
    aside = START.cam2world.clone()
    aside[:, 0, 3] = 3.0
    there = Cameras(START.intrinsics, aside, SIZE)
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), there, wall()[None])
    history = memory.history
    assert history.cameras is not None
    view, seen = memory.read(START.rescale(GRID)), DepthHistory(history.cameras, history.surface)
    depth = wall()
    depth[80:112, 240:272] = 0.8  # at x = 0.5 m, before a wall that the other view, from x = 3 m, sees behind it
    inside = there.project(torch.tensor([[0.48, 0.0, 0.8]]))[2]
    assert not inside.any()
    assert ConsistencyFilter()(observe(depth, view=view)).any()
    assert not ConsistencyFilter()(observe(depth, view=view, seen=seen)).any()
    through = wall()
    through[80:112, 240:272] = 3.0  # there that view has seen the wall behind
    assert ConsistencyFilter()(observe(through, view=view, seen=seen))[5:7, 15:17].all()
    assert not ConsistencyFilter(witnesses=2)(observe(through, view=view, seen=seen)).any()


def test_what_a_view_has_seen_itself_is_no_contradiction() -> None:
    """Though the memory, which has given it up, shows what is behind."""
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, wall()[None])
    view, camera = memory.read(START.rescale(GRID)), START.rescale(GRID)
    cells = room()[8::16, 8::16]
    assert ConsistencyFilter()(observe(room(), view=view, seen=DepthHistory(camera, wall()[8::16, 8::16][None]))).any()
    assert not ConsistencyFilter()(observe(room(), view=view, seen=DepthHistory(camera, cells[None]))).any()


def test_whole_things_are_completed() -> None:
    depth = torch.full((6, 8), 4.0)
    depth[1:5, 2:6] = 2.0
    marked = torch.zeros(6, 8, dtype=torch.bool)
    marked[1:3, 2:5] = True
    marked[0, 0] = True
    thing = depth == 2.0
    assert torch.equal(complete_objects(marked, depth, 0.3) & thing, thing)
    assert int((complete_objects(marked, depth, 0.3) & ~thing).sum()) == 1, "one cell of the wall is not the wall"
    assert torch.equal(complete_objects(marked, depth, 0.4), marked)


def moved(shift: int, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A frame with depth in which the box, with its own pattern, stands so many pixels to the right."""
    picture, depth = frame.clone(), wall()
    rows, columns = BOX[0], slice(BOX[1].start + shift, BOX[1].stop + shift)
    picture[:, rows, columns] = noise(9)[:, rows, BOX[1]]
    depth[rows, columns] = 2.0
    return picture, depth


@pytest.mark.parametrize("shift", [24, 48, 100, -100])
def test_what_moves_between_frames_is_marked_whole_and_alone(shift: int) -> None:
    frame, depth = moved(0, noise())
    other = moved(shift, noise())
    verdict = Filters([MotionFilter()])(observe(depth, frame, others=(FrameObservation(*other, START),)))
    expected = torch.zeros(GRID, dtype=torch.bool)
    expected[CELLS] = True
    assert torch.equal(verdict.reason == Reason.MOVING, expected)


def test_a_camera_that_moves_is_no_motion() -> None:
    """The wall and the box from aside: uncovered and covered wall is excused."""
    pose = START.cam2world.clone()
    pose[:, 0, 3] = 0.2
    aside = Cameras(START.intrinsics, pose, SIZE)
    frame, depth = noise(), room()
    seen, seen_depth = torch.zeros(3, *SIZE), wall()
    columns = torch.arange(SIZE[1])
    for z, inside in ((4.0, slice(None)), (2.0, BOX[1])):
        shift = round(0.2 * 160 / z)
        rows = slice(None) if z == 4.0 else BOX[0]
        target = columns[inside] - shift
        ok = target >= 0
        seen[:, rows, target[ok]] = frame[:, rows][:, :, columns[inside][ok]]
        seen_depth[rows, target[ok]] = z
    others = (FrameObservation(seen, seen_depth, aside),)
    assert Filters([MotionFilter()])(observe(depth, frame, others=others)).shares["moving"] < 0.02
    still = (FrameObservation(seen, seen_depth, START),)  # as if the camera had not moved
    assert Filters([MotionFilter()])(observe(depth, frame, others=still)).shares["moving"] > 0.2


def test_colour_tells_motion_along_a_surface() -> None:
    """A picture carried along a wall: no depth changes. A light that fades everywhere is no motion."""
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
    assert not MotionFilter()(observe(wall(), frame, others=unsure)).any(), "most frames saw no change"


def test_a_single_picture_has_no_motion() -> None:
    assert not MotionFilter()(observe(wall())).any()
    assert not MotionFilter()(observe(None, others=(FrameObservation(noise(), wall(), START),))).any()


def landscape() -> torch.Tensor:
    """Blue sky, a brown ridge with a gap, green below; a blue pond that does not reach the top."""
    frame = torch.tensor([0.3, 0.4, 0.2])[:, None, None].repeat(1, *SIZE)
    frame[:, :80] = torch.tensor([0.6, 0.75, 0.95])[:, None, None]
    frame[:, 60:80, :160] = torch.tensor([0.5, 0.35, 0.2])[:, None, None]
    frame[:, 66:69, 40:60] = torch.tensor([0.6, 0.75, 0.95])[:, None, None]
    frame[:, 130:160] = torch.tensor([0.5, 0.65, 0.9])[:, None, None]
    return frame


def test_sky_in_the_picture() -> None:
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
    grey = torch.full((3, *SIZE), 0.95)
    assert SkyFilter()(observe(None, grey)).all(), "overcast"
    assert not SkyFilter()(observe(None, 0.3 * grey)).any()


def test_depth_overrules_the_picture() -> None:
    depth = wall()
    depth[:20], depth[20:40], depth[100:120] = 0.0, math.inf, 60.0
    frame = landscape()
    assert SkyFilter()(observe(depth, frame)).any(1).nonzero().flatten().tolist() == list(range(40))
    far = SkyFilter(far=50.0)(observe(depth, frame)).any(1).nonzero().flatten().tolist()
    assert far == [*range(40), *range(100, 120)]


def test_filters_are_saved_and_read() -> None:
    filters = Filters(
        [
            SkyFilter(far=80.0), SemanticFilter("weights", ("person", "car")), OpenVocabularyFilter("sam3", "qwen"),
            MotionFilter(tolerance=0.2), ConsistencyFilter(witnesses=2), EdgeFilter(least=0.05), FarFilter(30.0),
        ]
    )  # fmt: skip
    assert Filters.from_json(filters.to_json()).filters == filters.filters
    assert Filters.from_json('[{"filter": "EdgeFilter"}]').filters == (EdgeFilter(),)
    assert Filters.from_json("[]").filters == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "filters: expected a list as JSON, got something else"),
        ("{}", "filters: expected a list of objects, got {}"),
        ('[{"filter": "Blur"}]', "filter: expected one of ConsistencyFilter, .*, got 'Blur'"),
        ('[{"filter": "EdgeFilter", "step": 1}]', "EdgeFilter: expected settings among grazing, .*, got 'step'"),
        ('[{"filter": "EdgeFilter", "least": "1"}]', "EdgeFilter.least: expected float, got '1'"),
        ('[{"filter": "FarFilter"}]', "FarFilter: .*distance"),
        ('[{"filter": "FarFilter", "distance": -1}]', "FarFilter: distance: expected more than 0, got -1"),
        ('[{"filter": "SemanticFilter", "model": "x", "classes": "sky"}]', "SemanticFilter.classes: expected tuple"),
    ],
)
def test_bad_settings_are_errors_of_one_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        Filters.from_json(text)
    assert "\n" not in str(error.value)


def test_observations_fit_together() -> None:
    with pytest.raises(ValueError, match=r"frame: expected \(3, H, W\), got \(192, 320\)"):
        observe(frame=wall())
    with pytest.raises(ValueError, match=r"camera: expected one over \(96, 320\)"):
        observe(frame=torch.zeros(3, 96, 320))
    with pytest.raises(ValueError, match=r"depth: expected float32 \(H=192, W=320\), got torch.float64"):
        observe(wall().double())
    with pytest.raises(ValueError, match=r"exclude: expected bool \(H=192, W=320\), got torch.bool \(12, 20\)"):
        observe(exclude=torch.zeros(GRID, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"view: expected T=1 over \(12, 20\), got \(2, 12, 20\)"):
        observe(view=LatentSpatialMemory(1).read(Cameras.cat([START, START]).rescale(GRID)))


def test_overlays_tint_what_is_out() -> None:
    depth = room()
    depth[:16] = 50.0
    drawn = overlay(noise(), Filters([FarFilter(10.0)])(observe(depth)))
    assert torch.equal(drawn[:, 16:], noise()[:, 16:])
    assert not torch.equal(drawn[:, :16], noise()[:, :16])


def test_a_thing_that_is_gone_is_carved_and_nothing_else() -> None:
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
    assert memory.carve(wall(0.0), path, GRID) == 0, "no depth sees through nothing"
    assert memory.carve(wall(4.3), START, GRID) == 0, "within the tolerance"
    sparse = wall(8.0)
    sparse[::2], sparse[1, ::16] = 0.0, 0.0
    assert memory.carve(sparse, START, GRID) == 12 * 20 - 20, "the first row of cells has depth in less than a half"


def test_carving_leaves_room_at_edges() -> None:
    """The box from a cell aside: its border is not seen through though the wall is seen in its place."""
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, *GRID), START, room()[None])
    shifted = wall()
    shifted[BOX[0], BOX[1].start + 16 : BOX[1].stop + 16] = 2.0
    assert memory.carve(shifted, START, GRID) == 0


def test_the_writer_leaves_out_what_filters_find() -> None:
    memory = LatentSpatialMemory(1)
    writer = MemoryWriter(memory, filters=Filters([ConsistencyFilter(), MotionFilter()]))
    shifts = [0, 48, 96, -48]
    looks = [moved(shift, noise()) for shift in shifts]
    frames, depth = torch.stack([f for f, _ in looks], 1), torch.stack([d for _, d in looks])
    marks = torch.zeros(1, 4, *GRID)
    for t, shift in enumerate(shifts):
        marks[0, t, CELLS[0], CELLS[1].start + shift // 16 : CELLS[1].stop + shift // 16] = 1
    written = writer.write(marks, frames, Cameras.cat([START] * 4), depth=depth, stamps=range(4))
    assert int((memory.cache.features() > 0).sum()) == 0
    assert [int(w.verdict.out.sum()) for w in written] == [24] * 4
    assert [int(w.verdict.reason.max()) for w in written] == [Reason.MOVING] + 3 * [Reason.INCONSISTENT]
    assert memory.read(START.rescale(GRID)).mask.all(), "the background is known from where the box was not"
    exclude = torch.ones(1, *SIZE, dtype=torch.bool)
    assert writer.write(marks[:, :1], frames[:, :1], START, depth=depth[:1], exclude=exclude)[0].added == 0
    with pytest.raises(ValueError, match=r"frames: expected \(3, 1, 192, 320\), got \(3, 4, 192, 320\)"):
        writer.write(marks[:, :1], frames, START, depth=depth[:1])
    with pytest.raises(ValueError, match=r"depth: expected \(1, 192, 320\), got \(192, 320\)"):
        writer.write(marks[:, :1], frames[:, :1], START, depth=depth[0])
