# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_backend import READY, EveryBackend, run_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples, visible_cases
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, _library, group_voxels, overlap, testing, unproject, visible
from mirage_kernels.testing import VisibleCase, same_bits, visible_case

Voxels = set[tuple[float, ...]]


def members(bits: Tensor) -> list[set[int]]:
    """Convert bit sets to Python sets, with Python integers."""
    rows = [[word & (2**64 - 1) for word in row] for row in bits.tolist()]
    return [{64 * i + k for i, word in enumerate(row) for k in range(64) if word >> k & 1} for row in rows]


def random_sets(seed: int, count: int, words: int) -> Tensor:
    """Return random sets of all densities, including empty and full ones."""
    g = torch.Generator().manual_seed(seed)
    density = torch.randint(0, 5, (count, 1, 1), generator=g) / 4
    flags = torch.rand(count, words, 64, generator=g) < density
    return (flags.long() << torch.arange(64)).sum(2)


def iou(a: set[Any], b: set[Any]) -> float:
    """Return the intersection over union as a float32."""
    return float(np.float32(len(a & b) / len(a | b))) if a | b else 0.0


def oracle(case: VisibleCase) -> list[set[int]]:
    """Compute the groups in view as documented: one numpy float32 operation after the other, one point at a
    time."""
    h, w = case.cameras.size
    result = []
    for k, m in zip(case.cameras.intrinsics.numpy(), case.cameras.world2cam.numpy(), strict=True):
        in_view = set()
        for n, (x, y, z) in enumerate(case.xyz.numpy()):
            px, py, pz = (((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in m)
            inv = np.float32(1) / pz
            u, v = (px * inv) * k[0, 0] + k[0, 2], (py * inv) * k[1, 1] + k[1, 2]
            group = n if case.groups is None else int(case.groups[n])
            valid_point = case.valid is None or bool(case.valid[n])
            in_range = case.num_groups is None or 0 <= group < case.num_groups
            if valid_point and in_range and np.float32(1e-6) < pz < math.inf and 0 <= u < w and 0 <= v < h:
                in_view.add(group)
        result.append(in_view)
    return result


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's overflow, which is part of the cases
@settings(max_examples=examples(150))
@given(SEEDS)
def test_reference_follows_the_contract(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    size = tuple(torch.randint(1, 7, (2,), generator=g).tolist())
    groups = (None, 1, 17, 64, 200)[seed // 4 % 5]
    kind = testing.POINT_KINDS[seed % 4]
    case = visible_case(seed, n=70, size=size, kind=kind, valid=seed % 3 == 0, num_groups=groups)
    bits = run_reference(lambda: case.run(visible))
    assert bits.shape == (2, math.ceil((70 if groups is None else groups) / 64))
    assert members(bits) == oracle(case)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(800), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=visible_cases())
def test_cpp_equals_reference(case: VisibleCase, every_backend: EveryBackend) -> None:
    expected = run_reference(lambda: case.run(visible))
    for name, result in every_backend(lambda: case.run(visible)):
        assert same_bits(result, expected), name


@pytest.mark.parametrize("groups", [None, 100, 70_000])
@pytest.mark.usefixtures("native")
def test_many_views_equal_reference(groups: int | None, every_backend: EveryBackend) -> None:
    """Sizes at which work is split by views and by points, with blocks that are out of view."""
    for views in (1, 3, 40):
        case = visible_case(views, n=30_000, views=views, size=(40, 60), valid=True, num_groups=groups)
        case = case._replace(xyz=case.xyz[case.xyz[:, 0].argsort()])
        expected = run_reference(lambda case=case: case.run(visible))
        for name, result in every_backend(lambda case=case: case.run(visible)):
            assert same_bits(result, expected), f"{views} views, {name}"


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEEDS, st.integers(0, 4), st.integers(0, 5), st.one_of(st.integers(0, 40), st.sampled_from([2047, 2049])))
def test_overlap_equals_python_sets(every_backend: EveryBackend, seed: int, num_a: int, num_b: int, words: int) -> None:
    a, b = random_sets(seed, num_a, words), random_sets(seed + 1, num_b, words)
    expected = run_reference(lambda: overlap(a, b))
    assert expected.shape == (num_a, num_b)
    if words <= 40:
        assert expected.tolist() == [[iou(x, y) for y in members(b)] for x in members(a)]
    for name, result in every_backend(lambda: overlap(a, b)):
        assert same_bits(result, expected), name
    for name, result in every_backend(lambda: overlap(a.T.contiguous().T, b)):
        assert same_bits(result, expected), f"strided, {name}"


def test_overlap_of_many_sets_is_the_same_on_every_thread(every_backend: EveryBackend) -> None:
    few, many = random_sets(0, 3, 3000), random_sets(1, 150, 3000)
    for a, b in ((few, many), (many[:20], few)):
        expected = run_reference(lambda a=a, b=b: overlap(a, b))
        for name, result in every_backend(lambda a=a, b=b: overlap(a, b)):
            assert same_bits(result, expected), name


@pytest.mark.parametrize("words", [1, 2, 511, 512, 513])
def test_sets_at_any_alignment(words: int, every_backend: EveryBackend) -> None:
    """Sets on multiples of 16 bytes, and beside them; other numbers in front of them and behind."""
    a, room = random_sets(words, 2, words), random_sets(words, 1, 5 * words + 2).flatten()
    for first in (0, 1):
        b = room[first : first + 5 * words].reshape(5, words)
        expected = run_reference(lambda b=b: overlap(a, b))
        for name, result in every_backend(lambda b=b: overlap(a, b)):
            assert same_bits(result, expected), f"from word {first}, {name}"
            assert same_bits(overlap(b, a).T, expected)


def test_empty_inputs() -> None:
    cameras = testing.plain_cameras(2, (3, 4))
    none = torch.zeros(0, dtype=torch.int64)
    for name in READY:
        with mk.use_backend(name):
            assert visible(torch.zeros(0, 3), cameras).shape == (2, 0)
            assert visible(torch.ones(7, 3), cameras[:0]).shape == (0, 1)
            assert visible(torch.zeros(0, 3), cameras, groups=none, num_groups=65).tolist() == [[0, 0]] * 2
            assert visible(torch.ones(7, 3), cameras, groups=torch.zeros(7).long(), num_groups=0).shape == (2, 0)
            assert overlap(none.reshape(2, 0), none.reshape(3, 0)).tolist() == [[0.0] * 3] * 2
            assert overlap(none.reshape(0, 2), torch.zeros(3, 2).long()).shape == (0, 3)
    assert group_voxels(torch.zeros(0, 3), 0.1).num_groups == 0


def test_occlusion_is_ignored() -> None:
    cameras = testing.plain_cameras(1, (4, 4))
    xyz = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 9.0], [0.0, 0.0, -1.0], [9.0, 0.0, 1.0], [math.nan, 0.0, 1.0]])
    assert visible(xyz, cameras).tolist() == [[0b00011]]
    assert visible(xyz, cameras, valid=torch.arange(5) > 0).tolist() == [[0b00010]]


def voxels_of(xyz: Tensor, size: float = 0.1) -> Voxels:
    return {tuple(v) for v in np.floor(xyz.numpy() / np.float32(size)).tolist()}


@settings(max_examples=examples(200))
@given(SEEDS)
def test_groups_are_sorted_voxels(seed: int) -> None:
    """Close together and far apart, beyond what an integer holds, on the borders of voxels, and not finite."""
    g = torch.Generator().manual_seed(seed)
    xyz = testing.random_points(g, testing.POINT_KINDS[seed % 4], 60)
    if seed % 3 == 0:  # on and next to borders
        on_border = torch.randint(-200, 200, xyz.shape, generator=g).float() * 0.1
        xyz = on_border.view(torch.int32).add(torch.randint(-3, 4, xyz.shape, generator=g).int()).view(torch.float32)
    valid = torch.rand(60, generator=g) < 0.8 if seed % 2 else None
    groups, count = group_voxels(xyz, 0.1, valid)
    with np.errstate(all="ignore"):
        cells = np.floor(xyz.numpy() / 0.1)
    finite = np.isfinite(cells).all(1) & (True if valid is None else valid.numpy())
    number = {voxel: i for i, voxel in enumerate(sorted({tuple(v) for v in cells[finite].tolist()}))}
    assert count == len(number)
    assert groups.tolist() == [number[tuple(v)] if ok else -1 for v, ok in zip(cells.tolist(), finite, strict=True)]


def test_a_distant_voxel_does_not_change_the_numbers() -> None:
    """The table of near voxels and the sort of far ones number alike."""
    xyz = testing.random_points(torch.Generator().manual_seed(0), "room", 5000)
    groups, count = group_voxels(xyz, 0.1)
    with_far, more = group_voxels(torch.cat([xyz, torch.tensor([[3e37, 0.0, 0.0]])]), 0.1)
    assert more == count + 1
    assert with_far.tolist() == [*groups.tolist(), count]


def synthetic_room() -> tuple[Tensor, Cameras]:
    g = torch.Generator().manual_seed(0)
    return testing.random_points(g, "room", 20_000), testing.random_cameras(g, 12, (40, 60))


def hololens(data: Path) -> tuple[Tensor, Cameras]:
    read_rgbd = pytest.importorskip("mirage.recordings.hololens").read_rgbd
    recording = read_rgbd(data / "hololens_dev")
    points = unproject(recording.depth, torch.zeros(73, 1, 45, 68), recording.cameras)
    return points.xyz[points.valid], recording.cameras[::9]


@pytest.mark.parametrize("scene", ["room", "hololens"])
def test_retrieval_equals_python_sets(request: pytest.FixtureRequest, backend: str, scene: str) -> None:
    """The IoU of every pair of frames equals that of Python sets of ``floor(xyz / 0.1)``."""
    xyz, cameras = synthetic_room() if scene == "room" else hololens(request.getfixturevalue("data"))
    with mk.use_backend(backend):
        groups, count = group_voxels(xyz, 0.1)
        bits = visible(xyz, cameras, groups=groups, num_groups=count)
        result = overlap(bits[:3], bits)
        sets = [voxels_of(xyz[inside]) for inside in cameras.project(xyz)[2]]
    assert result.tolist() == [[iou(a, b) for b in sets] for a in sets[:3]]
    assert 0 < result[0, 1:].max() < 1
    assert count == len(voxels_of(xyz))


@pytest.mark.parametrize("options", [{}, {"valid": True, "num_groups": 70}, {"n": 0}, {"views": 0, "strided": True}])
def test_opcheck(namespace: str, options: dict[str, Any]) -> None:
    case = visible_case(0, **options)
    groups = case.xyz.shape[0] if case.num_groups is None else case.num_groups
    args = (case.cameras.intrinsics, case.cameras.world2cam, 6, 9, case.valid, case.groups, groups)
    torch.library.opcheck(_library.overload(namespace, "visible"), (case.xyz, *args))
    torch.library.opcheck(_library.overload(namespace, "overlap"), (random_sets(0, 2, 3), random_sets(1, 4, 3)))


def test_points_that_require_grad() -> None:
    case = visible_case(0)
    for name in READY:
        with mk.use_backend(name):
            bits = case._replace(xyz=case.xyz.clone().requires_grad_()).run(visible)
            assert not bits.requires_grad
            assert same_bits(bits, case.run(visible))


def retrieve(xyz: Tensor, targets: Cameras, history: Cameras, groups: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    in_view = visible(xyz, targets, groups=groups, num_groups=num_groups)
    return overlap(in_view, visible(xyz, history, groups=groups, num_groups=num_groups)), visible(xyz, targets)


@pytest.mark.parametrize("dynamic", [False, True])
def test_retrieval_compiles_into_one_graph(backend: str, dynamic: bool) -> None:
    torch.compiler.reset()
    compiled = torch.compile(retrieve, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    with mk.use_backend(backend):
        for n, num_groups in ((200, 70), (333, 150)):
            case = visible_case(3, n=n, views=4, num_groups=num_groups)
            args = (case.xyz, case.cameras[:2], case.cameras[1:], case.groups, num_groups)
            for result, expected in zip(compiled(*args), retrieve(*args), strict=True):
                assert same_bits(result, expected)


def test_fake_tensors() -> None:
    cameras = testing.plain_cameras(3, (6, 9)).to("meta")
    in_view = visible(torch.empty(130, 3, device="meta"), cameras)
    assert in_view.shape == (3, 3)
    assert overlap(in_view, in_view[:2]).shape == (3, 2)
    assert overlap(in_view, in_view).dtype == torch.float32


@pytest.mark.parametrize("count", [-1, (1 << 32) + 1, (1 << 63) - 1])
def test_a_number_of_groups_out_of_range_is_refused(count: int, namespace: str) -> None:
    cameras = testing.plain_cameras(1, (4, 4))
    groups = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="num_groups: expected 0 to 4294967296, got"):
        visible(torch.ones(3, 3), cameras, groups=groups, num_groups=count)
    arguments = (torch.ones(3, 3), cameras.intrinsics, cameras.world2cam, 4, 4, None, groups, count)
    if count > 1 << 40:
        with pytest.raises((RuntimeError, ValueError)):
            _library.overload(namespace, "visible")(*arguments)


def kept_sets(bits: Tensor, count: int) -> list[int]:
    """``keep_sets`` as documented, with Python sets."""
    sets = dict(enumerate(members(bits)))
    while len(sets) > count:
        alone = {s: sum(not any(m in sets[t] for t in sets if t != s) for m in sets[s]) for s in sets}
        del sets[min(alone, key=lambda s: (alone[s], s))]
    return list(sets)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("count", "words"), [(0, 2), (1, 1), (7, 0), (7, 3), (12, 1)])
def test_kept_sets(seed: int, count: int, words: int, every_backend: EveryBackend) -> None:
    bits = random_sets(seed, count, words)
    if seed % 2:  # few members in common
        bits &= random_sets(seed + 100, count, words) & random_sets(seed + 200, count, words)
    for kept in range(count + 1):
        expected = kept_sets(bits, kept)
        assert run_reference(lambda kept=kept: mk.keep_sets(bits, kept)).tolist() == expected
        for name, result in every_backend(lambda kept=kept: mk.keep_sets(bits, kept)):
            assert result.tolist() == expected, name


def test_kept_sets_of_an_expanded_tensor(every_backend: EveryBackend) -> None:
    bits = torch.tensor([[7]]).expand(3, 1)
    assert run_reference(lambda: mk.keep_sets(bits, 1)).tolist() == [2]
    assert all(kept.tolist() == [2] for _, kept in every_backend(lambda: mk.keep_sets(bits, 1)))
    assert run_reference(lambda: mk.keep_sets(torch.tensor(7).expand(1, 1), 1)).tolist() == [0]


def test_kept_sets_in_a_program(namespace: str) -> None:
    bits = random_sets(1, 6, 2)
    torch.library.opcheck(_library.overload(namespace, "overlap_keep"), (bits, 4))
    run = torch.compile(lambda sets: mk.keep_sets(sets, 3), fullgraph=True, backend="aot_eager")
    assert torch.equal(run(bits), mk.keep_sets(bits, 3))
    with pytest.raises(ValueError, match="count: expected 0 to 6, got 7"):
        mk.keep_sets(bits, 7)
    with pytest.raises(TypeError, match="bits: expected int64, got int32"):
        mk.keep_sets(bits.int(), 3)
