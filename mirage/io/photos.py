# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Opening image files of any size and mode: orientation, focal length from EXIF, and decoding at a reduced size."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, missing_package, reading

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 16384 * 12288  # what phones call 200 megapixels
FILM_DIAGONAL = math.hypot(36, 24)  # mm; a focal length "in 35 mm film" is for this diagonal (CIPA DCG-001)
STRIP_PIXELS = 1 << 22  # pixels that are converted at a time
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # FocalPlaneResolutionUnit: inch, cm, mm, um
_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"}  # Pillow opens some, as their thumbnail
# Pillow's other formats are not those of photos or depth maps; that of EPS runs Ghostscript.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA",
           "TIFF", "WEBP")  # fmt: skip
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Pillow's limit on pixels is a global variable. Ours replaces it while a file is opened.
_PILLOW_LIMIT = threading.Lock()


class _UnsupportedPixelsError(ValueError):
    """The pixels of an image are of a kind that is not converted to RGB."""


class PhotoInfo(NamedTuple):
    """What the header of an image file says.

    Attributes:
        size: (H, W) of the upright image.
        focal: focal length in pixels of ``size``, from EXIF; None if unknown.
        focal_source: where ``focal`` comes from, for messages; empty without one.
        exif_size: (H, W) that EXIF states, upright; None without one.
    """

    size: tuple[int, int]
    focal: float | None
    focal_source: str
    exif_size: tuple[int, int] | None


@contextmanager
def open_image(path: Path, what: str) -> Iterator[Image.Image]:
    """Open an image file with Pillow. Its pixels are read inside the ``with`` block, on the first use.

    Args:
        path: the file.
        what: description of the content, for errors.

    Yields:
        The image, not decoded yet.

    Raises:
        DataError: the file is missing, damaged, too large or not an image; also for such errors inside the block.
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import UnidentifiedImageError
    except ImportError as error:
        raise missing_package("reading images", "Pillow", "pipeline") from error
    if path.suffix.lower() in _RAW and path.is_file():
        raise DataError(f"{path}: expected {what}, got a raw photo; export it as JPEG or PNG")
    with reading(path, what), path.open("rb") as file:
        _add_heif(file.read(32))
        file.seek(0)
        try:
            yield _open_of_any_size(file, path, what)
        except UnidentifiedImageError:
            raise DataError(f"{path}: expected {what}, got {_describe_unknown(path)}") from None
        except _UnsupportedPixelsError as error:
            raise DataError(f"{path}: expected {what} of 8 or 16 bits per channel, got {error}") from None


def _open_of_any_size(file: Any, path: Path, what: str) -> Image.Image:
    from PIL import Image

    with _PILLOW_LIMIT, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on damaged EXIF
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=_formats())
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise DataError(
                    f"{path}: expected {what} of at most {MAX_PIXELS / 1e6:.0f} megapixels, got "
                    f"{pixels / 1e6:.0f} ({image.width} x {image.height}); scale it down first"
                )
            _read_exif(image)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    return image


def _formats() -> list[str]:
    """Those of our formats that this Pillow reads."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _add_heif(head: bytes) -> None:
    """Let Pillow read HEIC if that is what a file is, and pillow-heif is installed."""
    if _is_heif(head):
        try:
            from pillow_heif import register_heif_opener  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return
        register_heif_opener()


def _describe_unknown(path: Path) -> str:
    with path.open("rb") as file:
        if _is_heif(file.read(32)):
            return "HEIC, which needs pillow-heif: pip install 'mirage-kernels[heic]', or export the photo as JPEG"
    return "an empty file" if path.stat().st_size == 0 else "a file that is not an image"


def _read_exif(image: Image.Image) -> dict[int, Any]:
    """The tags of EXIF, those of its sub-directory included; empty if they are damaged."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return {}  # Pillow would decode the image to look for EXIF behind the pixels
    try:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(0x8769)}
    except Exception:  # damaged EXIF raises anything; the image is of use without it
        return {}


def _orientation(image: Image.Image) -> int:
    """The orientation, 1 to 8, that is left to be undone."""
    if image.format == "TIFF":  # Pillow undoes it
        return 1
    value = _read_exif(image).get(0x0112)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _number(value: Any) -> float:
    """A number of EXIF; 0 if it is missing or damaged."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _focal_in_pixels(exif: dict[int, Any], width: int, height: int) -> tuple[float, str]:
    """The focal length in pixels of an image and where it comes from; 0 if EXIF does not say."""
    film = _number(exif.get(0xA405))
    if film:
        return film / FILM_DIAGONAL * math.hypot(width, height), f"EXIF: {film:g} mm in 35 mm film"
    length, resolution = _number(exif.get(0x920A)), _number(exif.get(0xA20E))
    unit = _MM_PER_UNIT.get(int(_number(exif.get(0xA210))) or 2)
    if not (length and resolution and unit):
        return 0.0, ""
    # The resolution is that of the image which the camera wrote; this one may have been resized since.
    written = max(_number(exif.get(0xA002)), _number(exif.get(0xA003))) or max(width, height)
    pixels = length * resolution / unit * max(width, height) / written
    return pixels, f"EXIF: {length:g} mm at {resolution / unit:.4g} pixels per mm"


def read_photo_info(path: str | Path) -> PhotoInfo:
    """Read the size of an image and the focal length of its camera, without decoding it.

    The focal length is that of the EXIF tags FocalLengthIn35mmFilm, or FocalLength with FocalPlaneXResolution. One that
    gives a field of view below 3 or above 150 degrees is taken for an error, and ignored.

    Args:
        path: a file in one of :data:`FORMATS`.

    Raises:
        DataError: the file is missing, not an image, or too large.
        ImportError: Pillow is not installed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> exif = Image.Exif()
        >>> exif[0x0112], exif.get_ifd(0x8769)[0xA405] = 6, 26  # turned by 90 degrees; 26 mm in 35 mm film
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (400, 300)).save(Path(folder) / "portrait.jpg", exif=exif)
        ...     info = read_photo_info(Path(folder) / "portrait.jpg")
        >>> info.size, round(info.focal)
        ((400, 300), 300)
    """
    with open_image(Path(path), "an image") as image:
        exif, turned = _read_exif(image), _orientation(image) > 4
        focal, source = _focal_in_pixels(exif, image.width, image.height)
        angle = math.degrees(2 * math.atan(max(image.size) / (2 * focal))) if focal else 0
        size = (image.height, image.width)
        stated = (int(_number(exif.get(0xA003))), int(_number(exif.get(0xA002))))
    known = 3 <= angle <= 150
    return PhotoInfo(
        size[::-1] if turned else size,
        focal if known else None,
        source if known else "",
        None if not all(stated) else stated[::-1] if turned else stated,
    )


def decode_image(image: Image.Image, at_least: tuple[int, int] | None = None, *, upright: bool = True) -> Tensor:
    """Decode an image to RGB.

    Args:
        image: from :func:`open_image`, not decoded yet.
        at_least, upright: see :func:`decode_bytes`.

    Returns:
        (3, H, W) float32, values 0 to 1.

    Raises:
        ValueError: the image holds floats, or integers of more than 16 bits.
    """
    return decode_bytes(image, at_least, upright=upright).float().div_(255)


def decode_bytes(image: Image.Image, at_least: tuple[int, int] | None = None, *, upright: bool = True) -> Tensor:
    """Decode an image to RGB.

    Transparent pixels are composed on white, and 16 bits are rounded to 8. Memory beyond Pillow's own is needed for the
    result only.

    Args:
        image: from :func:`open_image`, not decoded yet.
        at_least: (H, W) of which the result may be up to twice as large, of a larger image; None for the full size.
            Each of its pixels is then the mean of a square of pixels.
        upright: whether to undo the rotation that EXIF states.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: the image holds floats, or integers of more than 16 bits.
    """
    orientation = _orientation(image) if upright else 1
    factor = 1
    if at_least is not None:
        height, width = (max(side, 1) for side in (at_least[::-1] if orientation > 4 else at_least))
        image.draft(None, (width, height))  # lets libjpeg decode a half, a quarter or an eighth
        factor = max(min(image.width // width, image.height // height), 1)
    image.load()
    rows = max(STRIP_PIXELS // (image.width * factor), 1) * factor
    columns, lines = -(-image.width // factor), -(-image.height // factor)
    pixels = np.empty((lines, columns, 3), np.uint8)
    for top in range(0, image.height, rows):
        strip = _to_rgb(image.crop((0, top, image.width, min(top + rows, image.height))))
        part = np.asarray(strip.reduce(factor) if factor > 1 else strip)
        pixels[top // factor : top // factor + len(part)] = part
    return _turn(torch.from_numpy(pixels).movedim(2, 0), orientation)


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "F":
        raise _UnsupportedPixelsError("floats")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _UnsupportedPixelsError("integers of 32 bits")
        image = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    try:
        return image.convert("RGB")
    except ValueError:
        raise _UnsupportedPixelsError(f"colors of mode {image.mode}") from None


def _turn(image: Tensor, orientation: int) -> Tensor:
    """Undo an orientation of EXIF, 1 to 8."""
    if orientation > 4:
        image = image.transpose(1, 2)
    flips = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation, [])
    return image.flip(flips)
