# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras as other libraries give them, against projections computed here in float64."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

import mirage_kernels as mk
from mirage_kernels import Cameras, splat, testing, unproject
from mirage_kernels.testing import same_bits

SIZE = (36, 54)
FX, FY, CX, CY = 48.5, 47.25, 26.75, 17.5
K = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, 1]])
FLIP = np.diag([1.0, -1, -1, 1])


def random_poses(count: int, distance: float = 3.0) -> np.ndarray:
    """Return cam2world poses (V, 4, 4) float64 that are rigid to float64."""
    rng = np.random.default_rng(count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose in poses:
        q, r = np.linalg.qr(rng.normal(size=(3, 3)))
        pose[:3, :3] = q * np.sign(np.diag(r)) * np.sign(np.linalg.det(q * np.sign(np.diag(r))))
        pose[:3, 3] = rng.normal(size=3) * distance
    return poses


def points_in_view(pose: np.ndarray, count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.uniform(0.5, 6, count)
    u, v = rng.uniform(0, SIZE[1], count), rng.uniform(0, SIZE[0], count)
    local = np.stack([(u - CX) / FX * z, (v - CY) / FY * z, z], 1)
    return local @ pose[:3, :3].T + pose[:3, 3]


def assert_projects_like(cameras: Cameras, poses: np.ndarray, tolerance: float = 2e-4) -> None:
    """Assert that cameras project points where float64 arithmetic does: in cells, and 100 times as near in depth."""
    assert len(cameras) == len(poses)
    assert cameras.size == SIZE
    for camera, pose in zip((cameras[i] for i in range(len(cameras))), poses, strict=True):
        xyz = points_in_view(pose)
        x, y, z = ((xyz - pose[:3, 3]) @ pose[:3, :3]).T
        uv, depth, _ = camera.project(torch.from_numpy(xyz))
        np.testing.assert_allclose(uv[0].numpy(), np.stack([x / z * FX + CX, y / z * FY + CY], 1), atol=tolerance)
        np.testing.assert_allclose(depth[0].numpy(), z, atol=tolerance / 100)


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """Return quaternions (V, 4) in the order w, x, y, z, by the eigenvector of Bar-Itzhack's matrix (2000)."""
    result = []
    for m in rotations:
        (a, b, c), (d, e, f), (g, h, i) = m
        matrix = np.array([
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ])  # fmt: skip
        result.append(np.linalg.eigh(matrix / 3)[1][:, -1])
    return np.array(result)


def inverses(poses: np.ndarray) -> np.ndarray:
    return np.linalg.inv(poses)


def from_quaternion(poses: np.ndarray, order: str, pose: str) -> Cameras:
    m = poses if pose == "cam2world" else inverses(poses)
    q = quaternions(m[:, :3, :3]) * np.linspace(0.5, 2, len(m))[:, None]
    q = q if order == "wxyz" else q[:, [1, 2, 3, 0]]
    return Cameras.from_quaternion(K, q, m[:, :3, 3], SIZE, order=order, pose=pose)  # type: ignore[arg-type]


def pytorch3d(poses: np.ndarray, ndc: bool) -> SimpleNamespace:
    """Return what PyTorch3D's PerspectiveCameras hold: row vectors, x to the left, y up."""
    m = inverses(poses)
    r, t = np.diag([-1.0, -1, 1]) @ m[:, :3, :3], m[:, :3, 3] * [-1, -1, 1]
    half = min(SIZE) / 2
    focal, center = np.array([[FX, FY]]), np.array([[CX, CY]])
    if ndc:
        focal, center = focal / half, (np.array([[SIZE[1] / 2, SIZE[0] / 2]]) - center) / half
    tensors = {"R": r.swapaxes(1, 2), "T": t, "focal_length": focal, "principal_point": center}
    return SimpleNamespace(in_ndc=lambda: ndc, **{name: torch.from_numpy(x.copy()) for name, x in tensors.items()})


def nested(array: np.ndarray) -> Any:
    return array.tolist()


FORMS: dict[str, Callable[[np.ndarray], Cameras]] = {
    "float64 tensors": lambda p: Cameras(torch.from_numpy(K), torch.from_numpy(p), SIZE),
    "float32 tensors": lambda p: Cameras(torch.from_numpy(K).float(), torch.from_numpy(p).float(), SIZE),
    "3x4": lambda p: Cameras(K, p[:, :3], SIZE),
    "arrays": lambda p: Cameras(K, p, np.array(SIZE)),
    "float32 arrays": lambda p: Cameras(K.astype("f4"), p.astype("f4"), SIZE),
    "arrays in another order": lambda p: Cameras(np.asfortranarray(K), p.swapaxes(1, 2).copy().swapaxes(1, 2), SIZE),
    "arrays with negative strides": lambda p: Cameras(K[::-1].copy()[::-1], p[::-1].copy()[::-1], SIZE),
    "arrays of another byte order": lambda p: Cameras(K.astype(">f8"), p.astype(">f4"), SIZE),
    "lists": lambda p: Cameras(nested(K), nested(p), list(SIZE)),
    "lists of arrays": lambda p: Cameras([K] * len(p), list(p), SIZE),
    "lists of tensors": lambda p: Cameras(K, [torch.from_numpy(m) for m in p], SIZE),
    "a row of intrinsics": lambda p: Cameras([FX, FY, CX, CY], p, SIZE),
    "rows of intrinsics": lambda p: Cameras(np.tile([FX, FY, CX, CY], (len(p), 1)), p, SIZE),
    "intrinsics of 4x4": lambda p: Cameras(np.pad(K, (0, 1)) + np.diag([0.0, 0, 0, 1]), p, SIZE),
    "integer centers": lambda p: Cameras([FX, FY, CX - 0.5, CY - 0.5], p, SIZE, integer_centers=True),
    "leading dimensions": lambda p: Cameras(
        np.tile(K, (2, len(p) // 2, 1, 1)), p.reshape(2, -1, 4, 4), torch.Size(SIZE)
    ),
    "integers of NumPy": lambda p: Cameras(K, p, (np.int64(SIZE[0]), np.uint8(SIZE[1]))),
    "integers of torch": lambda p: Cameras(K, p, torch.tensor(SIZE)),
    "world2cam": lambda p: Cameras.from_world2cam(K, inverses(p), SIZE),
    "world2cam of 3x4": lambda p: Cameras.from_world2cam(K, nested(inverses(p)[:, :3]), SIZE),
    "world2cam, integer centers": lambda p: Cameras.from_world2cam(
        [FX, FY, CX - 0.5, CY - 0.5], inverses(p), SIZE, integer_centers=True
    ),
    "gsplat": lambda p: Cameras.from_viewmats(inverses(p), K, width=SIZE[1], height=SIZE[0]),
    "OpenGL": lambda p: Cameras.from_opengl(K, p @ FLIP, SIZE),
    "OpenGL, 3x4": lambda p: Cameras.from_opengl([FX, FY, CX, CY], (p @ FLIP)[:, :3], SIZE),
    "TUM": lambda p: from_quaternion(p, "xyzw", "cam2world"),
    "COLMAP": lambda p: from_quaternion(p, "wxyz", "world2cam"),
    "PyTorch3D": lambda p: Cameras.from_pytorch3d(pytorch3d(p, ndc=False), SIZE),
    "PyTorch3D, normalized": lambda p: Cameras.from_pytorch3d(pytorch3d(p, ndc=True), SIZE),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_projects_as_float64_does(form: str) -> None:
    poses = random_poses(6)
    assert_projects_like(FORMS[form](poses), poses)


def recorded_poses(data: Path) -> dict[str, np.ndarray]:
    poses = {"hololens": np.loadtxt(data / "hololens_dev/poses.txt").reshape(-1, 4, 4)}
    for case in ("case_1", "case_2", "case_3"):
        lines = (data / "spatia_trajectories" / case / "w2c.txt").read_text().splitlines()
        poses[case] = np.linalg.inv(np.array([json.loads(line) for line in lines if line.strip()]))
    return poses


@pytest.mark.parametrize("form", FORMS)
def test_every_form_on_recorded_poses(form: str, data: Path) -> None:
    for name, poses in recorded_poses(data).items():
        even = poses[: len(poses) // 2 * 2]
        # A recorded pose is rigid to its printed digits only, and its inverse is not its transpose.
        off = np.abs(even[:, :3, :3] @ even[:, :3, :3].swapaxes(1, 2) - np.eye(3)).max()
        scale = np.abs(even[:, :3, 3]).max()
        assert off < 1e-3, name
        assert_projects_like(FORMS[form](even), even, tolerance=2e-4 + 2e-5 * scale + 100 * off * (1 + scale))


def test_one_camera_stands_for_many() -> None:
    poses, rows = random_poses(4), np.array([[FX + i, FY, CX, CY] for i in range(4)])
    many = Cameras(rows, poses[0], SIZE)
    assert same_bits(many.cam2world, Cameras(K, np.tile(poses[0], (4, 1, 1)), SIZE).cam2world)
    assert many.intrinsics[:, 0, 0].tolist() == [FX + i for i in range(4)]
    for k in (rows[:1], K, K[None], [FX, FY, CX, CY]):
        assert same_bits(Cameras(k, poses, SIZE).intrinsics, Cameras(K, poses, SIZE).intrinsics)
    assert len(Cameras(K, poses[0], SIZE)) == 1
    with pytest.raises(ValueError, match=r"intrinsics: expected \(V=4, 3, 3\), got \(3, 3, 3\)"):
        Cameras(rows[:3], poses, SIZE)


def test_four_rows_of_four_are_told_from_a_matrix() -> None:
    poses = random_poses(4)
    rows = Cameras([[FX, FY, CX, CY]] * 4, poses, SIZE)
    matrix = Cameras(np.pad(K, (0, 1)) + np.diag([0.0, 0, 0, 1]), poses, SIZE)
    assert same_bits(rows.intrinsics, matrix.intrinsics)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverses_by_this_torch_are_accepted(dtype: torch.dtype, data: Path) -> None:
    """torch.linalg.inv leaves 1e-8 in the last row of some poses."""
    for poses in recorded_poses(data).values():
        for pose in torch.from_numpy(poses).to(dtype):
            for shift in (0.0, 300.0, 5e5):
                moved = pose.clone()
                moved[:3, 3] += shift
                inverse = torch.linalg.inv(moved)
                assert Cameras(K, inverse, SIZE).cam2world[0, 3].tolist() == [0, 0, 0, 1]
                assert same_bits(Cameras.from_world2cam(K, inverse, SIZE).world2cam[0], inverse[:3].float())


@pytest.mark.parametrize("error", [1e-8, -1e-6, 9e-6])
def test_a_last_row_is_set_where_rounding_has_changed_it(error: float) -> None:
    pose = torch.eye(4)
    for column in range(4):
        rounded = pose.clone()
        rounded[3, column] += error
        assert same_bits(Cameras(K, rounded, SIZE).cam2world[0], pose)
        assert rounded[3, column] == pose[3, column] + error  # the argument is as it was
        assert same_bits(Cameras.from_world2cam(K, rounded, SIZE).viewmats[0], pose)


def test_world2cam_is_kept_and_its_inverse_is_rounded_once() -> None:
    poses = random_poses(50).astype("f4")
    poses[:, :3, :3] *= 1 + 4e-4  # rigid within the tolerance: the transpose is 8e-4 off the inverse
    cameras = Cameras.from_world2cam(K, poses, SIZE)
    assert same_bits(cameras.world2cam, torch.from_numpy(poses[:, :3]))
    assert same_bits(cameras.viewmats, torch.from_numpy(poses))
    exact = np.linalg.inv(poses.astype("f8"))
    found = cameras.cam2world.double().numpy()
    assert np.abs(found - exact).max() <= np.spacing(np.float32(np.abs(exact).max()))
    assert (found == exact.astype("f4")).mean() > 0.99  # LAPACK's own rounding may tip a few


def test_what_is_unprojected_is_projected_into_its_own_cell() -> None:
    g = torch.Generator().manual_seed(0)
    poses = random_poses(8).astype("f4")
    poses[:, :3, :3] *= 1 + 4e-4
    cameras = Cameras.from_world2cam(K, poses, SIZE)
    depth, features = torch.rand(8, *SIZE, generator=g) * 4 + 0.5, torch.randn(8, 3, *SIZE, generator=g)
    points = unproject(depth, features, cameras)
    cells = SIZE[0] * SIZE[1]
    for view in range(8):
        part = slice(view * cells, (view + 1) * cells)
        seen = splat(points.xyz[part], points.features[part], cameras[view])
        assert same_bits(seen.features[0], features[view])


def derived(cameras: Cameras) -> list[Cameras]:
    """Return the same cameras after everything that copies them."""
    collated = default_collate([cameras[:2].tensors(), cameras[2:4].tensors()])
    state = torch.utils._pytree.tree_map(lambda x: x, cameras.tensors())
    return [
        Cameras.from_tensors(cameras.tensors())[:4],
        Cameras.from_tensors(collated),
        Cameras.from_tensors(state)[:4],
        pickle.loads(pickle.dumps(cameras))[:4],
        Cameras.cat([cameras[0], cameras[1:4]]),
        cameras.to("cpu")[[0, 1, 2, 3]],
        cameras.rescale((72, 108)).rescale(SIZE)[:4],
    ]


@pytest.mark.parametrize("make", [Cameras, Cameras.from_world2cam])
def test_copies_keep_both_poses(make: Callable[..., Cameras]) -> None:
    poses = random_poses(4).astype("f4")
    poses[:, :3, :3] *= 1 + 4e-4
    cameras = make(K, poses, SIZE)
    for other in derived(cameras):
        for name, tensor in cameras.tensors().items():
            assert same_bits(other.tensors()[name], tensor), name


def test_tensors_in_files_of_torch(tmp_path: Path) -> None:
    cameras = Cameras.from_world2cam(K, random_poses(3), SIZE)
    torch.save(cameras.tensors(), tmp_path / "a.pt")
    loaded = Cameras.from_tensors(torch.load(tmp_path / "a.pt", weights_only=True))
    assert same_bits(loaded.world2cam, cameras.world2cam)
    mk.save_tensors(tmp_path / "a.safetensors", cameras.tensors(), kind="cameras", version=1, settings={})
    tensors, _ = mk.load_tensors(tmp_path / "a.safetensors", kind="cameras", version=1)
    assert same_bits(Cameras.from_tensors(tensors).cam2world, cameras.cam2world)


@pytest.mark.parametrize(("changed", "message"), [
    ({"world2cam": torch.eye(4)[None, :3]}, r"world2cam\[0\]: expected the inverse of cam2world"),
    ({"world2cam": torch.full((1, 3, 4), math.nan)}, r"world2cam\[0\]: expected the inverse of cam2world"),
    ({"world2cam": torch.eye(4).expand(2, 4, 4)}, r"world2cam: expected \(V=1, 3, 4\), got \(2, 3, 4\)"),
    ({"size": torch.tensor([[4, 5], [4, 6]])}, r"size: expected \(h, w\), the same"),
    ({"size": torch.zeros(0, 2)}, r"size: expected integers \(h, w\)"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(changed: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cameras.from_tensors(Cameras(K, random_poses(1), SIZE).tensors() | changed)
    tensors = Cameras(K, random_poses(1), SIZE).tensors()
    del tensors["size"]
    with pytest.raises(ValueError, match="tensors: expected an entry 'size'"):
        Cameras.from_tensors(tensors)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("place", list(np.ndindex(3, 4)))
def test_no_entry_of_world2cam_may_be_another_number(place: tuple[int, int], value: float) -> None:
    tensors = Cameras(K, random_poses(2), SIZE).tensors()
    tensors["world2cam"][(1, *place)] = value
    with pytest.raises(ValueError, match=r"world2cam\[1\]: expected the inverse of cam2world"):
        Cameras.from_tensors(tensors)


def test_translated_cameras_of_world2cam_project_with_its_rotation() -> None:
    poses = random_poses(5)
    cameras = Cameras.from_world2cam(K, inverses(poses), SIZE)
    moved = cameras.translate((1.0, -2.0, 0.5))
    assert same_bits(moved.world2cam[:, :, :3], cameras.world2cam[:, :, :3])
    poses[:, :3, 3] += (1.0, -2.0, 0.5)
    assert_projects_like(moved, poses)


def fov_cameras(pose: np.ndarray, degrees: bool) -> SimpleNamespace:
    ndc = pytorch3d(pose, ndc=True)
    angle = 2 * math.atan(1 / (FY / (min(SIZE) / 2)))
    fov = torch.tensor([math.degrees(angle) if degrees else angle], dtype=torch.float64)
    return SimpleNamespace(R=ndc.R, T=ndc.T, in_ndc=lambda: True, fov=fov, degrees=degrees,
                           aspect_ratio=torch.tensor([FY / FX], dtype=torch.float64))  # fmt: skip


@pytest.mark.parametrize("degrees", [False, True])
def test_pytorch3d_cameras_with_a_field_of_view(degrees: bool) -> None:
    made = Cameras.from_pytorch3d(fov_cameras(random_poses(1), degrees), SIZE)
    middle = SIZE[1] / 2, SIZE[0] / 2
    np.testing.assert_allclose(made.intrinsics[0], [[FX, 0, middle[0]], [0, FY, middle[1]], [0, 0, 1]], rtol=1e-6)


EYE = torch.eye(4)


def changed_pytorch3d(cameras: SimpleNamespace, **changed: Any) -> Cameras:
    fields = (vars(cameras) | changed).items()
    return Cameras.from_pytorch3d(SimpleNamespace(**{name: x for name, x in fields if x is not None}), SIZE)


def bad_pytorch3d(**changed: Any) -> Cameras:
    return changed_pytorch3d(pytorch3d(random_poses(1), ndc=True), **changed)


def bad_fov(**changed: Any) -> Cameras:
    return changed_pytorch3d(fov_cameras(random_poses(1), True), **changed)


def with_size(size: Any) -> Cameras:
    return Cameras.from_tensors({"intrinsics": EYE[:3, :3], "cam2world": EYE, "size": size})


def quaternion(q: Any, t: Any) -> Cameras:
    return Cameras.from_quaternion(K, q, t, SIZE, order="wxyz", pose="cam2world")


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: Cameras.from_pytorch3d(K, SIZE), TypeError, "cameras: expected PyTorch3D's cameras, with an attribute R"),
    (lambda: quaternion([0, 0, 0, 0], [0, 0, 0]), ValueError,
     r"quaternion\[0\]: expected a finite quaternion other than 0"),
    (lambda: quaternion([0, 0, 1], [0, 0, 0]), ValueError, r"quaternion: expected \(V, 4\) or \(4,\), got \(3,\)"),
    (lambda: Cameras.from_quaternion(K, [[0, 0, 0, 1.0]], [0, 0, 0], SIZE, order="wxyz", pose="cam2world"), ValueError,
     r"translation: expected \(1, 3\) like quaternion, got \(3,\)"),
    (lambda: Cameras.from_quaternion(K, [0, 0, 0, 1], [0, 0, 0], SIZE, order="xyz", pose="cam2world"), ValueError,
     "order: expected 'wxyz' or 'xyzw', got 'xyz'"),
    (lambda: Cameras(K.astype("f2"), np.eye(4), SIZE), TypeError, "intrinsics: expected a tensor, an array"),
    (lambda: Cameras(K, np.eye(4, dtype=bool), SIZE), TypeError, "cam2world: expected a tensor, an array"),
    (lambda: Cameras(K, np.eye(4) + 0j, SIZE), TypeError, "cam2world: expected a tensor, an array"),
    (lambda: Cameras(K, [[1, 2], [3]], SIZE), TypeError, "cam2world: expected a tensor, an array"),
    (lambda: Cameras(K, np.eye(4), (4, 5.0)), TypeError, r"size\[1\]: expected an integer, got float"),
    (lambda: Cameras(K, np.eye(4), torch.tensor([True, True])), TypeError, r"size\[0\]: expected an integer, got bool"),
    (lambda: Cameras(K, np.eye(4), "45"), ValueError, r"size: expected \(h, w\)"),
    (lambda: Cameras.from_viewmats(np.eye(4), K, 9.5, 6), TypeError, "width: expected an integer, got float"),
    (lambda: Cameras.from_viewmats(np.eye(4), K, 9, 0), ValueError, "height: expected 1 to 16777216, got 0"),
    (lambda: bad_pytorch3d(focal_length=torch.ones(3, 2)), ValueError, r"cameras.focal_length: expected \(V=1, 2\)"),
    (lambda: bad_pytorch3d(principal_point=torch.ones(1, 3)), ValueError, r"cameras.principal_point: expected \(V=1"),
    (lambda: bad_pytorch3d(R=torch.eye(3)), ValueError, r"cameras.R: expected \(V, 3, 3\), got \(3, 3\)"),
    (lambda: bad_pytorch3d(T=torch.ones(3)), ValueError, r"cameras.T: expected \(V=1, 3\), got \(3,\)"),
    (lambda: bad_pytorch3d(T=torch.ones(2, 3)), ValueError, r"cameras.T: expected \(V=1, 3\), got \(2, 3\)"),
    (lambda: bad_pytorch3d(focal_length=None), TypeError, "cameras.focal_length: expected a tensor, an array"),
    (lambda: bad_fov(degrees=None), TypeError, "cameras: expected PyTorch3D's cameras, with an attribute degrees"),
    (lambda: bad_fov(fov=torch.ones(3)), ValueError, r"cameras.fov: expected \(V=1, 1\)"),
    (lambda: with_size((1, 2, 3)), ValueError, r"size: expected \(h, w\), got \(1, 2, 3\)"),
    (lambda: with_size("ab"), ValueError, r"size: expected \(h, w\), got 'ab'"),
    (lambda: with_size(None), ValueError, r"size: expected \(h, w\), got None"),
    (lambda: with_size(torch.ones(2)), ValueError, r"size: expected integers \(h, w\), or \(V, 2\), got float32"),
    *((lambda v=value: Cameras.from_opengl(K, EYE, SIZE, integer_centers=v), TypeError, "integer_centers: expected a")
      for value in (1, None, "yes", torch.ones(3))),
    (lambda: quaternion(torch.ones(4, device="meta"), torch.ones(3)), ValueError, "quaternion: expected a tens"),
    (lambda: quaternion(torch.ones(4), torch.ones(3, device="meta")), ValueError, "translation: expected a tensor on"),
])  # fmt: skip
def test_what_is_none_of_the_forms(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_cameras_of_cases_are_as_before() -> None:
    """The plain form has the bits that it had before there were others: R^T and -R^T t, rounded once."""
    cameras = testing.plain_cameras(5, SIZE)
    m = cameras.cam2world.double()
    t = -((m[:, 0, :3] * m[:, 0, 3:] + m[:, 1, :3] * m[:, 1, 3:]) + m[:, 2, :3] * m[:, 2, 3:])
    assert same_bits(cameras.world2cam, torch.cat([m[:, :3, :3].mT, t[:, :, None]], 2).float())


def test_a_flag_may_be_numpys_and_a_field_of_view_an_integer() -> None:
    shifted = Cameras(K, EYE, SIZE, integer_centers=True)
    assert torch.equal(Cameras(K, EYE, SIZE, integer_centers=np.True_).intrinsics, shifted.intrinsics)
    made = bad_fov(fov=60, aspect_ratio=1.0)
    assert torch.equal(made.intrinsics, bad_fov(fov=torch.tensor([60.0]), aspect_ratio=torch.tensor([1.0])).intrinsics)


def test_lists_of_world2cam_are_taken_from_tensors() -> None:
    cameras = Cameras(K, EYE, SIZE)
    lists = {name: tensor.tolist() for name, tensor in cameras.tensors().items()}
    assert torch.equal(Cameras.from_tensors(lists).world2cam, cameras.world2cam)
