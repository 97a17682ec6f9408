# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera files of others: RealEstate10K, WorldScore, and telling them apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mirage.cameras import read_cameras, read_cameras_json, read_realestate10k, read_worldscore, rebase, write_cameras
from mirage.data.geometry import Geometry, write_geometry
from mirage.errors import DataError
from mirage_kernels import Cameras, testing

SIZE = (40, 60)
ADDRESS = "https://www.youtube.com/watch?v=x\n"
# turned to the right by 90 degrees, then translated: world2cam (x, y, z) -> (-z, y, x) + (1, 2, 3)
ROWS = "100 0.5 0.75 0.5 0.4 0 0  1 0 0 0  0 1 0 0  0 0 1 0\n200 0.5 0.75 0.5 0.4 0 0  0 0 -1 1  0 1 0 2  1 0 0 3\n"
IDENTITY = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
BLENDER = [[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]


def test_realestate10k_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in (ADDRESS + ROWS, ROWS, ADDRESS + "\n" + ROWS + "\n\n"):
        path.write_text(text)
        cameras = read_realestate10k(path, SIZE)
        assert cameras.size == SIZE
        assert cameras.intrinsics.tolist() == [[[30, 0, 30], [0, 30, 16], [0, 0, 1]]] * 2
        assert torch.equal(cameras.cam2world[0], torch.eye(4))
        # -R^T t = -(3, 2, -1); it looks along the world's x
        assert cameras.centers[1].tolist() == [-3, -2, 1]
        assert cameras.cam2world[1, :3, 2].tolist() == [1, 0, 0]
    path.write_text(ROWS.splitlines()[1] + "\n" + ROWS.splitlines()[0])
    assert read_realestate10k(path, SIZE, rebased=False).centers.tolist() == [[-3, -2, 1], [0, 0, 0]]
    # seen from the turned camera, the origin lies at its translation
    torch.testing.assert_close(read_realestate10k(path, SIZE).centers, torch.tensor([[0.0, 0, 0], [1, 2, 3]]))


def test_real_realestate10k_files(data: Path) -> None:
    paths = sorted((data / "re10k_pose_files").glob("????????????????.txt"))
    assert len(paths) == 10
    for path in paths:
        lines = path.read_text().splitlines()
        cameras = read_realestate10k(path, (720, 1280), rebased=False)
        assert len(cameras) == len([line for line in lines if line.strip()]) - 1
        # square pixels, at the size of the videos
        torch.testing.assert_close(cameras.intrinsics[:, 0, 0], cameras.intrinsics[:, 1, 1], rtol=2e-3, atol=0)
        last = torch.tensor([float(x) for x in lines[len(cameras)].split()[7:]]).reshape(3, 4)
        torch.testing.assert_close(cameras.world2cam[-1], last, rtol=0, atol=1e-5)
        moved = read_realestate10k(path, (720, 1280))
        assert torch.equal(moved.cam2world[0], torch.eye(4))
        steps = (cameras.centers[1:] - cameras.centers[:-1]).norm(dim=1)
        torch.testing.assert_close((moved.centers[1:] - moved.centers[:-1]).norm(dim=1), steps, rtol=1e-4, atol=1e-5)
        # videos go smoothly: a mistaken inverse would throw the camera about
        turns = moved.cam2world[1:, :3, 2] * moved.cam2world[:-1, :3, 2]
        assert turns.sum(1).min() > 0.9
        assert torch.equal(read_cameras(path, (720, 1280)).cam2world, cameras.cam2world)


def worldscore(first: list[list[float]], *more: list[list[float]], **other: Any) -> str:
    return json.dumps({"focal_length": 50, "scale": 1, "cameras": [first], "cameras_interp": [first, *more], **other})


def test_worldscore_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "camera_data.json"
    # Blender's camera axes in PyTorch3D's world: ahead is the world's +z, right its -x, and stays so when it moves
    ahead = [[-1.0, 0, 0, -2], [0, 1, 0, 3], [0, 0, -1, 5], [0, 0, 0, 1]]
    path.write_text(worldscore(BLENDER, ahead))
    cameras = read_worldscore(path, SIZE)
    assert cameras.intrinsics.tolist() == [[[50, 0, 30], [0, 50, 20], [0, 0, 1]]] * 2
    assert torch.equal(cameras.cam2world[0], torch.eye(4))
    assert cameras.centers[1].tolist() == [2, -3, 5], "right, up, ahead"
    assert read_worldscore(path, SIZE, rebased=False).centers[1].tolist() == [-2, 3, 5]
    assert len(read_worldscore(path, SIZE, keyframes=True)) == 1
    # other tools write OpenCV's axes under the same names
    path.write_text(
        json.dumps({"cameras_interp": [IDENTITY, [[1, 0, 0, 2], [0, 1, 0, -3], [0, 0, 1, 5], [0, 0, 0, 1]]]})
    )
    assert read_worldscore(path, SIZE).centers[1].tolist() == [2, -3, 5]
    assert read_worldscore(path, SIZE).intrinsics[0, 0, 0] == 500


def test_our_own_file_comes_back_bit_for_bit(tmp_path: Path) -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 3, SIZE)
    write_cameras(tmp_path / "cameras.json", cameras)
    read = read_cameras_json(tmp_path / "cameras.json")
    assert read.size == SIZE
    assert torch.equal(read.cam2world, cameras.cam2world)
    assert torch.equal(read.intrinsics, cameras.intrinsics)
    assert torch.equal(
        read_cameras_json(tmp_path / "cameras.json", (80, 120)).intrinsics[:, :2], 2 * read.intrinsics[:, :2]
    )


def test_files_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "cameras"
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 3, SIZE)
    texts = {
        "RealEstate10K": ADDRESS + ROWS,
        "without an address": ROWS,
        "WorldScore": worldscore(BLENDER, BLENDER),
        "poses": "\n".join(json.dumps(pose) for pose in cameras.cam2world.tolist()),
    }
    k = cameras.intrinsics[0]
    for name, text in texts.items():
        path.write_text(text)
        read = read_cameras(path, SIZE, intrinsics=k, world2cam=False)
        assert len(read) == (3 if name == "poses" else 2), name
        assert torch.equal(read.intrinsics, k.expand(len(read), 3, 3))
    torch.testing.assert_close(read.cam2world, cameras.cam2world)
    with pytest.raises(
        DataError, match="cameras: expected intrinsics in addition, because the file contains poses only"
    ):
        read_cameras(path, SIZE)
    path.write_text(ADDRESS + ROWS)
    torch.testing.assert_close(
        read_cameras(path, (80, 60)).intrinsics[1], torch.tensor([[30.0, 0, 30], [0, 60, 32], [0, 0, 1]])
    )
    for write in (write_cameras, lambda p, c: write_geometry(p, Geometry(torch.ones(3, *SIZE), c))):
        write(path, cameras)
        read = read_cameras(path, (80, 60))
        assert read.size == (80, 60)
        assert torch.equal(read.cam2world, cameras.cam2world)
        assert torch.equal(read.intrinsics[:, 1], 2 * cameras.intrinsics[:, 1])
    assert (read_cameras(path, SIZE, integer_centers=True).intrinsics - cameras.intrinsics)[0].tolist() == [
        [0, 0, 0.5], [0, 0, 0.5], [0, 0, 0],
    ]  # fmt: skip


def ours(**changed: Any) -> str:
    content = {"size": list(SIZE), "intrinsics": [[[50, 0, 30], [0, 50, 20], [0, 0, 1]]], "cam2world": [IDENTITY]}
    return json.dumps({name: value for name, value in (content | changed).items() if value is not None})


BAD: list[tuple[Any, str, str]] = [
    (read_realestate10k, "", "expected lines of RealEstate10K cameras, got none"),
    (read_realestate10k, ADDRESS, "expected lines of RealEstate10K cameras, got none"),
    (read_realestate10k, ADDRESS + "1 2 3", ":2: expected 19 numbers, got 3"),
    (read_realestate10k, ADDRESS + ROWS + "left and right", ":4: expected 19 numbers, got 'left and right'"),
    (read_realestate10k, ADDRESS + ROWS.replace("0.4 0 0", "0.4 -0.1 0.02"),
     ":2: expected a camera without distortion (k1 = k2 = 0), got -0.1 and 0.02"),
    (read_realestate10k, ADDRESS + ROWS.replace("0.5 0.75", "0.5 nan"), "expected finite float32 values"),
    (read_realestate10k, ADDRESS + ROWS.replace("0.5 0.75", "0 0.75"), "expected a focal length above 0"),
    (read_realestate10k, ADDRESS + ROWS.replace("  0 1 0 2", "  0 2 0 2"), "expected a rigid pose"),
    (read_worldscore, "{", "expected WorldScore cameras, got damaged JSON"),
    (read_worldscore, "[]", "expected JSON with 'cameras_interp', a list of 4x4 matrices, got TypeError"),
    (read_worldscore, "{}", "expected JSON with 'cameras_interp', a list of 4x4 matrices, got KeyError"),
    (read_worldscore, worldscore(BLENDER, [[1.0]]), "expected JSON with 'cameras_interp'"),
    (read_worldscore, worldscore(BLENDER, focal_length=None), "expected JSON with 'cameras_interp'"),
    (read_worldscore, worldscore(BLENDER, focal_length=0), "expected a focal length above 0"),
    (read_worldscore, worldscore(BLENDER, cameras_interp=[]), "expected 'cameras_interp' (F, 4, 4), got (0,)"),
    (read_worldscore, worldscore(IDENTITY[1:] + IDENTITY[:1]),
     "expected a first camera with rotation diag(-1, 1, -1) or identity, got [[0.0, 1.0, 0.0]"),
    (read_worldscore, worldscore(BLENDER, IDENTITY[:2] * 2), "cam2world[1]: expected a last row of [0, 0, 0, 1]"),
    (read_cameras_json, "hello", "expected cameras, got damaged JSON"),
    (read_cameras_json, ours(size=None), "expected JSON with size, intrinsics and cam2world, got KeyError: 'size'"),
    (read_cameras_json, ours(size=[4, 0]), "size[1]: expected 1 to 16777216, got 0"),
    (read_cameras_json, ours(size=["a", 4]), "size[0]: expected an integer, got str"),
    (read_cameras_json, ours(cam2world=[IDENTITY] * 3, intrinsics=[[50, 50, 30, 20]] * 2),
     "intrinsics: expected (V=3, 3, 3), got (2, 3, 3)"),
    (read_cameras_json, ours(cam2world=[], intrinsics=[]), "cam2world: expected (V, 4, 4) or (V, 3, 4), or one"),
    (read_cameras, '{"a": 1, "b": 2}', "expected JSON with cam2world, cameras_interp or frames, got 'a, b'"),
    (read_cameras, "{", "expected cameras, got damaged JSON"),
    (read_cameras, "", "expected camera poses, got an empty file"),
    (read_cameras, "hello", ":1: expected a pose of 4x4 or 3x4 numbers, got 'hello'"),
    (read_cameras, "PK\x03\x04", "expected a geometry file, got a damaged file"),
    (read_cameras, None, "no such file"),
    (read_realestate10k, None, "no such file"),
    (read_worldscore, None, "no such file"),
    (read_cameras_json, None, "no such file"),
]  # fmt: skip


@pytest.mark.parametrize(("read", "text", "message"), BAD, ids=[f"{b[0].__name__}-{b[2][:40]}" for b in BAD])
def test_bad_files(tmp_path: Path, read: Any, text: str | None, message: str) -> None:
    path = tmp_path / "cameras.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError) as error:
        read(path, SIZE)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_path_of_a_file_begins_where_it_is_told_to(data: Path) -> None:
    start = testing.random_cameras(torch.Generator().manual_seed(1), 1, (720, 1280))
    path = read_realestate10k(next((data / "re10k_pose_files").glob("*3.txt")), (720, 1280))
    there = rebase(path, start)
    assert torch.equal(there.cam2world[0], start.cam2world[0])
    back = rebase(Cameras.cat([there, there[:1]]))
    torch.testing.assert_close(back.cam2world[:-1], path.cam2world, rtol=0, atol=1e-5)
    assert torch.equal(back.cam2world[-1], torch.eye(4))


def test_a_file_without_cameras_is_not_written(tmp_path: Path) -> None:
    """It could not be read."""
    with pytest.raises(ValueError, match="cameras: expected at least one camera, got none"):
        write_cameras(tmp_path / "cameras.json", Cameras(torch.eye(3), torch.eye(4), SIZE)[:0])
    assert not list(tmp_path.iterdir())
