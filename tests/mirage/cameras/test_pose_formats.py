# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras of COLMAP models, transforms.json and TUM trajectories, against float64 arithmetic in this file."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layouts import quaternion

from mirage.cameras import read_cameras, read_cameras_json, write_cameras
from mirage.cameras.files import has_poses_alone
from mirage.errors import DataError
from mirage_kernels import Cameras

SIZE = (48, 64)
IMAGE_SIZE = (96, 128)  # of the calibrations
NAMES = ("frame10.png", "frame2.png", "frame1.png")  # as they are in the files
NATURAL = [2, 1, 0]  # their natural order
K = torch.tensor([[60.0, 0, 33], [0, 61, 23], [0, 0, 1]])  # in pixels of SIZE
FX, FY, CX, CY = 120.0, 122.0, 66.0, 46.0  # in pixels of IMAGE_SIZE
GIVEN = torch.tensor([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]])


def random_poses(count: int) -> np.ndarray:
    """Poses (F, 4, 4) float64 with rotations of any angle."""
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose in poses:
        q, r = np.linalg.qr(rng.normal(size=(3, 3)))
        q = q * np.sign(np.diag(r))
        pose[:3, :3] = q * np.linalg.det(q)
        pose[:3, 3] = rng.normal(size=3)
    return poses


POSES = random_poses(3)


def numbers(values: Any) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


def colmap_pose(pose: np.ndarray) -> tuple[list[float], list[float]]:
    """qw qx qy qz and tx ty tz, world-to-camera."""
    inverse = np.linalg.inv(pose)
    x, y, z, w = quaternion(inverse[:3, :3])
    return [w, x, y, z], inverse[:3, 3].tolist()


def write_colmap_text(folder: Path, poses: np.ndarray = POSES, *, camera: str = "", prefix: str = "frame") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.txt").write_text(camera or f"# one\n7 PINHOLE 128 96 {FX} {FY} {CX} {CY}\n")
    lines = ["# images"]
    for n, pose in enumerate(poses):
        q, t = colmap_pose(pose)
        name = NAMES[n] if len(poses) == 3 else f"{prefix}{n}.png"
        lines += [f"{n + 1} {numbers(q)} {numbers(t)} 7 {name}", "1.5 2.5 3 4.5 5.5 -1" if n else ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_colmap_binary(folder: Path, *, model: int = 1, values: tuple[float, ...] = (FX, FY, CX, CY)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    count = len(values)
    (folder / "cameras.bin").write_bytes(struct.pack(f"<QiiQQ{count}d", 1, 7, model, 128, 96, *values))
    data = struct.pack("<Q", len(POSES))
    for n, (name, pose) in enumerate(zip(NAMES, POSES, strict=True)):
        q, t = colmap_pose(pose)
        data += struct.pack("<i7di", n + 1, *q, *t, 7) + name.encode() + b"\0"
        data += struct.pack("<QddqddQ", 2, 1.5, 2.5, 3, 4.5, 5.5, 2**64 - 1) if n else struct.pack("<Q", 0)
    (folder / "images.bin").write_bytes(data)
    return folder


def transforms(poses: np.ndarray = POSES, **changed: Any) -> dict[str, Any]:
    """The content of a transforms.json; None takes a value away."""
    frames = [
        {"file_path": f"images/{n}", "transform_matrix": (pose @ np.diag([1.0, -1, -1, 1])).tolist()}
        for n, pose in enumerate(poses)
    ]
    content = {"w": 128, "h": 96, "fl_x": FX, "fl_y": FY, "cx": CX, "cy": CY, "frames": frames} | changed
    return {name: value for name, value in content.items() if value is not None}


def write_transforms(path: Path, content: dict[str, Any] | None = None) -> Path:
    path.write_text(json.dumps(transforms() if content is None else content))
    return path


def write_tum(path: Path, poses: np.ndarray = POSES, separator: str = " ") -> Path:
    lines = [f"{9 - n}.5 {numbers(p[:3, 3])} {numbers(quaternion(p[:3, :3]))}" for n, p in enumerate(poses)]
    path.write_text("# timestamp tx ty tz qx qy qz qw\n\n" + "\n".join(lines).replace(" ", separator) + "\n")
    return path


# What is passed to read_cameras, and the order in which POSES come back.
CASES: dict[str, tuple[Callable[[Path], Path], list[int]]] = {
    "COLMAP text": (lambda folder: write_colmap_text(folder / "sparse/0").parents[1], NATURAL),
    "COLMAP binary": (lambda folder: write_colmap_binary(folder / "sparse/0").parents[1], NATURAL),
    "COLMAP model folder": (write_colmap_binary, NATURAL),
    "images.txt": (lambda folder: write_colmap_text(folder) / "images.txt", NATURAL),
    "images.bin": (lambda folder: write_colmap_binary(folder) / "images.bin", NATURAL),
    "transforms.json": (lambda folder: write_transforms(folder / "transforms.json"), [0, 1, 2]),
    "any name": (lambda folder: write_transforms(folder / "a"), [0, 1, 2]),
    "nerfstudio folder": (lambda folder: write_transforms(folder / "transforms.json").parent, [0, 1, 2]),
    "TUM": (lambda folder: write_tum(folder / "groundtruth.txt"), [0, 1, 2]),
    "TUM with commas": (lambda folder: write_tum(folder / "a.csv", separator=","), [0, 1, 2]),
}


@pytest.mark.parametrize("name", CASES)
def test_every_format_gives_the_same_cameras(name: str, tmp_path: Path) -> None:
    make, order = CASES[name]
    path = make(tmp_path)
    alone = name.startswith("TUM")
    assert not has_poses_alone(path)
    expected = torch.from_numpy(POSES[order])
    inverse = torch.from_numpy(np.linalg.inv(POSES[order])[:, :3])
    for given, k in ((None, K), (GIVEN, GIVEN)):
        if alone and given is None:
            with pytest.raises(DataError, match="expected intrinsics in addition"):
                read_cameras(path, SIZE)
            continue
        cameras = read_cameras(path, SIZE, intrinsics=given, world2cam=given is None)
        assert cameras.size == SIZE
        assert torch.equal(cameras.intrinsics, k.expand(3, 3, 3))
        torch.testing.assert_close(cameras.cam2world.double(), expected, rtol=0, atol=5e-7)
        torch.testing.assert_close(cameras.world2cam.double(), inverse, rtol=0, atol=5e-7)
        if "COLMAP" in name:  # the poses that the file has, rounded once
            assert (cameras.world2cam.double() - inverse).abs().max() < 2.0**-24 * 2
    if not alone:  # added in pixels of the file, before they are rescaled
        shifted = read_cameras(path, SIZE, integer_centers=True).intrinsics - K
        assert shifted[0].tolist() == [[0, 0, 0.25], [0, 0, 0.25], [0, 0, 0]]


def test_text_and_binary_models_have_equal_bits(tmp_path: Path) -> None:
    text = read_cameras(write_colmap_text(tmp_path / "text"), SIZE)
    binary = read_cameras(write_colmap_binary(tmp_path / "binary"), SIZE)
    for name, values in text.tensors().items():
        assert torch.equal(values, binary.tensors()[name]), name
    # a folder with both is read from the binary files, and the path of a file says which
    both = write_colmap_text(tmp_path / "binary", POSES[::-1].copy())
    assert torch.equal(read_cameras(both, SIZE).cam2world, binary.cam2world)
    assert torch.equal(read_cameras(both / "images.txt", SIZE).cam2world, binary.cam2world[[2, 1, 0]])


@pytest.mark.parametrize(
    ("camera", "rows"),
    [
        ("SIMPLE_PINHOLE 128 96 120 66 46", (60, 60, 33, 23)),
        ("SIMPLE_RADIAL 128 96 120 66 46 0.1", (60, 60, 33, 23)),
        ("RADIAL 128 96 120 66 46 0.1 0.01", (60, 60, 33, 23)),
        ("OPENCV 128 96 120 122 66 46 0.1 0.2 0.01 0.02", (60, 61, 33, 23)),
        ("FULL_OPENCV 128 96 120 122 66 46 1 2 3 4 5 6 7 8", (60, 61, 33, 23)),
        ("PINHOLE 64 192 120 122 66 46", (120, 30.5, 66, 11.5)),
    ],
)
def test_camera_models_of_colmap(camera: str, rows: tuple[float, ...], tmp_path: Path) -> None:
    cameras = read_cameras(write_colmap_text(tmp_path, camera=f"7 {camera}\n"), SIZE)
    assert torch.equal(cameras.intrinsics, Cameras(rows, np.eye(4), SIZE).intrinsics.expand(3, 3, 3))


ANGLES = {"fl_x": None, "fl_y": None, "cx": None, "cy": None, "w": None, "h": None}
ANGLE_X, ANGLE_Y = 2 * np.arctan(32 / 60), 2 * np.arctan(24 / 61)


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({"cx": None, "cy": None}, (60, 61, 32, 24)),
        ({"fl_y": None}, (60, 60, 33, 23)),
        ({**ANGLES, "camera_angle_x": ANGLE_X}, (60, 60, 32, 24)),
        ({**ANGLES, "camera_angle_x": ANGLE_X, "camera_angle_y": ANGLE_Y}, (60, 61, 32, 24)),
        ({"w": None, "h": None}, (120, 122, 66, 46)),  # pixels of the images
        ({"k1": 0.1, "p1": 0.2, "camera_model": "OPENCV"}, (60, 61, 33, 23)),
    ],
)
def test_intrinsics_of_transforms(changed: dict[str, Any], rows: tuple[float, ...], tmp_path: Path) -> None:
    cameras = read_cameras(write_transforms(tmp_path / "a.json", transforms(**changed)), SIZE)
    expected = Cameras(rows, np.eye(4), SIZE).intrinsics.expand(3, 3, 3)
    torch.testing.assert_close(cameras.intrinsics, expected, rtol=1e-6, atol=0)


def test_frames_have_intrinsics_and_sizes_of_their_own(tmp_path: Path) -> None:
    content = transforms(fl_x=None, w=None)
    for n, frame in enumerate(content["frames"]):
        frame |= {"fl_x": 100.0 * (n + 1), "w": 64 * (n + 1)}
    cameras = read_cameras(write_transforms(tmp_path / "a.json", content), SIZE)
    assert cameras.intrinsics[:, 0, 0].tolist() == [100, 100, 100]
    assert cameras.intrinsics[:, 0, 2].tolist() == [66, 33, 22]
    assert cameras.intrinsics[:, 1, 1].tolist() == [61, 61, 61]


def test_comments_of_a_model_may_be_indented(tmp_path: Path) -> None:
    expected = read_cameras(write_colmap_text(tmp_path / "a"), SIZE)
    folder = write_colmap_text(tmp_path / "b")
    for name in ("cameras.txt", "images.txt"):
        (folder / name).write_text("  # indented\n" + (folder / name).read_text())
    assert torch.equal(read_cameras(folder, SIZE).cam2world, expected.cam2world)


def damaged(change: Callable[[Path], Any], of: Callable[[Path], Path] = write_colmap_text) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = of(folder)
        change(folder)
        return path

    return make


def json_file(**changed: Any) -> Callable[[Path], Path]:
    return lambda folder: write_transforms(folder / "a.json", transforms(**changed))


def of_frame(**changed: Any) -> Callable[[Path], Path]:
    frame = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist()} | changed
    return json_file(frames=[{name: value for name, value in frame.items() if value is not None}])


def text_file(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "a.txt").write_text(text)
        return folder / "a.txt"

    return make


def images(text: str) -> Callable[[Path], Path]:
    return damaged(lambda folder: (folder / "images.txt").write_text(text))


def camera(text: str) -> Callable[[Path], Path]:
    return lambda folder: write_colmap_text(folder, camera=text)


HUGE = struct.pack("<Q", 2**64 - 1)
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty folder": (lambda folder: folder, "expected a file of cameras, or a folder with a COLMAP model or"),
    "nothing": (lambda folder: folder / "sparse", "no such file"),
    "long name": (lambda folder: folder / ("x" * 5000), "xxx..."),
    "cameras.txt is missing": (
        damaged(lambda folder: (folder / "cameras.txt").unlink(), lambda f: write_colmap_text(f) / "images.txt"),
        "cameras.txt: no such file",
    ),
    "no images": (images("# none\n"), "expected a COLMAP model with images, got none"),
    "an image without a camera": (images("1 1 0 0 0 0 0 0 8 a.png\n\n"), "expected one of the model's 1 cameras"),
    "an image without a name": (images("1 1 0 0 0 0 0 0 7\n\n"), "images.txt: expected a COLMAP model, got a damaged"),
    "no lines of points": (
        images("".join(f"{n} 1 0 0 0 {n} 0 0 7 {n}.png\n" for n in (1, 2, 3, 4))),
        "image 1: the line after its pose is neither blank nor points, u v number each",
    ),
    "words": (images("1 1 0 0 0 0 0 left 7 a.png\n\n"), "images.txt: expected a COLMAP model, got a damaged file"),
    "quaternion of 0": (images("1 0 0 0 0 0 0 0 7 a.png\n\n"), "expected a finite quaternion other than 0"),
    "huge translation": (images("1 1 0 0 0 0 0 1e39 7 a.png\n\n"), "world2cam[0]: expected finite float32 values"),
    "infinite": (images("1 1e999 0 0 0 0 0 0 7 a.png\n\n"), "expected a finite quaternion other than 0"),
    "fisheye": (camera("7 OPENCV_FISHEYE 128 96 1 1 1 1 0 0 0 0"), "expected a model among SIMPLE_PINHOLE, PINHOLE"),
    "parameters": (camera("7 PINHOLE 128 96 120 66 46"), "camera: expected 4 parameters of PINHOLE, got 3"),
    "focal length": (camera("7 PINHOLE 128 96 -1 1 66 46"), "fx: expected a focal length above 0, got -0.5"),
    "no pixels": (camera("7 PINHOLE 128 0 1 1 66 46"), "expected images of at least one pixel, got size (0, 128)"),
    "huge size": (camera(f"7 PINHOLE {'9' * 400} 96 1 1 66 46"), "expected"),
    "binary fisheye": (
        lambda folder: write_colmap_binary(folder, model=5, values=(1.0,) * 8), "expected a model among SIMPLE_PINHOLE",
    ),
    "unknown model": (lambda folder: write_colmap_binary(folder, model=99), "camera model 99 is unknown"),
    "many cameras": (
        damaged(lambda folder: (folder / "cameras.bin").write_bytes(HUGE), write_colmap_binary),
        "cameras.bin: expected a COLMAP model, got a damaged file",
    ),
    "many images": (
        damaged(lambda folder: (folder / "images.bin").write_bytes(HUGE + bytes(200)), write_colmap_binary),
        "images.bin: expected a COLMAP model, got a damaged file",
    ),
    "frames": (json_file(frames=3), "expected JSON with frames, each with a file_path, got none"),
    "no frames": (json_file(frames=[]), "expected frames, got none"),
    "no file_path": (of_frame(file_path=None), "expected JSON with frames, each with a file_path, got none"),
    "camera_model": (json_file(camera_model="EQUIRECTANGULAR"), "camera_model: expected one of PINHOLE, SIMPLE"),
    "is_fisheye": (json_file(is_fisheye=True), "camera_model: expected one of PINHOLE"),
    "camera_model of a frame": (of_frame(camera_model="OPENCV_FISHEYE"), "camera_model: expected one of PINHOLE"),
    "is_fisheye of a frame": (of_frame(is_fisheye=True), "camera_model: expected one of PINHOLE"),
    "w without h": (json_file(h=None), "frames[0]: w, h: expected both or none, got w alone"),
    "h without w": (json_file(w=None), "frames[0]: w, h: expected both or none, got h alone"),
    "no matrix": (of_frame(transform_matrix=None), "frames[0]: transform_matrix: expected 4x4 numbers, got (0,)"),
    "matrix": (of_frame(transform_matrix=[[1, 2], [3]]), "frames[0]: transform_matrix: expected 4x4 numbers, got (0,)"),
    "mirrored": (of_frame(transform_matrix=np.diag([-1.0, 1, 1, 1]).tolist()), "cam2world[0]: expected a rotation"),
    "huge matrix": (of_frame(transform_matrix=np.full((4, 4), 1e300).tolist()), "expected finite float32 values"),
    "no focal length": (json_file(fl_x=None, fl_y=None), "frames[0]: expected fl_x or camera_angle_x, got neither"),
    "huge focal length": (json_file(fl_x=1e30), "frames[0]: fl_x: expected a number, got 1e+30"),
    "focal length of words": (json_file(fl_x="wide"), "frames[0]: fl_x: expected a number, got wide"),
    "negative width": (json_file(w=-128), "frames[0]: w, h: expected images of at least one pixel, got -128 x 96"),
    "tiny angle": (json_file(fl_x=None, fl_y=None, camera_angle_x=5e-324), "frames[0]: "),
    "TUM words": (text_file("0 0 0 0 0 0 0 one"), "a.txt:1: expected numbers, got '0 0 0 0 0 0 0 one'"),
    "TUM numbers": (text_file("0 0 0 0 0 0 0 1\n# a\n1 2 3"), "a.txt:3: expected a time and 7 numbers of a pose"),
    "TUM quaternion": (text_file("0 0 0 0 0 0 0 0"), "quaternion[0]: expected a finite quaternion other than 0"),
    "TUM infinite": (text_file("0 1e999 0 0 0 0 0 1"), "cam2world[0]: expected finite float32 values"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, tmp_path: Path) -> None:
    make, message = BAD[name]
    path = make(tmp_path)
    with pytest.raises(DataError) as error:
        read_cameras(path, SIZE, intrinsics=GIVEN)
    text = str(error.value)
    assert text.startswith(str(tmp_path))
    assert message in text
    assert "\n" not in text
    assert len(text) < 6000


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = write_colmap_binary(tmp_path)
    os.truncate(path / "images.bin", 5 << 30)  # takes no space on the disk
    with pytest.raises(DataError, match=r"images\.bin: expected a file of at most 4 GiB, got 5 GiB"):
        read_cameras(path, SIZE)


def test_cameras_json_keeps_given_world2cam(tmp_path: Path) -> None:
    inverse = torch.from_numpy(np.linalg.inv(random_poses(50))).float()
    cameras = Cameras.from_world2cam(K, inverse, SIZE)
    assert not torch.equal(Cameras(K, cameras.cam2world, SIZE).world2cam, cameras.world2cam)
    path = tmp_path / "cameras.json"
    write_cameras(path, cameras)
    for read in (read_cameras_json(path), read_cameras(path, SIZE), read_cameras(path, SIZE, intrinsics=K)):
        for name, values in cameras.tensors().items():
            assert torch.equal(values, read.tensors()[name]), name
    shifted = read_cameras(path, SIZE, integer_centers=True)
    assert torch.equal(shifted.intrinsics[:, :2, 2], cameras.intrinsics[:, :2, 2] + 0.5)
    assert torch.equal(shifted.world2cam, cameras.world2cam)


def test_world2cam_of_a_cameras_json_is_optional_and_checked(tmp_path: Path) -> None:
    path, cameras = tmp_path / "cameras.json", Cameras(K, POSES, SIZE)
    write_cameras(path, cameras)
    content = json.loads(path.read_text())
    world2cam = content.pop("world2cam")
    path.write_text(json.dumps(content))  # as of earlier versions
    for name, values in cameras.tensors().items():
        assert torch.equal(values, read_cameras_json(path).tensors()[name]), name
    for wrong, message in (
        (world2cam[::-1], "world2cam[0]: expected the inverse of cam2world"),
        (world2cam[:1], "world2cam: expected (V=3, 3, 4), got (1, 3, 4)"),
        ([[1.0]], "world2cam: expected (V, 4, 4) or (V, 3, 4)"),
        ("left", "expected JSON with size, intrinsics and cam2world, got TypeError"),
    ):
        path.write_text(json.dumps(content | {"world2cam": wrong}))
        with pytest.raises(DataError) as error:
            read_cameras_json(path)
        assert str(error.value).startswith(f"{path}: {message}")


def test_a_text_of_world_to_camera_poses_is_kept(tmp_path: Path) -> None:
    inverse = torch.from_numpy(np.linalg.inv(random_poses(50))).float()
    path = tmp_path / "poses.txt"
    path.write_text("\n".join(numbers(pose) for pose in inverse))
    assert has_poses_alone(path)
    assert torch.equal(read_cameras(path, SIZE, intrinsics=K).world2cam, inverse[:, :3])


def test_recorded_poses_come_back(data: Path, tmp_path: Path) -> None:
    """Those of a headset, through each format, as exact as float32 allows."""
    poses = np.loadtxt(data / "hololens_dev" / "poses.txt").reshape(-1, 4, 4)
    u, _, vh = np.linalg.svd(poses[:, :3, :3])
    poses[:, :3, :3] = u @ vh  # its six digits are rigid up to 1e-6; a quaternion takes the nearest rotation
    inverse = torch.from_numpy(np.linalg.inv(poses)[:, :3])
    paths = {
        "COLMAP": write_colmap_text(tmp_path / "colmap", poses),
        "nerfstudio": write_transforms(tmp_path / "transforms.json", transforms(poses)),
        "TUM": write_tum(tmp_path / "tum.txt", poses),
    }
    for name, path in paths.items():
        cameras = read_cameras(path, SIZE, intrinsics=K)
        assert len(cameras) == len(poses) == 73
        # positions are within 5 meters, where float32 rounds by 2^-22; an inverse adds three products
        assert (cameras.cam2world.double() - torch.from_numpy(poses)).abs().max() < 2.0**-20, name
        assert (cameras.world2cam.double() - inverse).abs().max() < 2.0**-20, name
