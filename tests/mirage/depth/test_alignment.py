# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks import scenes
from mirage.depth import Alignment, align
from mirage.evaluation import depth_drift
from mirage.geometry.grids import resize_depth
from mirage.memory import LatentSpatialMemory, MemoryView
from mirage.recordings.hololens import RgbdFrames, read_rgbd
from mirage_kernels import Cameras, pool_depth, unproject

GRID = (44, 80)


@pytest.fixture(scope="module")
def hololens(data: Path) -> RgbdFrames:
    return read_rgbd(data / "hololens_dev")


def write(depth: torch.Tensor, cameras: Cameras) -> LatentSpatialMemory:
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, len(depth), *GRID), cameras, depth)
    return memory


def read(memory: LatentSpatialMemory, camera: Cameras) -> tuple[MemoryView, torch.Tensor]:
    return memory.read(camera.rescale(GRID)), memory.cache.xyz


def corrupt(depth: torch.Tensor, fraction: float, block: int, seed: int) -> torch.Tensor:
    """Set a fraction of the blocks of pixels to random depths of 0.3 to 7.3 m."""
    generator = torch.Generator().manual_seed(seed)
    h, w = depth.shape
    blocks = (-(-h // block), -(-w // block))
    chosen, wrong = (
        torch.rand(blocks, generator=generator) < fraction,
        0.3 + 7 * torch.rand(blocks, generator=generator),
    )
    chosen, wrong = (t.repeat_interleave(block, 0).repeat_interleave(block, 1)[:h, :w] for t in (chosen, wrong))
    return torch.where(chosen & (depth > 0), wrong, depth)


def scaled(depth: torch.Tensor, scale: float, shift: float = 0.0) -> torch.Tensor:
    return torch.where(depth > 0, scale * depth + shift, 0)


def error95(fit: Alignment, moved: torch.Tensor, truth: torch.Tensor) -> float:
    """95th percentile of the relative error of the aligned depth."""
    back = fit.apply(moved)
    both = (truth > 0) & (back > 0)
    return (back[both] / truth[both] - 1).abs().quantile(0.95).item()


def test_depth_is_pooled_as_by_the_memory() -> None:
    depth, cameras = scenes.frames("room")
    points = unproject(depth[3:6], torch.zeros(3, 1, *GRID), cameras[3:6])
    z = torch.stack([cameras[3 + t].project(points.xyz.reshape(3, -1, 3)[t])[1][0] for t in range(3)])
    torch.testing.assert_close(pool_depth(depth[3:6], GRID), z.reshape(3, *GRID))
    holed = depth[3:4].clone()
    holed[:, :90] = 0
    pooled = pool_depth(holed, GRID)
    assert bool((pooled[:, :11] == torch.inf).all())
    assert pooled[:, 11:].isfinite().all()
    assert set(pooled[:, 11:].flatten().tolist()) <= set(holed.flatten().tolist()), "each is a measured depth"


def test_resizing_keeps_depth_values() -> None:
    depth = torch.rand(2, 7, 9)
    assert torch.equal(resize_depth(depth, (7, 9)), depth)
    assert set(resize_depth(depth, (40, 31)).flatten().tolist()) == set(depth.flatten().tolist())
    assert torch.equal(resize_depth(resize_depth(depth, (21, 27)), (7, 9)), depth)


@pytest.mark.parametrize("space", ["depth", "inverse"])
@pytest.mark.parametrize("shift", [False, True])
def test_scale_and_shift_of_a_synthetic_room(space: str, shift: bool) -> None:
    """Factors of 0.4 to 2.5, and shifts, with 20 % outliers: the error is below 1 %."""
    depth, cameras = scenes.frames("room")
    for frame in (9, 30, 51):
        view, points = read(write(depth[frame - 8 : frame], cameras[frame - 8 : frame]), cameras[frame])
        for seed, block in enumerate((1, 16, 40)):
            for scale in (0.4, 1.0, 2.5):
                away = 0.15 * (-1) ** seed if shift else 0.0

                def distort(d: torch.Tensor, scale: float = scale, away: float = away) -> torch.Tensor:
                    return scaled(d, scale, away) if space == "depth" else 1 / (scale / d + away * scale)

                truth = depth[frame]
                moved = distort(corrupt(truth, 0.2, block, seed))
                fit = align(moved, cameras[frame], view, points, shift=shift, space=space)  # type: ignore[arg-type]
                assert fit.accepted, fit.reason
                assert 0.7 < fit.inliers < 0.95 or block == 1, "the median removes single pixels"
                assert fit.residual < 0.01
                assert error95(fit, distort(truth), truth) < 0.01
                if not shift:
                    assert abs(fit.scale * scale - 1) < 0.01


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.long)])
def test_scale_of_real_frames(step: int, hololens: RgbdFrames) -> None:
    """Frames after the eighth, three seeds: single pixels, blocks of 16 and of 40 pixels, 20 % of them wrong."""
    memory = write(hololens.depth, hololens.cameras)
    generator = torch.Generator().manual_seed(0)
    errors: dict[bool, list[float]] = {False: [], True: []}
    for frame in range(8, 73, step):
        truth, camera = hololens.depth[frame], hololens.cameras[frame]
        view, points = read(memory, camera)
        for seed, block in enumerate((1, 16, 40)):
            scale, shift = (
                torch.rand(2, generator=generator) * torch.tensor([2.1, 0.8]) + torch.tensor([0.4, -0.4])
            ).tolist()
            # a shift that leaves the nearest depths positive
            shift = max(shift, -0.5 * scale * truth[truth > 0].min().item())
            wrong = corrupt(truth, 0.2, block, 100 * frame + seed)
            fit = align(scaled(wrong, scale), camera, view, points)
            assert fit.accepted, fit.reason
            errors[False].append(abs(fit.scale * scale - 1))
            fit = align(scaled(wrong, scale, shift), camera, view, points, shift=True)
            assert fit.accepted, fit.reason
            errors[True].append(error95(fit, scaled(truth, scale, shift), truth))
    print(f"worst scale {max(errors[False]):.4f}, worst depth with a shift {max(errors[True]):.4f}")
    assert max(errors[False]) < 0.01
    assert max(errors[True]) < 0.01


def test_a_drifting_scale_does_not_tear_the_memory_apart(hololens: RgbdFrames) -> None:
    """1 % a frame: cells that are seen again after 60 frames lie where they belong to less than half a cell."""
    run = depth_drift.write_all(hololens.depth, hololens.cameras, depth_drift.DRIFT, aligned=True)
    assert all(fit.accepted for fit in run.fits.values())
    aligned = depth_drift.late(run)
    loose = depth_drift.late(depth_drift.write_all(hololens.depth, hololens.cameras, depth_drift.DRIFT, aligned=False))
    print(aligned, loose)
    assert aligned["cells"] > 10_000
    assert aligned["mean"] < aligned["worst frame"] < 0.5
    assert aligned["95 %"] < 0.5
    assert loose["median"] > 2


def test_consistent_outliers_do_not_bias_the_fit() -> None:
    """A fifth, then two fifths of the image at half the distance."""
    depth, cameras = scenes.frames("room")
    view, points = read(write(depth[22:30], cameras[22:30]), cameras[30])
    for columns in (108, 216):
        moved = 1.7 * depth[30]
        moved[:, :columns] /= 2
        fit = align(moved, cameras[30], view, points)
        assert fit.accepted
        assert abs(fit.scale * 1.7 - 1) < 0.002
        assert fit.inliers == pytest.approx(1 - columns / 540, abs=0.03)


def test_no_shift_is_fitted_to_similar_depths() -> None:
    camera = Cameras(torch.tensor([[160.0, 0, 160], [0, 160, 96], [0, 0, 1]]), torch.eye(4), (192, 320))
    wall = torch.full((1, 192, 320), 3.0) + 0.01 * torch.rand(192, 320, generator=torch.Generator().manual_seed(0))
    memory = LatentSpatialMemory(1)
    memory.write(torch.zeros(1, 1, 12, 20), camera, wall)
    fit = align(2 * wall[0], camera, memory.read(camera.rescale((12, 20))), memory.cache.xyz, shift=True)
    assert fit.accepted
    assert fit.shift == 0
    assert fit.scale == pytest.approx(0.5, rel=1e-3)
    assert "too similar" in fit.reason


def test_bad_fits_are_rejected_with_a_reason() -> None:
    depth, cameras = scenes.frames("room")
    empty = LatentSpatialMemory(1)
    fit = align(depth[8], cameras[8], *read(empty, cameras[8]))
    assert (fit.accepted, fit.cells, fit.inliers) == (False, 0, 0.0)
    assert math.isnan(fit.residual)
    assert fit.reason == "0 cells have a depth in both the frame and the memory, at least 64 are needed"
    memory = write(depth[:8], cameras[:8])
    view, points = read(memory, cameras[8])
    noise = 0.3 + 7 * torch.rand(depth[8].shape, generator=torch.Generator().manual_seed(0))
    blocks = corrupt(depth[8], 1.0, 16, 1)
    for wrong in (blocks, depth[8].flip(1) * torch.linspace(0.5, 3, 540), noise):
        fit = align(wrong, cameras[8], view, points)
        assert not fit.accepted
        assert "cells agree with the memory, at least 50% are needed" in fit.reason
        with pytest.raises(ValueError, match=r"alignment: expected an accepted fit, got a rejected one: \d+% of"):
            fit.apply(wrong)
    fit = align(depth[8], cameras[8], view, points, max_residual=1e-6)
    assert "the median residual of the inliers is" in fit.reason
    fit = align(8 - depth[8], cameras[8], view, points, shift=True)
    assert not fit.accepted


def test_masked_pixels_are_not_compared() -> None:
    depth, cameras = scenes.frames("room")
    view, points = read(write(depth[:8], cameras[:8]), cameras[8])
    mask = torch.zeros(depth[8].shape, dtype=torch.bool)
    mask[:, 150:] = True
    for factor in (5.0, 1.03):  # most of the image, and consistent
        moved = torch.where(mask, factor * depth[8], depth[8])
        assert align(moved, cameras[8], view, points).scale == pytest.approx(1 / factor, rel=0.01)
        fit = align(moved, cameras[8], view, points, mask=mask)
        assert fit.scale == pytest.approx(1, rel=0.002)
        assert fit.inliers > 0.95


def test_fits_are_deterministic_and_leave_their_input_unchanged() -> None:
    depth, cameras = scenes.frames("room")
    view, points = read(write(depth[:8], cameras[:8]), cameras[8])
    moved = corrupt(depth[8], 0.2, 16, 0)
    before = moved.clone()
    assert align(moved, cameras[8], view, points) == align(moved, cameras[8], view, points)
    assert torch.equal(moved, before)


def test_aligned_depth_is_zero_where_invalid_or_not_positive() -> None:
    depth = torch.tensor([[0.0, -1.0, torch.nan, torch.inf, 1.0, 4.0]])
    fit = Alignment(0.5, -1.0, "depth", 0.0, 1.0, 99, True, "")
    assert fit.apply(depth).tolist() == [[0, 0, 0, 0, 0, 1.0]]
    assert fit._replace(space="inverse", shift=0.25).apply(depth)[0].tolist() == pytest.approx(
        [0, 0, 0, 0, 1 / 0.75, 1 / 0.375]
    )


def test_wrong_arguments() -> None:
    depth, cameras = scenes.frames("room")
    view, points = read(write(depth[:1], cameras[:1]), cameras[:1])
    with pytest.raises(ValueError, match=r"depth: expected \(H, W\), got \(1, 360, 540\)"):
        align(depth[:1], cameras[:1], view, points)
    with pytest.raises(ValueError, match="camera: expected 1 camera, got 2"):
        align(depth[0], cameras[:2], view, points)
    with pytest.raises(ValueError, match=r"mask: expected \(H=360, W=540\), got \(44, 80\)"):
        align(depth[0], cameras[:1], view, points, mask=torch.zeros(GRID, dtype=torch.bool))
    with pytest.raises(ValueError, match="space: expected 'depth' or 'inverse', got 'disparity'"):
        align(depth[0], cameras[:1], view, points, space="disparity")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"view: expected the view of 1 camera, depth \(1, h, w\), got \(2, 44, 80\)"):
        align(depth[0], cameras[:1], write(depth[:1], cameras[:1]).read(cameras[:2].rescale(GRID)), points)
