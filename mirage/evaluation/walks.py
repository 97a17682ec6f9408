# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Walks that leave and return, and how well what is seen again agrees with what was seen before."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from ..depth import DepthEstimator
from ..filters import Filters
from ..rollout import RolloutSession, plan_chunks
from .chunk_models import ComparedModel
from .colored_memory import ColoredCodec
from .metrics import stored_psnr

__all__ = ["Revisit", "Walk", "WalkStart", "find_revisits", "flicker", "repeat_path", "take_walk", "warp"]

SAME_SURFACE = 0.05  # relative difference of depths of one surface, as in the memory


class WalkStart(NamedTuple):
    """What a walk starts from.

    Attributes:
        name: of the walk.
        image: (3, H, W), values 0 to 1.
        depth: (H, W) float32 z-depth in world units, 0 where unknown; None if the memory knows it.
        cameras: F cameras over (H, W), the image's first.
        exclude: (H, W) bool, pixels that are not remembered; None remembers all.
        prompt: for the model.
        seed: of the noise.
    """

    name: str
    image: Tensor
    depth: Tensor | None
    cameras: Cameras
    exclude: Tensor | None = None
    prompt: str = ""
    seed: int = 0


class Walk(NamedTuple):
    """A generated walk.

    Attributes:
        frames: (F, 3, H, W) uint8.
        cameras: F cameras over (H, W).
        depth: (T, h, w) float32, what the memory rendered for each latent before it was generated; +inf in holes.
        stride: frames from one latent to the next.
        seconds: of each chunk.
        points: of the memory, after each chunk.
        nbytes: of the memory at the end.
    """

    frames: Tensor
    cameras: Cameras
    depth: Tensor
    stride: int
    seconds: list[float]
    points: list[int]
    nbytes: int

    def image(self, frame: int) -> Tensor:
        """A frame as (3, H, W), values 0 to 1."""
        return self.frames[frame].float() / 255


class Revisit(NamedTuple):
    """A frame whose camera is that of an earlier one."""

    frame: int
    earlier: int


def take_walk(
    compared: ComparedModel,
    start: WalkStart,
    *,
    estimator: DepthEstimator | None = None,
    filters: Filters | None = None,
    on_chunk: Callable[[], Any] = lambda: None,
) -> Walk:
    """Generate the frames of a walk.

    Args:
        compared: the model, with what goes with it.
        start: the walk.
        estimator, filters: see :class:`mirage.rollout.RolloutSession`.
        on_chunk: called after every chunk.
    """
    codec, memory = compared.codec, compared.make_memory()
    stride = codec.temporal_stride
    session = RolloutSession(
        start.image,
        start.depth,
        start.cameras[:1],
        memory=memory,
        codec=codec,
        model=compared.model,
        prompt=start.prompt,
        generator=torch.Generator(device="cpu").manual_seed(start.seed),
        exclude=start.exclude,
        estimator=estimator,
        filters=filters,
        **compared.session_options,
    )
    colored = codec if isinstance(codec, ColoredCodec) else None
    if colored is not None:
        assert start.depth is not None
        colored.start(start.image, start.depth, start.cameras[:1], start.exclude)
    frames, depth, seconds, points = [], [], [], []
    for part in plan_chunks(len(start.cameras), (compared.chunk - 1) * stride + 1, stride):
        begin = time.perf_counter()
        chunk = session.step(start.cameras[1 + stride * part.start : 1 + stride * (part.stop - 1)])
        if colored is not None:
            colored.add(chunk, memory)
        seconds.append(time.perf_counter() - begin)
        points.append(len(memory if colored is None else colored.cloud))
        frames.append((chunk.frames.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, 0).cpu())
        depth.append(chunk.view.depth[-chunk.latents.shape[1] :].cpu())
        on_chunk()
    nbytes = (memory if colored is None else colored.cloud).nbytes
    return Walk(torch.cat(frames), start.cameras, torch.cat(depth), stride, seconds, points, nbytes)


def repeat_path(cameras: Cameras, laps: int) -> Cameras:
    """Walk a path that ends where it began several times.

    Raises:
        ValueError: it ends elsewhere.
    """
    if laps == 1:
        return cameras
    if not find_revisits(cameras[[0, len(cameras) - 1]], apart=1):
        raise ValueError("cameras: expected a path that ends where it began, got one that ends elsewhere")
    return Cameras.cat([cameras[:1], *[cameras[1:]] * laps])


def find_revisits(cameras: Cameras, apart: int, *, degrees: float = 0.5, distance: float = 0.01) -> list[Revisit]:
    """Find the frames whose camera is that of an earlier frame; of several, the earliest.

    Args:
        cameras: F cameras.
        apart: frames between the two, at least.
        degrees: between their directions, at most.
        distance: in world units, between their centers, at most.

    Example:
        >>> import torch
        >>> from mirage.cameras import out_and_back, pan
        >>> start = Cameras(torch.tensor([[40.0, 0, 24], [0, 40, 16], [0, 0, 1]]), torch.eye(4), (32, 48))
        >>> find_revisits(pan(start, out_and_back(5), 30.0), apart=2)
        [Revisit(frame=3, earlier=1), Revisit(frame=4, earlier=0)]
    """
    poses = cameras.cam2world.double().cpu()
    rotations, centers = poses[:, :3, :3], poses[:, :3, 3]
    cosine = (torch.einsum("iab,jab->ij", rotations, rotations) - 1) / 2
    same = (cosine >= math.cos(math.radians(degrees))) & (torch.cdist(centers, centers) <= distance)
    found = []
    for frame in range(apart, len(poses)):
        earlier = same[frame, : frame - apart + 1].nonzero()
        if len(earlier):
            found.append(Revisit(frame, int(earlier[0])))
    return found


def check_returns(cameras: Cameras, apart: int) -> list[Revisit]:
    """The revisits of a path.

    Raises:
        ValueError: there are none.
    """
    revisits = find_revisits(cameras, apart)
    if not revisits:
        raise ValueError(
            "expected a path that returns to where it was, got one that does not (--one-way? --frames? --actions?)"
        )
    return revisits


def warp(image: Tensor, camera: Cameras, depth: Tensor, target: Cameras) -> tuple[Tensor, Tensor]:
    """Show an image from another camera whose depth is known.

    Args:
        image: (3, H, W).
        camera: one camera over (H, W), of the image.
        depth: (h, w) z-depth of the target's cells; +inf or 0 where unknown.
        target: one camera over (H, W).

    Returns:
        (3, H, W), and (H, W) bool: True where the depth is known and the point lies in the image.
    """
    h, w = target.size
    full = nnf.interpolate(depth[None, None], (h, w), mode="nearest-exact")[0, 0].double()
    known = full.isfinite() & (full > 0)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64, device="cpu") + 0.5 for n in (h, w)), indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], -1) @ target.intrinsics[0].double().inverse().mT
    points = torch.where(known, full, 1.0)[..., None] * rays
    pose = target.cam2world[0].double()
    uv, z, _ = camera.project((points @ pose[:3, :3].mT + pose[:3, 3]).reshape(-1, 3).float())
    grid = (uv[0].reshape(h, w, 2) / torch.tensor([w, h], dtype=torch.float32, device="cpu")) * 2 - 1
    moved = nnf.grid_sample(image[None].float(), grid[None], padding_mode="border", align_corners=False)[0]
    return moved, known & (z[0].reshape(h, w) > 0) & (grid.abs() <= 1).all(-1)


def revisit_scores(walk: Walk, revisits: list[Revisit]) -> dict[str, float]:
    """Compare what is seen again with what was seen before, as means over revisits.

    Args:
        walk: the walk.
        revisits: of :func:`find_revisits`; at least one.

    Returns:
        ``revisit_psnr`` in dB; ``depth_difference``, the median of ``|d2 / d1 - 1|`` over cells that the memory showed
        both times; and ``same_surface``, the share of those cells in which it is below 5 %. The last two are NaN if
        there are no such cells.
    """
    values = [stored_psnr(walk.image(r.frame), walk.image(r.earlier)) for r in revisits]
    differences = []
    for frame, earlier in revisits:
        if frame % walk.stride == 0 and earlier % walk.stride == 0:
            now, before = walk.depth[frame // walk.stride], walk.depth[earlier // walk.stride]
            both = now.isfinite() & before.isfinite()
            differences.append((now[both] / before[both] - 1).abs())
    depths = torch.cat(differences) if differences else torch.empty(0, dtype=torch.float32, device="cpu")
    return {
        "revisit_psnr": sum(values) / len(values),
        "depth_difference": depths.median().item() if len(depths) else math.nan,
        "same_surface": (depths <= SAME_SURFACE).double().mean().item() if len(depths) else math.nan,
    }


def flicker(walk: Walk) -> float:
    """Mean absolute difference, 0 to 1, between a latent's frame and the one before, moved to its camera; over the
    pixels whose depth the memory knew (Lai et al. 2018). NaN if there are none."""
    total, count = 0.0, 0
    for latent in range(1, len(walk.depth)):
        now, before = latent * walk.stride, (latent - 1) * walk.stride
        moved, known = warp(walk.image(before), walk.cameras[before], walk.depth[latent], walk.cameras[now])
        total += (moved - walk.image(now)).abs().mean(0)[known].double().sum().item()
        count += int(known.sum())
    return total / count if count else math.nan


def drift_in_cells(image: Tensor, truth: Tensor, stride: int) -> float:
    """How far an image (3, H, W) is shifted against another one, in latent cells (Guizar-Sicairos et al. 2008).

    It means something where both show the same place.
    """
    from skimage.registration import phase_cross_correlation

    a, b = (values.float().mean(0).numpy() for values in (truth, image))
    shift = phase_cross_correlation(a, b, upsample_factor=20)[0]  # type: ignore[no-untyped-call]
    return float(math.hypot(*shift)) / stride


def known_share(walk: Walk) -> float:
    """Share of the cells of all latents that the memory showed."""
    return walk.depth.isfinite().double().mean().item()
