# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``geometry.npz``: what goes in comes out, and what is said of files that cannot be read."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mirage.data.geometry import Geometry, read_geometry, write_geometry
from mirage.errors import DataError
from mirage_kernels import testing

F, H, W = 3, 4, 6


def plain() -> dict[str, Any]:
    """The arrays of a file with nothing optional in it."""
    return {
        "depths": np.arange(F * H * W, dtype=np.float32).reshape(F, H, W),
        "intrinsics": np.array([[[5, 0, 2.5], [0, 6, 1.5], [0, 0, 1]]] * F, dtype=np.float64),
        "poses_c2w": np.stack([np.eye(4)] * F).astype(np.float32),
    }


def geometry(*, frames: int = F, masks: bool = True) -> Geometry:
    rng = torch.Generator().manual_seed(0)
    return Geometry(
        torch.rand(F, H, W, generator=rng),
        testing.random_cameras(rng, F, (H, W)),
        torch.randint(0, 256, (frames, 3, H, W), generator=rng).byte() if frames else None,
        torch.rand(F, H, W, generator=rng) > 0.5 if masks else None,
        (40, 60) if masks else None,
    )


@pytest.mark.parametrize("sample", [geometry(), geometry(frames=1), geometry(frames=0, masks=False)])
@pytest.mark.parametrize("integer_centers", [False, True])
def test_what_is_written_is_read(tmp_path: Path, sample: Geometry, integer_centers: bool) -> None:
    path = tmp_path / "geometry"
    write_geometry(path, sample, integer_centers=integer_centers)
    assert [file.name for file in tmp_path.iterdir()] == ["geometry"]
    read = read_geometry(path, integer_centers=integer_centers)
    assert torch.equal(read.depths, sample.depths)
    assert torch.equal(read.cameras.cam2world, sample.cameras.cam2world)
    torch.testing.assert_close(read.cameras.intrinsics, sample.cameras.intrinsics, rtol=1e-6, atol=1e-6)
    for name in ("frames", "masks"):
        was, now = getattr(sample, name), getattr(read, name)
        assert (now is None) == (was is None)
        assert was is None or (torch.equal(now, was) and now.dtype == was.dtype), name
    assert read.original_size == sample.original_size
    with np.load(path, allow_pickle=False) as file:
        assert file["processed_size"].tolist() == [H, W]
        assert file["original_size"].tolist() == list(sample.original_size or (-1, -1))


def test_a_file_of_other_makers(tmp_path: Path) -> None:
    """One matrix for all, 3x4 poses, masks of integers, half floats, sizes that say nothing, arrays of their own."""
    path, arrays = tmp_path / "geometry.npz", plain()
    masks = np.zeros((F, H, W), np.uint8)
    masks[1, 2, 3] = 255
    arrays["poses_c2w"][2, 0, 3] = 7
    frames = np.arange(F * H * W * 3, dtype=np.uint8).reshape(F, H, W, 3)
    more = {"masks": masks, "original_size": [-1, -1], "processed_size": [-1, -1], "frames": frames, "note": "hello"}
    arrays |= {"intrinsics": arrays["intrinsics"][0], "poses_c2w": arrays["poses_c2w"][:, :3]} | more
    np.savez(path, **(arrays | {"depths": arrays["depths"].astype(np.float16)}))
    read = read_geometry(path)
    assert read.depths.dtype == torch.float32
    assert read.depths[2, 3, 5] == F * H * W - 1
    assert read.cameras.size == (H, W)
    assert read.cameras.intrinsics.tolist() == [[[5, 0, 2.5], [0, 6, 1.5], [0, 0, 1]]] * F
    assert read.cameras.centers[2].tolist() == [7, 0, 0]
    assert read.masks is not None
    assert read.masks.nonzero().tolist() == [[1, 2, 3]]
    assert read.frames is not None
    assert read.frames[1, 2, 3, 4] == frames[1, 3, 4, 2]
    assert read.original_size is None
    shifted = read_geometry(path, integer_centers=True).cameras.intrinsics
    assert shifted[0].tolist() == [[5, 0, 3], [0, 6, 2], [0, 0, 1]]


def changed(**arrays: Any) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **{k: v for k, v in (plain() | arrays).items() if v is not None})


def cut(path: Path) -> None:
    changed()(path)
    path.write_bytes(path.read_bytes()[:-30])


def garbled(path: Path) -> None:
    changed()(path)
    data = bytearray(path.read_bytes())
    data[200] ^= 255
    path.write_bytes(data)


def not_an_array(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("depths.npy", b"hello")
        archive.writestr("intrinsics.npy", b"hello")
        archive.writestr("poses_c2w.npy", b"hello")


BAD: list[tuple[Callable[[Path], object], str]] = [
    (lambda _: None, "no such file"),
    (lambda path: path.write_text("hello"), "expected a geometry file, got a damaged file"),
    (cut, "expected a geometry file, got a damaged file"),
    (garbled, "expected a geometry file, got a damaged file"),
    (not_an_array, "expected a geometry file, got a damaged file (depths: no array of NumPy)"),
    (changed(depths=np.array([{}])), "expected a geometry file, got a damaged file"),  # pickled
    (changed(depths=None), "expected arrays depths, intrinsics, poses_c2w, got none named depths"),
    (changed(poses_c2w=None), "expected arrays depths, intrinsics, poses_c2w, got none named poses_c2w"),
    (changed(depths=np.ones((H, W))), "depths: expected floats (F, H, W), got float64 (4, 6)"),
    (changed(depths=np.ones((F, H, W), int)), "depths: expected floats (F, H, W), got int64 (3, 4, 6)"),
    (changed(depths=np.ones((0, H, W))), "depths: expected floats (F, H, W), got float64 (0, 4, 6)"),
    (changed(intrinsics=np.ones((2, 3, 3))), "intrinsics: expected floats (F=3, 3, 3), got float64 (2, 3, 3)"),
    (changed(poses_c2w=np.ones((F, 4))), "poses_c2w: expected floats (F=3, 4, 4), got float64 (3, 4)"),
    (changed(poses_c2w=2 * plain()["poses_c2w"]), "cam2world[0]: expected"),
    (changed(intrinsics=plain()["intrinsics"] * [[0], [1], [1]]), "intrinsics[0] fx: expected a focal length above 0"),
    (changed(frames=np.ones((2, H, W, 3), np.uint8)), "frames: expected uint8 (F=3, H=4, W=6, 3) or (1, H=4, W=6, 3)"),
    (changed(frames=np.ones((F, H, W, 3), np.float32)), "(1, H=4, W=6, 3), got float32 (3, 4, 6, 3)"),
    (changed(masks=np.ones((1, H, W), bool)), "masks: expected booleans (F=3, H=4, W=6), got bool (1, 4, 6)"),
    (changed(masks=np.ones((F, H, W))), "masks: expected booleans (F=3, H=4, W=6), got float64"),
    (changed(original_size=np.ones(3)), "original_size: expected numbers (2,), got float64 (3,)"),
    (changed(processed_size=[8, 6]), "processed_size: expected the size of depths (4, 6), got (8, 6)"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD, ids=[b[1][:40] for b in BAD])
def test_bad_files(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "geometry.npz"
    make(path)
    with pytest.raises(DataError) as error:
        read_geometry(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_does_not_agree_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "geometry.npz"
    path.write_text("old")
    with pytest.raises(ValueError, match="masks: expected booleans"):
        write_geometry(path, geometry()._replace(masks=torch.ones(2, H, W)))
    with pytest.raises(ValueError, match=r"depths: expected the cameras' size \(4, 6\), got \(5, 6\)"):
        write_geometry(path, geometry(frames=0, masks=False)._replace(depths=torch.ones(F, 5, W)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_is_not_hidden_by_the_error_of_an_open_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy.lib.format.write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_geometry(tmp_path / "geometry.npz", geometry())
    assert not list(tmp_path.iterdir())
