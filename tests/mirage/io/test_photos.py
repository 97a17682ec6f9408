# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image files of every orientation, mode and size, and what EXIF tells of the camera."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mirage.errors import DataError
from mirage.io import photos
from mirage.io.files import read_depth, read_image, read_mask
from mirage.io.photos import read_photo_info

# blocks of 8 x 8 pixels in flat colors survive JPEG, and tell every orientation from the others
PIXELS = np.kron(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


def save(path: Path, orientation: int = 1, **tags: object) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({int(name[1:], 16): value for name, value in tags.items()})
    Image.fromarray(PIXELS).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = save(tmp_path / f"photo.{suffix}", orientation)
    with Image.open(path) as image:
        image.load()
        expected = np.asarray(ImageOps.exif_transpose(image))
    image = read_image(path)
    np.testing.assert_array_equal((image * 255).round().byte().movedim(0, 2).numpy(), expected)
    assert read_photo_info(path).size == expected.shape[:2]
    if suffix != "tif":  # Pillow itself turns TIFF
        assert read_image(path, upright=False).shape == (3, 48, 72)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_large_image_is_reduced_as_it_is_decoded(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "STRIP_PIXELS", 500)  # several strips
    path = save(tmp_path / f"photo.{suffix}", 6)
    image = read_image(path, at_least=(18, 12))
    assert image.shape == (3, 18, 12)
    whole = read_image(path)
    mean = torch.nn.functional.avg_pool2d(whole, whole.shape[1] // image.shape[1])
    assert (image - mean).abs().mean() < (0.05 if suffix == "jpg" else 0.005)  # JPEG has less color than brightness
    assert torch.equal(read_image(path, at_least=(200, 200)), whole)


def test_every_mode_shows_the_same_image(tmp_path: Path) -> None:
    image, path = Image.fromarray(PIXELS), tmp_path / "image.png"
    gray = torch.from_numpy(np.array(image.convert("L"))) / 255
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200).save(path)
    with Image.open(path) as sixteen:
        assert sixteen.mode.startswith("I")
    torch.testing.assert_close(read_image(path), gray.expand(3, -1, -1) * 200 / 257, rtol=0, atol=0.51 / 255)
    cmyk = tmp_path / "image.tif"
    image.convert("CMYK").save(cmyk)
    torch.testing.assert_close(read_image(cmyk), torch.from_numpy(PIXELS).movedim(2, 0) / 255)
    image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path)
    torch.testing.assert_close(read_image(path), torch.from_numpy(PIXELS).movedim(2, 0) / 255)
    image.convert("1").save(path)
    assert read_image(path).unique().tolist() == [0, 1]
    image.putalpha(0)
    for mode in ("RGBA", "LA"):
        image.convert(mode).save(path)
        assert read_image(path).min() == 1, "transparent pixels are white"


def test_more_pixels_than_pillow_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(path).shape == (3, 48, 72)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(photos, "MAX_PIXELS", 3000)
    with pytest.raises(DataError, match=r"at most 0 megapixels, got 0 \(72 x 48\); scale it down first"):
        read_image(path)


@pytest.mark.parametrize(("tags", "focal"), [
    ({"xA405": 26}, 26 / 43.2666 * np.hypot(72, 48)),
    ({"x920A": 4.0, "xA20E": 1000.0, "xA210": 3}, 4 * 100),
    ({"x920A": 4.0, "xA20E": 1000.0, "xA210": 3, "xA002": 144, "xA003": 96}, 4 * 100 / 2),
    ({"x920A": 4.0, "xA20E": 254.0}, 4 * 10),
    ({"xA405": 0}, None),
    ({"xA405": 9000}, None),
    ({"x920A": 4.0}, None),
    ({}, None),
])  # fmt: skip
def test_focal_length_of_exif(tmp_path: Path, tags: dict[str, object], focal: float | None) -> None:
    for orientation in (1, 6):
        found = read_photo_info(save(tmp_path / "photo.jpg", orientation, **tags)).focal
        assert found == (focal if focal is None else pytest.approx(focal, rel=1e-4))


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", 6, xA405=26)
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif") + 14
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    assert read_photo_info(path).focal is None
    assert read_image(path).shape == (3, 48, 72)


def test_heic_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "photo.jpg").write_bytes(b"\x00\x00\x00\x1cftypheic" + bytes(40))
    with pytest.raises(DataError, match=r"got HEIC, which needs pillow-heif: pip install 'mirage-kernels\[heic\]'"):
        read_image(tmp_path / "photo.jpg")


def test_depth_of_every_kind(tmp_path: Path) -> None:
    depth = np.linspace(0.5, 4, 12, dtype=np.float32).reshape(3, 4)
    millimeters = (depth * 1000).round().astype(np.uint16)
    np.save(tmp_path / "a.npy", depth)
    (tmp_path / "a.NPY").write_bytes((tmp_path / "a.npy").read_bytes())
    np.save(tmp_path / "first.npy", depth[None])
    np.save(tmp_path / "last.npy", depth[:, :, None])
    np.save(tmp_path / "integers.npy", millimeters)
    np.savez(tmp_path / "single.npz", depth)
    np.savez(tmp_path / "named.npz", depth=depth, other=np.ones(3))
    Image.fromarray(depth).save(tmp_path / "floats.tif")
    Image.fromarray(millimeters).save(tmp_path / "integers.tif")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 9
    for path in paths:
        np.testing.assert_allclose(read_depth(path).numpy(), depth, atol=5e-4, err_msg=path.name)
        factor = 0.002 if "integers" in path.name else 2
        np.testing.assert_allclose(read_depth(path, scale=factor).numpy(), 2 * depth, atol=1e-3, err_msg=path.name)
    np.save(tmp_path / "mask.npy", depth > 2)
    assert read_mask(tmp_path / "mask.npy").tolist() == (depth > 2).tolist()
