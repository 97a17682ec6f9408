# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What memories show of frames that they have not seen: a memory holds the frames of a clip that are a number of frames
older than a target, and is rendered for the target's camera."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras, unproject

from ..geometry.grids import flat_index, masked_cells
from ..io.images import contact_sheet, enlarge, show_holes
from ..rollout import Codec
from .metrics import MAX_PSNR, psnr
from .view_memories import MEMORIES, Seen, Shown, ViewMemory

__all__ = ["SCORES", "ViewedClip", "compare_views"]

SAME_SURFACE = 0.05  # relative difference of depths of one surface, as in the memory
MIN_SEEN = 0.05  # share of a target's cells that older frames saw, for it to count as a revisit
SCORES = {
    "known": "share of the cells, of those that older frames saw, in which the memory shows something",
    "depth_error": "median of |d / d_true - 1| where it does",
    "other_surface": "share of those cells in which this is above 5 %",
    "placement": "median distance in the image of the points from the places that their cells saw, in cells",
    "misplaced": "share of the points for which this is above half a cell",
    "psnr": "of the pixels of known cells, in dB",
    "psnr_common": "of the pixels of cells that all memories know, in dB",
    "moving": "share of the known cells that show something which moved",
    "read_seconds": "to render a view, encoding included for colored points",
}


class ViewedClip(NamedTuple):
    """A clip whose frames are seen one after the other.

    Attributes:
        name: of the clip.
        frames: (F, 3, H, W) uint8.
        depth: (F, H, W) float32 z-depth in world units, 0 where unknown.
        cameras: F cameras over (H, W).
        exclude: (F, H, W) bool, pixels of moving objects and of the sky; None for none.
        numbers: F ascending numbers of the frames.
    """

    name: str
    frames: Tensor
    depth: Tensor
    cameras: Cameras
    exclude: Tensor | None
    numbers: Sequence[int]


class _Target(NamedTuple):
    """A frame that memories are rendered for.

    Attributes:
        image: (3, H, W), values 0 to 1.
        depth: (h, w) float32, of the cells; 0 where unknown.
        seen: (h, w) bool, the cells whose surface an older frame saw.
    """

    image: Tensor
    depth: Tensor
    seen: Tensor


class _Clip:
    """A clip, its latents, and what its cells truly see.

    Args:
        clip: the clip.
        codec: encodes its frames one by one.
    """

    def __init__(self, clip: ViewedClip, codec: Codec) -> None:
        self.clip, self.codec = clip, codec
        h, w = (n // codec.spatial_stride for n in clip.cameras.size)
        self.grid = (h, w)
        self.cells = clip.cameras.rescale(self.grid)
        centers = unproject(clip.depth, None, clip.cameras, pooling="nearest", grid=self.grid)
        medians = unproject(clip.depth, None, clip.cameras, grid=self.grid)
        xyz = torch.where(centers.valid[:, None], centers.xyz, medians.xyz)
        self.xyz = torch.where(medians.valid[:, None], xyz, 0).reshape(-1, h * w, 3)
        self.valid = medians.valid.reshape(-1, h * w)
        self.depth = torch.stack([self.cells[t].project(self.xyz[t])[1][0] for t in range(len(self.xyz))])
        self.depth = torch.where(self.valid, self.depth, 0)

    def seen(self, frame: int) -> Seen:
        """A frame, to be remembered."""
        clip, (h, w) = self.clip, self.grid
        image = clip.frames[frame].float() / 255
        moving = torch.zeros(h, w, dtype=torch.float32, device="cpu")
        if clip.exclude is not None:
            moving = masked_cells(clip.exclude[frame] & (clip.depth[frame] > 0), self.grid, 0.5).float()
        marks = torch.cat([self.xyz[frame].T.reshape(3, 1, h, w), moving[None, None]])
        return Seen(
            self.codec.encode(image[None, :, None])[0].cpu(), image, clip.depth[frame], clip.cameras[frame],
            None if clip.exclude is None else clip.exclude[frame], clip.numbers[frame], marks,
        )  # fmt: skip

    def target(self, frame: int, older: int) -> _Target:
        """A frame, to be compared; the first ``older`` frames are those that memories have seen."""
        found, tolerance = torch.zeros_like(self.valid[frame]), SAME_SURFACE
        for t in range(older):
            uv, z, inside = (values[0] for values in self.cells[t].project(self.xyz[frame]))
            shown = self.depth[t][flat_index(uv, inside, self.grid[1])]
            found |= inside & (shown > 0) & ((z - shown).abs() <= tolerance * shown)
        image = self.clip.frames[frame].float() / 255
        fixed = self.valid[frame]
        if self.clip.exclude is not None:
            fixed = fixed & ~masked_cells(self.clip.exclude[frame], self.grid).flatten()
        return _Target(image, self.depth[frame].reshape(self.grid), (found & fixed).reshape(self.grid))


def compare_views(
    clip: ViewedClip,
    codec: Codec,
    names: Sequence[str],
    *,
    apart: int,
    on_frame: Callable[[], Any] = lambda: None,
) -> tuple[dict[str, Any], Tensor]:
    """Compare memories on the frames of a clip that see again what frames at least ``apart`` older ones saw.

    Args:
        clip: the clip.
        codec: of the latents.
        names: of :data:`mirage.evaluation.view_memories.MEMORIES`.
        apart: smallest difference of the numbers of a target and of the frames that the memories hold.
        on_frame: called for every frame.

    Returns:
        By memory, as JSON values: ``views``, a dictionary of :data:`SCORES` for each target, without those that there
        are none of; ``frames``, the numbers of the targets; and ``points``, ``bytes`` and ``write_seconds`` (a frame)
        at the end. And a picture (3, H', W') of the target of which about half was seen.

    Raises:
        ValueError: no target sees what older frames saw.
    """
    known, memories = _Clip(clip, codec), {name: MEMORIES[name](codec) for name in names}
    results: dict[str, Any] = {name: {"views": [], "frames": [], "write_seconds": 0.0} for name in names}
    picture: tuple[float, int, list[Tensor]] = (math.inf, 0, [])
    written = 0
    for frame in tqdm(range(len(clip.frames)), desc=clip.name, unit="frame", leave=False):
        on_frame()
        while clip.numbers[written] <= clip.numbers[frame] - apart:
            seen = known.seen(written)
            for name, memory in memories.items():
                begin = time.perf_counter()
                memory.write(seen)
                results[name]["write_seconds"] += time.perf_counter() - begin
            written += 1
        target = known.target(frame, written) if written else None
        if target is None or target.seen.float().mean() < MIN_SEEN:
            continue
        rows, images = _score(target, memories, known.cells[frame], codec)
        for name, row in rows.items():
            results[name]["views"].append(row)
            results[name]["frames"].append(clip.numbers[frame])
        picture = min(picture, (abs(target.seen.float().mean().item() - 0.5), frame, [target.image, *images]))
    if not picture[2]:
        raise ValueError(f"{clip.name}: expected frames that see what frames {apart} older saw, got none")
    for name, memory in memories.items():
        results[name] |= {"points": memory.points, "bytes": memory.nbytes}
        results[name]["write_seconds"] /= written
    return results, _picture(picture[2], [f"frame {clip.numbers[picture[1]]}", *names])


def _score(
    target: _Target, memories: dict[str, ViewMemory], camera: Cameras, codec: Codec
) -> tuple[dict[str, dict[str, float]], list[Tensor]]:
    """The scores of every memory, and what it shows as images, with its holes marked."""
    shown: dict[str, Shown] = {}
    rows: dict[str, dict[str, float]] = {name: {} for name in memories}
    for name, memory in memories.items():
        begin = time.perf_counter()
        shown[name] = memory.read(camera)
        rows[name]["read_seconds"] = time.perf_counter() - begin
    common = torch.stack([view.mask for view in shown.values()]).all(0) & target.seen
    images = []
    for name, view in shown.items():
        image = codec.decode(view.latents[None, :, None].float())[0, :, 0].cpu()
        images.append(show_holes(image, enlarge(view.mask, codec.spatial_stride)))
        marks, row, known = memories[name].read_marks(camera), rows[name], view.mask & target.seen
        row["known"] = (known.sum() / target.seen.sum()).item()
        if known.any():
            error = (view.depth[known] / target.depth[known] - 1).abs()
            row |= {"depth_error": error.median().item(), "other_surface": (error > SAME_SURFACE).float().mean().item()}
            row["psnr"] = min(psnr(image, target.image, enlarge(known, codec.spatial_stride)), MAX_PSNR)
        if common.any():
            row["psnr_common"] = min(psnr(image, target.image, enlarge(common, codec.spatial_stride)), MAX_PSNR)
        if marks is not None and view.mask.any():
            placement, moving = marks
            row["moving"] = moving.float().mean().item()
            if not moving.all():
                row["placement"] = placement[~moving].median().item()
                row["misplaced"] = (placement[~moving] > 0.5).float().mean().item()
    return {name: {key: v for key, v in row.items() if math.isfinite(v)} for name, row in rows.items()}, images


def _picture(images: list[Tensor], labels: list[str], columns: int = 4) -> Tensor:
    rows = [slice(first, first + columns) for first in range(0, len(images), columns)]
    blank = torch.ones_like(images[0])
    filled = [(images[row] + [blank] * columns)[:columns] for row in rows]
    return contact_sheet(filled, [(labels[row] + [""] * columns)[:columns] for row in rows])
