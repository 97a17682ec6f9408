# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings: sequences of posed RGB-D frames that are read from disk one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from ..cameras.intrinsics import read_intrinsics, with_intrinsics
from ..errors import DataError
from ..geometry.grids import resize_depth, usable_depth
from ..io.files import read_image
from .distortion import Distortion

MAX_MESSAGE = 400  # characters, because names in a file may be of any length
MAX_ASPECT_DIFFERENCE = 0.02  # relative, of an image and its depth map or its calibration


class RecordedFrame(NamedTuple):
    """One frame of a recording.

    Attributes:
        name: of the frame in its recording, such as a file name.
        image: (3, H, W) float32, values 0 to 1.
        depth: (H, W) float32 z-depth in world units, 0 where unknown.
        camera: one camera over (H, W).
        exclude: (H, W) bool, True where the recording says that pixels must not be used (moving objects, pixels outside
            of a distorted image); None for nowhere.
    """

    name: str
    image: Tensor
    depth: Tensor
    camera: Cameras
    exclude: Tensor | None = None


class SourceFrame(NamedTuple):
    """A frame as its files have it, before it is scaled, cropped and undistorted.

    Attributes:
        image: (3, H, W) float32, values 0 to 1.
        intrinsics: (3, 3) float64, in pixels of the image; pixel centers at +0.5.
        pose: one camera over any grid, for its pose; its intrinsics are not used.
        depth: (h, w) float32 z-depth in world units, of any size with the image's aspect; None if ``xyz`` is given.
        xyz: (N, 3) points that the frame shows, in world units, if it has no depth map.
        exclude: (H, W) bool; None for nowhere.
        distortion: of the lens; None for a pinhole camera.
    """

    image: Tensor
    intrinsics: Tensor
    pose: Cameras
    depth: Tensor | None = None
    xyz: Tensor | None = None
    exclude: Tensor | None = None
    distortion: Distortion | None = None


class ReadOptions(NamedTuple):
    """What the caller knows about a recording, in addition to its files.

    Attributes:
        intrinsics: file with the intrinsics of all frames, used instead of the recording's.
        integer_centers: whether pixel centers have integer coordinates in the calibration; None for what is usual in
            the format.
        depth_scale: meters per unit of the depth maps' values; None for what is usual in the format.
    """

    intrinsics: Path | None = None
    integer_centers: bool | None = None
    depth_scale: float | None = None


class Recording(ABC):
    """A sequence of posed RGB-D frames. Files are read when a frame is requested, and nothing is kept.

    Args:
        path: folder or file of the recording.
        names: names of the frames.
        options: what the caller knows in addition.

    Attributes:
        kind: name of the format.
        notes: what a user should know about how the recording is read, one sentence each.
    """

    kind: ClassVar[str]
    integer_centers: ClassVar[bool] = False

    def __init__(self, path: Path, names: Sequence[str], options: ReadOptions) -> None:
        self.path, self.names, self.options = path, list(names), options
        self.notes: list[str] = []
        if not self.names:
            raise DataError(f"{path}: expected frames ({self.kind}), got none")

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.names)

    def __getitem__(self, number: int) -> RecordedFrame:
        """Read one frame at its own size; see :meth:`read`."""
        return self.read(number)

    def __iter__(self) -> Iterator[RecordedFrame]:
        return (self.read(number) for number in range(len(self)))

    @property
    def has_integer_centers(self) -> bool:
        """Whether half a pixel is added to the principal point of the calibration."""
        given = self.options.integer_centers
        return self.integer_centers if given is None else given

    @abstractmethod
    def _read(self, number: int) -> SourceFrame:
        """Read the files of one frame.

        Raises:
            DataError, ValueError, OSError: a file is missing, damaged or does not fit; the message names it.
        """

    def read(self, number: int, size: tuple[int, int] | None = None, *, crop: bool = False) -> RecordedFrame:
        """Read one frame.

        Args:
            number: of the frame, from 0; negative numbers count from the end.
            size: size (H, W) that the frame is scaled to, keeping its aspect: it is cropped around its center to the
                aspect of ``size``, then resized, images with antialiasing and depth with nearest-neighbor sampling.
                None keeps the size of the image.
            crop: whether to cut a window of ``size`` out of the middle instead, without scaling.

        Returns:
            The frame, undistorted.

        Raises:
            DataError: a file of the frame is missing or damaged, or the frame has no valid depth or pose.
            IndexError: there is no such frame.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"number: expected a frame of {len(self)}, got {number}")
        number %= len(self)
        name = self.names[number]
        try:
            source = self._read(number)
            source = fit_frame(check_source(source), size, crop)
            height, width = source.image.shape[1:]
            camera = with_intrinsics(source.pose, source.intrinsics, (height, width))
        except ImportError:
            raise
        except Exception as error:  # numbers of the files may be anything: see mirage.errors.reading
            message = " ".join(str(error).split())[:MAX_MESSAGE] or type(error).__name__
            raise DataError(message if name in message else f"{name[:MAX_MESSAGE]}: {message}") from None
        if source.distortion is not None:
            image, depth_map, exclude = source.distortion.undistort(
                source.intrinsics, source.image, source.depth, source.exclude
            )
            source = source._replace(image=image, depth=depth_map, exclude=exclude)
        depth = self._depth_of(source, camera)
        if not depth.any():
            raise DataError(f"{name}: expected valid depth, got none")
        return RecordedFrame(name, source.image, depth, camera, source.exclude)

    def _depth_of(self, source: SourceFrame, camera: Cameras) -> Tensor:
        if source.depth is not None:
            return usable_depth(source.depth)
        assert source.xyz is not None
        return project_points(source.xyz, camera)

    def _given_intrinsics(self, size: tuple[int, int]) -> Tensor | None:
        """The intrinsics of the caller's file for images of this size; None without a file."""
        if self.options.intrinsics is None:
            return None
        # A file has OpenCV's pixel centers only if the caller says so, or if the format usually has them.
        return read_intrinsics(self.options.intrinsics, size, integer_centers=self.has_integer_centers)


def read_pixels(path: Path) -> Tensor:
    """Read an image as its pixels are stored, (3, H, W): calibrations do not know of a rotation that EXIF states."""
    return read_image(path, upright=False)


def image_size(image: Tensor) -> tuple[int, int]:
    """(H, W) of an image (3, H, W)."""
    return image.shape[1], image.shape[2]


def check_source(source: SourceFrame) -> SourceFrame:
    """Bring depth to the image's size.

    Raises:
        DataError: the aspect of the depth map or mask differs from the image's.
    """
    size = image_size(source.image)
    if source.exclude is not None and tuple(source.exclude.shape) != size:
        raise DataError(f"mask: expected the image's size {size}, got {tuple(source.exclude.shape)}")
    if source.depth is None:
        return source
    check_aspect("depth", (source.depth.shape[0], source.depth.shape[1]), size)
    return source._replace(depth=resize_depth(source.depth[None], size)[0])


def check_aspect(what: str, got: tuple[int, int], size: tuple[int, int]) -> None:
    """Check that a map or a calibration belongs to an image.

    Raises:
        DataError: the ratios of height and width differ.
    """
    ratio = (got[0] * size[1]) / (got[1] * size[0])
    if abs(ratio - 1) > MAX_ASPECT_DIFFERENCE:
        raise DataError(f"{what}: expected the aspect of the image {size}, got size {got}")


def center_window(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """Find the largest window in the middle of an image that has the aspect of another size.

    Args:
        source: (H, W) of the image.
        target: (H, W) whose aspect the window takes.

    Returns:
        Top, left, height and width of the window.

    Example:
        >>> center_window((360, 540), (352, 528))
        (0, 0, 360, 540)
        >>> center_window((360, 540), (100, 100))
        (0, 90, 360, 360)
    """
    scale = max(target[0] / source[0], target[1] / source[1])
    h, w = (max(1, min(side, round(goal / scale))) for side, goal in zip(source, target, strict=True))
    return (source[0] - h) // 2, (source[1] - w) // 2, h, w


def fit_frame(source: SourceFrame, size: tuple[int, int] | None, crop: bool) -> SourceFrame:
    """Crop a frame around its center to a size, or to the aspect of the size, and then resize it.

    Raises:
        DataError: the frame is smaller than the window to cut out.
    """
    full = image_size(source.image)
    if size is None or size == full:
        return source
    if crop and (size[0] > full[0] or size[1] > full[1]):
        raise DataError(f"image: expected at least {size[0]}x{size[1]} pixels like other frames, got {full}")
    window = ((full[0] - size[0]) // 2, (full[1] - size[1]) // 2, *size)
    top, left, h, w = window if crop else center_window(full, size)
    rows, columns = slice(top, top + h), slice(left, left + w)
    image, depth, exclude = source.image[:, rows, columns], source.depth, source.exclude
    depth = None if depth is None else depth[rows, columns]
    exclude = None if exclude is None else exclude[rows, columns]
    if (h, w) != size:
        image = nnf.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
        depth = None if depth is None else resize_depth(depth[None], size)[0]
        if exclude is not None:
            exclude = nnf.adaptive_max_pool2d(exclude[None].float(), size)[0] > 0
    k = source.intrinsics.clone()
    k[0, 2], k[1, 2] = k[0, 2] - left, k[1, 2] - top
    k[0], k[1] = k[0] * (size[1] / w), k[1] * (size[0] / h)
    return source._replace(image=image, depth=depth, exclude=exclude, intrinsics=k)


def project_points(xyz: Tensor, camera: Cameras) -> Tensor:
    """Render points as a sparse depth map: the nearest point of each pixel.

    Args:
        xyz: (N, 3) in world units.
        camera: one camera over (H, W).

    Returns:
        (H, W) float32, 0 in pixels without a point.
    """
    h, w = camera.size
    uv, z, inside = camera.project(xyz.float())
    column, row = uv[0][inside[0]].long().unbind(-1)
    depth = torch.full((h * w,), torch.inf, dtype=torch.float32, device="cpu")
    depth.scatter_reduce_(0, row * w + column, z[0][inside[0]], "amin")
    return torch.where(depth.isfinite(), depth, 0).reshape(h, w)
