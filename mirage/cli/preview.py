# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What is shown of a chunk: the frames, the memory's view beside them, and the contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as nnf

from ..evaluation import psnr
from ..filters import FilterResult, overlay
from ..io.images import contact_sheet, enlarge, show_holes, to_bytes
from ..rollout import Chunk
from .run import Run, same_camera

SHEET_COLUMNS, THUMBNAIL = 5, 360  # pixels
LARGEST = (420, 760)  # of each side of the comparison, in pixels
GAP = 8  # pixels between the sides


class Preview(NamedTuple):
    """A chunk as it is shown. It waits in memory while the next chunk is generated, and is kept as bytes.

    Attributes:
        start: number of the first frame.
        frames: F images (3, H, W) uint8.
        views: T images (h', w', 3) uint8, the memory's view from the cameras of the latents, at reduced size.
        masks: (T, h, w) bool, False in holes of the views.
        stride: frames from one latent to the next.
    """

    start: int
    frames: list[np.ndarray]
    views: list[np.ndarray]
    masks: Tensor
    stride: int

    @classmethod
    def of(cls, chunk: Chunk, view: Callable[[int], Tensor], stride: int) -> Preview:
        """Convert a chunk on the CPU.

        Args:
            chunk: the chunk.
            view: returns (3, H, W), the memory's view from the camera of a latent.
            stride: frames from one latent to the next.
        """
        factor = reduction((chunk.frames.shape[2], chunk.frames.shape[3]))
        frames = [to_planes(chunk.frames[:, number]) for number in range(chunk.frames.shape[1])]
        views = [shrink(to_planes(view(number)), factor) for number in range(len(chunk.view.mask))]
        return cls(chunk.start, frames, views, chunk.view.mask, stride)

    def images(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each frame: the frame (3, H, W), and the comparison (3, h', w') at reduced size, in bytes.

        The comparison shows the memory's view on the left and the frame on the right. Between latents, the view is
        interpolated.
        """
        views, factor = self.views, reduction((self.frames[0].shape[1], self.frames[0].shape[2]))
        masks = nnf.interpolate(self.masks[:, None].float(), views[0].shape[:2], mode="nearest-exact")[:, 0] > 0
        board, gap = _board(masks.shape[1:]), np.full((views[0].shape[0], GAP, 3), 255, np.uint8)
        old = 1 if self.start else 0  # the first view belongs to the last frame of the chunk before
        for number, frame in enumerate(self.frames):
            before, after = (number + old) // self.stride, -(-(number + old) // self.stride)
            left = _between(views[before], views[after], (number + old) % self.stride / self.stride)
            mask = (masks[before] & masks[after]).numpy()  # between latents: holes of either
            sides = [np.where(mask[..., None], left, board), gap, shrink(frame, factor)]
            yield frame, np.concatenate(sides, 1).transpose(2, 0, 1)


def comparison_size(preview_of: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the comparison of frames of this size; both even."""
    factor = reduction(preview_of)
    height, width = preview_of[0] // factor, 2 * (preview_of[1] // factor) + GAP
    return height // 2 * 2, width // 2 * 2


def reduction(size: tuple[int, int]) -> int:
    """By which factor the comparison is smaller than frames of this size."""
    return max(1, *(-(-side // largest) for side, largest in zip(size, LARGEST, strict=True)))


def _between(before: np.ndarray, after: np.ndarray, weight: float) -> np.ndarray:
    if weight == 0:
        return before
    mixed: np.ndarray = before * np.float32(1 - weight) + after * np.float32(weight) + np.float32(0.5)
    return mixed.astype(np.uint8)


def _board(size: tuple[int, ...]) -> np.ndarray:
    return to_bytes(
        show_holes(
            torch.zeros(3, *size, dtype=torch.float32, device="cpu"), torch.zeros(size, dtype=torch.bool, device="cpu")
        )
    )


def shrink(planes: np.ndarray, factor: int) -> np.ndarray:
    """Scale an image down.

    Args:
        planes: (3, H, W) uint8.
        factor: each pixel of the result is the mean of factor x factor pixels.

    Returns:
        (H // factor, W // factor, 3) uint8.
    """
    height, width = (side // factor * factor for side in planes.shape[1:])
    image = np.ascontiguousarray(planes[:, :height, :width].transpose(1, 2, 0))
    return np.asarray(Image.fromarray(image).reduce(factor)) if factor > 1 else image


def to_planes(image: Tensor) -> np.ndarray:
    """Convert an image (3, H, W), values 0 to 1, to bytes.

    In NumPy, because the threads of torch would compete with those that generate the next chunk.
    """
    values: np.ndarray = np.multiply(image.detach().float().numpy(), np.float32(255))
    np.clip(np.rint(values, out=values), 0, 255, out=values)
    return values.astype(np.uint8)


class Sheet:
    """The thumbnails of the contact sheet. Which frames it shows is known before the first one is made.

    Args:
        run: the run.
        labels: of a run that is resumed: the texts of the thumbnails by name.
        images: of a run that is resumed: the thumbnails by name, (3, h, w) uint8.

    Attributes:
        labels, images: the thumbnails so far.
    """

    def __init__(self, run: Run, labels: dict[str, str], images: dict[str, Tensor]) -> None:
        count = min(SHEET_COLUMNS, run.latents)
        self._picks = {round(k * (run.latents - 1) / max(count - 1, 1)) for k in range(count)}
        self._run, self.labels, self.images = run, labels, images

    def add(self, chunk: Chunk, view: Callable[[int], Tensor]) -> None:
        """Add those frames of a chunk that the sheet shows.

        Args:
            chunk: on the CPU.
            view: returns (3, H, W), the memory's view from the camera of a latent.
        """
        stride = self._run.codec.temporal_stride
        shared = 1 if chunk.start else 0
        for number, written in enumerate(chunk.write_back):
            frame = chunk.start + number * stride + (stride - 1 if shared else 0)
            if frame // stride not in self._picks:
                continue
            mask, image = chunk.view.mask[number + shared], chunk.frames[:, frame - chunk.start]
            shown = show_holes(view(number + shared), enlarge(mask, self._run.codec.spatial_stride))
            name = f"sheet.{frame:08}"
            known = f"frame {frame}: memory, {mask.float().mean().item():.1%} known"
            self._put(f"{name}.0", shown, known)
            self._put(f"{name}.1", image, f"frame {frame}: result")
            if written.filter_result is not None:
                result = FilterResult(*(part.cpu() for part in written.filter_result))
                self._put(f"{name}.2", overlay(image, result), f"frame {frame}: {_reasons(result)}")

    def _put(self, name: str, image: Tensor, label: str) -> None:
        height = max(1, round(THUMBNAIL * image.shape[1] / image.shape[2]))
        small = Image.fromarray(to_bytes(image)).resize((THUMBNAIL, height), Image.Resampling.LANCZOS)
        self.images[name] = torch.from_numpy(np.asarray(small).copy()).movedim(2, 0).contiguous()
        self.labels[name] = label

    def make(self) -> Tensor:
        """The contact sheet (3, H', W') with the frames so far."""
        rows = [sorted(name for name in self.images if name.endswith(f".{row}")) for row in range(3)]
        images = [[self.images[name].float() / 255 for name in names] for names in rows if names]
        return contact_sheet(images, [[self.labels[name] for name in names] for names in rows if names], THUMBNAIL)


def _reasons(result: FilterResult) -> str:
    """One line with the fraction of excluded cells per reason."""
    fractions = {name: fraction for name, fraction in result.fractions.items() if name != "kept" and fraction > 0}
    return ", ".join(f"{fraction:.1%} {name}" for name, fraction in fractions.items()) or "all cells kept"


def compare_with_real(
    run: Run, chunk: Chunk, view: Callable[[int], Tensor], metrics: dict[str, Any]
) -> dict[str, Tensor]:
    """Compare the memory's view with a real image where a latent's camera equals the real camera.

    Args:
        run: the run.
        chunk: on the CPU.
        view: returns (3, H, W), the memory's view from the camera of a latent.
        metrics: gets the results; images that it has already are not compared again.

    Returns:
        Images to write, by the name of the file.
    """
    images: dict[str, Tensor] = {}
    stride, size, count = run.codec.temporal_stride, run.codec.spatial_stride, chunk.view.mask.shape[0]
    last = chunk.start + chunk.frames.shape[1] - 1
    for name, (key, real) in run.scene.real.items():
        for k in range(count):
            camera = run.cameras[last - stride * (count - 1 - k)]
            if f"{name}_view_psnr" in metrics or not same_camera(camera, run.scene.keys[key]):
                continue
            # Only cells written by the first image are compared; cells generated later have no ground truth.
            mask, from_image, shown = chunk.view.mask[k], chunk.view.stamp[k] == 0, view(k)
            images |= {
                f"{name}_view.png": show_holes(shown, enlarge(mask, size)),
                f"{name}_known.png": enlarge(from_image.float(), size),
                f"{name}_real.png": real,
            }
            metrics[f"{name}_view_psnr"] = psnr(shown, real, enlarge(from_image, size))
            metrics[f"{name}_view_psnr_with_filled"] = psnr(shown, real, enlarge(mask, size))
            metrics[f"{name}_known_share"] = from_image.float().mean().item()
            metrics["unmoved_psnr"] = psnr(run.scene.image, real)
    return images
