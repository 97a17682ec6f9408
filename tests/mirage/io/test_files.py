# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Images, depth maps and camera files, and the errors for those that cannot be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from mirage.cameras import read_intrinsics, read_poses, write_cameras
from mirage.data.scenes import Scene, motorcycle
from mirage.errors import DataError
from mirage.io.files import read_depth, read_image, read_matrix
from mirage_kernels import atomic_write, testing

SIZE = (40, 60)


def test_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.float32
    np.testing.assert_array_equal((image * 255).round().movedim(0, 2).numpy(), pixels)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png").shape == (3, 4, 6)


def test_depth(tmp_path: Path) -> None:
    millimeters = np.array([[0, 1500], [65535, 1]], dtype=np.uint16)
    for name in ("depth.png", "depth.pgm"):
        Image.fromarray(millimeters).save(tmp_path / name)
        np.testing.assert_allclose(read_depth(tmp_path / name).numpy(), millimeters / 1000, rtol=1e-6)
    for dtype in (np.float16, np.float32, np.float64):
        np.save(tmp_path / "depth.npy", np.array([[0, 1.5], [np.inf, -1]], dtype=dtype))
        assert read_depth(tmp_path / "depth.npy").tolist() == [[0, 1.5], [np.inf, -1]]


def exr(path: Path, channels: dict[str, Any], *more: dict[str, Any]) -> bytes:
    kind = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    parts = [OpenEXR.Part(dict(kind), dict(part), f"part {n}") for n, part in enumerate((channels, *more))]
    with OpenEXR.File(parts) as file:
        file.write(str(path))
    return path.read_bytes()


def test_depth_as_exr(tmp_path: Path) -> None:
    path, other = tmp_path / "depth.exr", np.zeros((2, 3), np.float32)
    depth = np.array([[0, 1.5, 2], [np.inf, -1, 1e10]], np.float32)
    for names in (("Z",), ("Y",), ("V",), ("Z", "Y", "R"), ("Y", "R", "A"), ("R", "G", "B"), ("layer.Depth.Z", "R")):
        exr(path, {name: depth if name == names[0] else other for name in names})
        assert read_depth(path).dtype == torch.float32
        assert read_depth(path).tolist() == depth.tolist(), names
    exr(path, {"Z": depth[:, :2].astype(np.float16)})
    assert read_depth(path).tolist() == depth[:, :2].tolist()


def test_exr_without_the_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(DataError, match=r"a.exr: reading EXR needs OpenEXR: pip install 'mirage-kernels\[exr\]'"):
        read_depth(tmp_path / "a.exr")


def test_poses(tmp_path: Path) -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 3, SIZE)
    path = tmp_path / "poses.txt"
    c2w = cameras.cam2world.tolist()
    path.write_text("\n\n".join(json.dumps(m) for m in c2w) + "\n")
    torch.testing.assert_close(read_poses(path, world2cam=False).float(), cameras.cam2world)
    path.write_text("# a comment\n" + "\n".join(" ".join(str(x) for row in m[:3] for x in row) for m in c2w))
    torch.testing.assert_close(read_poses(path, world2cam=False).float(), cameras.cam2world)
    w2c = cameras.cam2world.double().inverse().tolist()
    path.write_text("\n".join(",".join(str(x) for row in m for x in row) for m in w2c))
    torch.testing.assert_close(read_poses(path, world2cam=True).float(), cameras.cam2world, rtol=0, atol=1e-6)


def test_intrinsics(tmp_path: Path) -> None:
    path = tmp_path / "k.txt"
    expected = [[50, 0, 30], [0, 55, 20], [0, 0, 1]]
    for text in ("50 0 30\n0 55 20\n0 0 1", "[[50, 0, 30], [0, 55, 20], [0, 0, 1]]", "50 55 30 20", "50,55,30,20\n"):
        path.write_text(text)
        assert read_intrinsics(path, SIZE).tolist() == expected
        assert read_intrinsics(path, SIZE, integer_centers=True)[:2, 2].tolist() == [30.5, 20.5]
    path.write_text(f"{50 / 60} {55 / 40} 0.5 0.5")
    torch.testing.assert_close(read_intrinsics(path, SIZE), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(
        read_intrinsics(path, SIZE, integer_centers=True), torch.tensor(expected, dtype=torch.float64)
    )


def test_written_cameras_are_whole(tmp_path: Path) -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 3, SIZE)
    write_cameras(tmp_path / "cameras.json", cameras)
    read = json.loads((tmp_path / "cameras.json").read_text())
    assert read["size"] == list(SIZE)
    assert torch.equal(torch.tensor(read["cam2world"]), cameras.cam2world)
    assert torch.equal(torch.tensor(read["intrinsics"]), cameras.intrinsics)


def png(path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path.read_bytes()


def npy(path: Path) -> bytes:
    np.save(path, np.ones(SIZE, dtype=np.float32))
    return path.read_bytes()


BAD: list[tuple[Any, str, Any, str]] = [
    (read_image, "missing.png", None, "no such file"),
    (read_image, "cut.png", lambda p: png(p)[:300], "expected an image, got a damaged file"),
    (read_image, "text.png", b"this is not an image", "expected an image, got a file that is not an image"),
    (read_image, "empty.png", b"", "expected an image, got an empty file"),
    (read_image, "photo.dng", b"II*", "expected an image, got a raw photo; export it as JPEG or PNG"),
    (read_image, "floats.tif", lambda p: Image.fromarray(np.ones(SIZE, np.float32)).save(p) or p.read_bytes(),
     "expected an image of 8 or 16 bits per channel, got floats"),
    (read_image, ".", None, "expected an image, got a folder"),
    (read_depth, "missing.png", None, "no such file"),
    (read_depth, "missing.npy", None, "no such file"),
    (read_depth, "colour.png", png, "floats in meters, got an image of mode RGB"),
    (read_depth, "cut.npy", lambda p: npy(p)[:-7], "expected a depth map, got a damaged file"),
    (read_depth, "head.npy", lambda p: npy(p)[:20], "expected a depth map, got a damaged file"),
    (read_depth, "text.npy", b"hello", "expected a depth map, got a damaged file"),
    (read_depth, "empty.npy", b"", "expected a depth map, got a damaged file"),
    (read_depth, "bytes.npy", lambda p: np.save(p, np.ones((2, 2), np.uint8)) or p.read_bytes(),
     "or of floats in meters, got uint8; --depth-scale states the meters per unit of other files"),
    (read_depth, "frames.npy", lambda p: np.save(p, np.ones((2, 4, 6))) or p.read_bytes(),
     "expected a depth map (H, W), got float64 (2, 4, 6); --geometry takes files of several frames"),
    (read_depth, "two.npz", lambda p: np.savez(p, a=np.ones((2, 2)), b=np.ones((2, 2))) or p.read_bytes(),
     "expected a depth map as the only array, or named depth or depths or depth_map, got a, b"),
    (read_depth, "cut.npz", b"PK\x03\x04 and nothing more", "expected a depth map, got a damaged file"),
    (read_depth, "flat.npy", lambda p: np.save(p, np.ones(5)) or p.read_bytes(),
     "expected a depth map (H, W), got float64 (5,)"),
    (read_depth, "pickle.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True) or p.read_bytes(),
     "expected a depth map, got a damaged file"),
    (read_depth, "missing.exr", None, "no such file"),
    (read_depth, "text.exr", b"hello", "expected a depth map, got a damaged file"),
    (read_depth, "cut.exr", lambda p: exr(p, {"Z": np.random.default_rng(0).random(SIZE, np.float32)})[:-9],
     "expected a depth map, got a damaged file"),
    (read_depth, "ints.exr", lambda p: exr(p, {"Z": np.ones(SIZE, np.uint32)}),
     "expected a depth map of floats (H, W), got uint32 (40, 60)"),
    (read_depth, "green.exr", lambda p: exr(p, {c: np.ones(SIZE, np.float32) for c in "BG"}),
     "expected one channel named Z, Y or R, or a single channel, got B, G"),
    (read_depth, "layers.exr", lambda p: exr(p, {c: np.ones(SIZE, np.float32) for c in ("a.Z", "b.Z")}),
     "expected one channel named Z, Y or R, or a single channel, got a.Z, b.Z"),
    (read_depth, "parts.exr", lambda p: exr(p, *[{"Z": np.ones(SIZE, np.float32)}] * 2),
     "expected an EXR file with one part, got 2"),
    (read_matrix, "missing.txt", None, "no such file"),
    (read_matrix, "words.txt", b"1 2 three", ":1: expected 3 numbers, got '1 2 three'"),
    (read_matrix, "short.txt", b"1 2 3\n1 2", ":2: expected 3 numbers, got 2"),
    (read_matrix, "empty.txt", b"\n \n", "expected rows of 3 numbers, got an empty file"),
    (read_matrix, "binary.txt", b"\xff\xfe\x00\x9c", "got a file that is not text"),
    (read_poses, "missing.txt", None, "no such file"),
    (read_poses, "words.txt", b"here and there", ":1: expected a pose of 4x4 or 3x4 numbers, got 'here and there'"),
    (read_poses, "json.txt", b"[[1, 0, 0, 0], [0, 1", ":1: expected a pose of 4x4 or 3x4 numbers"),
    (read_poses, "nested.txt", b'[[1, 0, 0, "x"]]', ":1: expected a pose of 4x4 or 3x4 numbers"),
    (read_poses, "few.txt", b"1 2 3", ":1: expected a pose of 16 or 12 numbers, got 3"),
    (read_poses, "empty.txt", b"# nothing\n", "expected camera poses, got an empty file"),
    (read_poses, "skewed.txt", b"2 0 0 0 0 1 0 0 0 0 1 0", "expected a rigid pose"),
    (read_poses, "nan.txt", b"nan 0 0 0 0 1 0 0 0 0 1 0", "expected finite float32 values"),
    (read_intrinsics, "missing.txt", None, "no such file; expected one, or numbers such as 495,495,269,169"),
    (read_intrinsics, "damaged.json", b"{", "expected intrinsics, got damaged JSON"),
    (read_intrinsics, "other.json", b'{"focus": 3}', "expected fields fx fy cx cy, fl_x, K or intrinsics, got focus"),
    (read_intrinsics, "word.json", b'{"fx": "wide"}', "expected intrinsics as numbers, got ValueError"),
    (read_intrinsics, "cut.json", b'{"fx": 60, "w": 40, "h": 40}',
     "expected intrinsics of the aspect of the image, 60 x 40 pixels, got those of 40 x 40"),
    (read_intrinsics, "words.txt", b"fx fy cx cy", "expected intrinsics, got 'fx fy cx cy'"),
    (read_intrinsics, "few.txt", b"50 50 30", "expected a 3x3 matrix or fx fy cx cy, got 3 numbers"),
    (read_intrinsics, "zero.txt", b"0 50 30 20", "expected a focal length above 0"),
    (read_intrinsics, "skew.txt", b"50 1 30 0 50 20 0 0 1", "expected no skew"),
]  # fmt: skip


@pytest.mark.parametrize(("read", "name", "content", "message"), BAD, ids=[f"{b[0].__name__}-{b[1]}" for b in BAD])
def test_bad_files(tmp_path: Path, read: Any, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content(path) if callable(content) else content)
    options = {
        read_matrix: {"columns": 3},
        read_poses: {"world2cam": True},
        read_intrinsics: {"size": SIZE},
    }.get(read, {})
    with pytest.raises(DataError) as error:
        read(path, **options)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as partial:
            partial.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]


def test_the_motorcycle_is_calibrated_as_documented() -> None:
    scene = motorcycle()
    assert scene.depth.shape == (500, 741)
    left, right = scene.keys.intrinsics
    assert right[0, 2] - left[0, 2] == pytest.approx(31.086, abs=1e-4)
    assert left[0, 2] == pytest.approx(311.693)
    assert scene.keys.centers[1].tolist() == pytest.approx([0.193001, 0, 0])
    # disparity = fx B / z - 31.086, so a point of the left image lies that much further left in the right one
    row, column = scene.depth[250:].nonzero()[0].tolist()
    z = scene.depth[250 + row, column]
    at = torch.tensor([column + 0.5, 250 + row + 0.5])
    point = torch.stack([(at[0] - left[0, 2]) / left[0, 0] * z, (at[1] - left[1, 2]) / left[1, 1] * z, z])
    uv, _, _ = scene.keys.project(point[None])
    assert (uv[0, 0, 0] - uv[1, 0, 0]).item() == pytest.approx(994.978 * 0.193001 / z.item() - 31.086, abs=1e-3)
    assert (uv[0, 0, 1] - uv[1, 0, 1]).item() == pytest.approx(0, abs=1e-4)


def test_trimming_keeps_the_upper_left_corner() -> None:
    scene = motorcycle().trim(16)
    assert scene.depth.shape == (496, 736)
    assert scene.keys.size == (496, 736)
    assert torch.equal(scene.keys.intrinsics, motorcycle().keys.intrinsics)
    with pytest.raises(DataError, match="image: expected at least 16x16 pixels"):
        Scene(torch.zeros(3, 8, 40), torch.zeros(8, 40), testing.plain_cameras(1, (8, 40)), {}).trim(16)
