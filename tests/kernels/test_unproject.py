# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from every_backend import EveryBackend, assert_same_on_every_backend, needs_grad, random_gradients, run_reference
from hypothesis import HealthCheck, given, settings
from strategies import SEEDS, examples, unproject_cases
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, Pooling, pool_depth, splat, testing, unproject
from mirage_kernels._modes import POOLINGS
from mirage_kernels.testing import UnprojectCase, same_bits, same_sums, unproject_case


def oracle_depth(case: UnprojectCase) -> list[float]:
    """Compute the depth of every cell as documented, pixel by pixel; 0 if a cell has none."""
    b, _, h, w = case.features.shape
    height, width = case.depth.shape[1:]
    rule = {"pooling": "median", "min_valid": 1, "max_masked": 0.0} | case.options
    depths = []
    for n in range(b):
        for i in range(h):
            for j in range(w):
                pixels = [
                    (r, c)
                    for r in range(height)
                    for c in range(width)
                    if ((2 * r + 1) * h) // (2 * height) == i and ((2 * c + 1) * w) // (2 * width) == j
                ]
                masked = [case.mask is not None and bool(case.mask[n, r, c]) for r, c in pixels]
                values = [case.depth[n, r, c].item() for r, c in pixels]
                usable = sorted(z for z, m in zip(values, masked, strict=True) if not m and 0 < z < math.inf)
                if len(usable) < rule["min_valid"] or sum(masked) > rule["max_masked"] * len(pixels):
                    depths.append(0.0)
                elif rule["pooling"] == "median":
                    depths.append(usable[(len(usable) - 1) // 2])
                elif rule["pooling"] == "min":
                    depths.append(usable[0])
                else:
                    at = pixels.index((int((i + 0.5) * height / h), int((j + 0.5) * width / w)))
                    good = not masked[at] and 0 < values[at] < math.inf
                    depths.append(values[at] if good else 0.0)
    return depths


@settings(max_examples=examples(150))
@given(SEEDS)
def test_reference_follows_the_contract(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    grid = tuple(torch.randint(1, 5, (2,), generator=g).tolist())
    size = tuple(side + torch.randint(0, 9, (), generator=g).item() for side in grid)
    case = unproject_case(
        seed,
        size=size,
        grid=grid,
        kind=("smooth", "steps", "wild")[seed % 3],
        mask=seed % 2 == 0,
        pooling=POOLINGS[seed // 3 % 3],
        min_valid=1 + seed % 3,
        max_masked=(0.0, 0.3, 1.0)[seed // 7 % 3],
    )
    result = run_reference(lambda: case.run(unproject))
    depth = torch.tensor(oracle_depth(case))
    k = case.cameras.rescale(grid).intrinsics.repeat_interleave(grid[0] * grid[1], 0)
    footprint = depth * (1 / k[:, 0, 0])
    assert same_bits(result.footprint, torch.where(result.valid, footprint, 0))
    # Cells whose point overflows float32 are the only others that are not valid.
    overflow = (depth > 0) & ~result.valid
    assert bool((depth[overflow] > 1e30).all())
    assert not result.valid[depth == 0].any()


LEVELS = {"few": 3, "some": 40, "many": 1 << 20}


@pytest.mark.parametrize("name", mk.instruction_sets())
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("cell", [(1, 16), (3, 16), (4, 16), (16, 16), (17, 16), (7, 7), (33, 31), (32, 32), (41, 25)])
def test_medians_of_cells_of_every_size(cell: tuple[int, int], levels: str, name: str) -> None:
    """Against sorting: one surface or two, few values or many, with and without invalid pixels."""
    g = torch.Generator().manual_seed(cell[0] * cell[1])
    h, w = 6, 5
    spread = torch.logspace(-6, 30, h, dtype=torch.float64)[:, None, None] * torch.rand(h, w, 1, generator=g).double()
    values = 1 + spread * torch.randint(0, LEVELS[levels], (h, w, cell[0] * cell[1]), generator=g) / LEVELS[levels]
    values[:, 1, : len(values[0, 1]) // 3] += 100
    depth = values.float()
    depth[:, 2:4][torch.rand(depth[:, 2:4].shape, generator=g) < 0.4] = 0
    depth[:, 3][torch.rand(depth[:, 3].shape, generator=g) < 0.3] = math.nan
    depth[0, 4, 1:] = torch.tensor([math.inf, -1.0, -math.nan, 0.0]).repeat(300)[: depth.shape[2] - 1]
    usable = torch.where((depth > 0) & depth.isfinite(), depth, math.inf)
    rank = (usable.isfinite().sum(2, keepdim=True) - 1).clamp(min=0) // 2
    expected = usable.sort(2).values.gather(2, rank)[..., 0]
    pixels = depth.reshape(h, w, *cell).movedim(2, 1).reshape(1, h * cell[0], w * cell[1])
    last = mk.instruction_sets()[-1]
    mk.use_instruction_set(name)
    try:
        assert same_bits(pool_depth(pixels, (h, w))[0], expected)
    finally:
        mk.use_instruction_set(last)


@pytest.mark.parametrize("name", mk.instruction_sets())
@pytest.mark.parametrize("pixels", [49, 63, 64, 65, 100, 127, 144, 1000, 1023, 1024])
def test_medians_at_the_end_of_the_range(pixels: int, name: str) -> None:
    """One pixel is so much nearer that all others have the highest byte."""
    depth = torch.linspace(1.9970, 1.9999, pixels)
    expected = depth[(pixels - 1) // 2].item()
    depth[0] = 1.0
    last = mk.instruction_sets()[-1]
    mk.use_instruction_set(name)
    try:
        assert pool_depth(depth[None, None], (1, 1)).item() == expected
    finally:
        mk.use_instruction_set(last)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(600), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=unproject_cases())
def test_cpp_equals_reference(case: UnprojectCase, every_backend: EveryBackend) -> None:
    assert_same_on_every_backend(every_backend, lambda: case.run(unproject))


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS)
def test_cpp_equals_reference_on_whole_frames(seed: int, every_backend: EveryBackend) -> None:
    """Large enough to be split among threads; cells of 8 and 16 pixels, and grids that do not divide the depth map."""
    grid = ((11, 20), (22, 40), (9, 17))[seed % 3]
    case = unproject_case(seed, size=(176, 320), grid=grid, channels=48, mask=seed % 2 == 0, max_masked=0.4)
    assert_same_on_every_backend(every_backend, lambda: case.run(unproject))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("first", [0, 1])
def test_features_at_any_alignment(dtype: torch.dtype, first: int, every_backend: EveryBackend) -> None:
    """Features at multiples of 16 bytes and elsewhere, with complete and with partial tiles of cells."""
    case = unproject_case(5, size=(32, 80), grid=(8, 20), channels=48, dtype=dtype)
    room = torch.zeros(first + case.features.numel(), dtype=dtype)
    moved = room[first:].copy_(case.features.flatten()).reshape(case.features.shape)
    assert moved.data_ptr() % 16 == first * dtype.itemsize
    assert_same_on_every_backend(every_backend, lambda: case._replace(features=moved).run(unproject))


@settings(max_examples=examples(100))
@given(case=unproject_cases())
def test_invalid_cells_are_zeros_and_valid_ones_finite(case: UnprojectCase) -> None:
    points = case.run(unproject)
    for values in (points.xyz, points.features.float(), points.footprint):
        assert values.isfinite().all()
        assert not values[~points.valid].any()
    assert bool((points.footprint[points.valid] >= 0).all())


@pytest.mark.parametrize("ratio", [1, 2, 3, 16])
def test_bilinear_equals_torch(ratio: int) -> None:
    depth = 1 + torch.rand(2, 5 * ratio, 7 * ratio, generator=torch.Generator().manual_seed(0))
    cameras = testing.random_cameras(torch.Generator().manual_seed(1), 2, (5 * ratio, 7 * ratio))
    points = unproject(depth, torch.zeros(2, 1, 5, 7), cameras, pooling="bilinear")
    expected = torch.nn.functional.interpolate(depth[:, None], (5, 7), mode="bilinear", align_corners=False)
    fx = cameras.rescale((5, 7)).intrinsics[:, 0, 0].repeat_interleave(35)
    torch.testing.assert_close(points.footprint * fx, expected.flatten(), rtol=1e-6, atol=0)


def test_points_project_back_onto_their_cells() -> None:
    """Unproject, then project in float64 with the full-resolution camera: every point is at the center of its cell."""
    case = unproject_case(3, size=(96, 160), grid=(6, 10), batch=1)
    points = case.run(unproject)
    uv, depth, _ = case.cameras.project(points.xyz.double())
    rows, columns = torch.meshgrid(torch.arange(6) + 0.5, torch.arange(10) + 0.5, indexing="ij")
    at = torch.stack([columns, rows], -1).reshape(-1, 2)[points.valid] * 16
    torch.testing.assert_close(uv[0, points.valid], at.double(), rtol=0, atol=1e-4)
    assert bool((depth[0, points.valid] > 0).all())


def test_unprojected_view_is_rendered_without_holes() -> None:
    case = unproject_case(9, batch=1, size=(704, 1280), grid=(44, 80), channels=48)
    points = case.run(unproject)
    view = splat(points.xyz, points.features, case.cameras.rescale((44, 80)), valid=points.valid)
    assert points.valid.all()
    assert same_bits(view.index.flatten(), torch.arange(3520))
    assert same_bits(view.features[0], case.features[0])


def test_depth_that_rounds_to_zero_is_invalid(backend: str) -> None:
    depth, cameras = torch.full((1, 4, 4), 1e-45), testing.plain_cameras(1, (4, 4))
    with mk.use_backend(backend), np.errstate(all="ignore"):
        assert not unproject(depth, torch.ones(1, 1, 2, 2), cameras, pooling="bilinear").valid.any()
        assert unproject(depth, torch.ones(1, 1, 2, 2), cameras).valid.all()


def test_median_is_an_existing_depth() -> None:
    """A step from 1 m to 4 m inside one cell: the median is one of the two, the bilinear value is neither."""
    depth = torch.ones(1, 16, 16)
    depth[:, :, 9:] = 4
    cameras = testing.plain_cameras(1, (16, 16))
    z = {p: unproject(depth, torch.zeros(1, 1, 2, 1), cameras, pooling=p).xyz[:, 2] for p in POOLINGS}
    assert z["median"].tolist() == [1, 1]
    assert z["nearest"].tolist() == [1, 1]
    depth[:, :, 8:] = 4
    assert unproject(depth, torch.zeros(1, 1, 2, 1), cameras, pooling="bilinear").xyz[:, 2].tolist() == [2.5, 2.5]
    assert unproject(depth, torch.zeros(1, 1, 2, 1), cameras).xyz[:, 2].tolist() == [1, 1]


def test_one_masked_pixel_invalidates_a_cell_by_default() -> None:
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 3, 5] = True
    cameras = testing.plain_cameras(1, (16, 16))
    depth, features = torch.ones(1, 16, 16), torch.ones(1, 1, 2, 2)
    assert unproject(depth, features, cameras, mask=mask).valid.tolist() == [False, True, True, True]
    assert unproject(depth, features, cameras, mask=mask, max_masked=1 / 64).valid.all()
    assert not unproject(depth, features, cameras, mask=mask, max_masked=0.99 / 64).valid[0]


def test_grid_finer_than_the_depth_map() -> None:
    cameras = testing.plain_cameras(1, (2, 2))
    valid = unproject(torch.ones(1, 2, 2), torch.ones(1, 1, 4, 4), cameras).valid.reshape(4, 4)
    assert valid.sum() == 4


def gradients(case: UnprojectCase, seed: int) -> list[Tensor]:
    depth, features = needs_grad(case.depth), needs_grad(case.features)
    p = case._replace(depth=depth, features=features).run(unproject)
    return random_gradients([p.xyz, p.features, p.footprint], [depth, features], seed)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=unproject_cases(), seed=SEEDS)
def test_cpp_gradients_equal_reference(case: UnprojectCase, seed: int, every_backend: EveryBackend) -> None:
    expected = run_reference(lambda: gradients(case, seed))
    for name, result in every_backend(lambda: gradients(case, seed)):
        assert same_sums(result[0], expected[0]), f"depth, {name}"
        assert same_bits(result[1], expected[1]), f"features, {name}"


@pytest.mark.parametrize("pooling", range(4))
@pytest.mark.parametrize("mask", [False, True])
def test_reference_gradients_are_those_of_the_function(pooling: int, mask: bool) -> None:
    case = unproject_case(11, size=(7, 8), grid=(3, 4), mask=mask)
    k, m = case.cameras.rescale((3, 4)).intrinsics, case.cameras.cam2world
    depth = torch.where(case.depth > 0, case.depth, -1).double().requires_grad_()  # holes far from turning valid
    features = case.features.double().requires_grad_()

    def lifted(depth: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        op = torch.ops.mirage_kernels_reference.unproject
        xyz, rows, _, footprint = op(depth, features, k, m, case.mask, pooling, 1, 0.5)
        return xyz, rows, footprint

    assert torch.autograd.gradcheck(lifted, (depth, features))


def test_footprint_is_the_width_of_a_cell() -> None:
    cameras = Cameras(torch.tensor([[320.0, 0, 160], [0, 300.0, 96], [0, 0, 1]]), torch.eye(4), (192, 320))
    points = unproject(torch.full((1, 192, 320), 2.0), torch.zeros(1, 1, 12, 20), cameras)
    width = (points.xyz[1] - points.xyz[0])[0].item()
    assert np.isclose(points.footprint[0].item(), 2.0 / 20.0)
    assert np.isclose(width, 2.0 / 20.0)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=unproject_cases())
def test_pool_depth_is_the_depth_of_unproject(case: UnprojectCase, every_backend: EveryBackend) -> None:
    """With a camera at the origin whose rays are short, the z of a valid point is the pooled depth, bit for bit."""
    (b, height, width), grid = case.depth.shape, (case.features.shape[2], case.features.shape[3])
    intrinsics = torch.tensor([[1e9, 0, 0], [0, 1e9, 0], [0, 0, 1]]).expand(b, 3, 3)
    cameras = Cameras(intrinsics, torch.eye(4).expand(b, 4, 4), (height, width))
    options = {name: value for name, value in case.options.items() if name != "min_valid"}
    points = run_reference(lambda: unproject(case.depth, case.features, cameras, mask=case.mask, **options))
    expected = torch.where(points.valid, points.xyz[:, 2], math.inf).reshape(b, *grid)
    for name, result in every_backend(lambda: pool_depth(case.depth, grid, mask=case.mask, **options)):
        assert same_bits(result, expected), name


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pool_depth_of_extreme_depths(pooling: Pooling, backend: str) -> None:
    """The largest float32 and denormals are depths too, in every cell of a large grid."""
    depth = torch.full((1, 2000, 3), 3.4e38)
    depth[:, :, 1] = 1e-45
    with mk.use_backend(backend):
        assert same_bits(pool_depth(depth, (2000, 3), pooling=pooling), depth)


def test_pool_depth_without_depth() -> None:
    depth = torch.tensor([[[math.nan, -1.0, 0.0, math.inf], [2.0, 3.0, 4.0, 5.0]]])
    assert pool_depth(depth, (2, 2)).tolist() == [[[math.inf, math.inf], [2.0, 4.0]]]
    mask = depth == 3
    assert pool_depth(depth, (2, 2), mask=mask).tolist() == [[[math.inf, math.inf], [math.inf, 4.0]]]
    assert pool_depth(depth, (2, 2), mask=mask, max_masked=0.5).tolist() == [[[math.inf, math.inf], [2.0, 4.0]]]
    assert pool_depth(depth[:0], (2, 2)).shape == (0, 2, 2)


def test_pool_depth_has_the_gradient_of_its_pixels() -> None:
    depth = torch.tensor([[[1.0, 1.0, 2.0, 7.0]]], requires_grad=True)
    pool_depth(depth, (1, 1)).sum().backward()
    assert depth.grad is not None
    assert depth.grad.tolist() == [[[1.0, 0.0, 0.0, 0.0]]]
