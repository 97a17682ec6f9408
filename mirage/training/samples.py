# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training samples of a clip: what a rollout would give to the video model, with the latents that it should generate.

A :class:`mirage.rollout.RolloutSession` runs over the clip with its depth and a model that returns the clip's own
latents, so that what the memory shows in training comes from the code that inference runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import check

from ..errors import DataError
from ..memory import LatentSpatialMemory
from ..rollout import Codec, RolloutSession
from .clips import TrainingClip

__all__ = ["SampleSettings", "make_samples"]

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class SampleSettings:
    """How samples are made of clips.

    Attributes:
        targets: latents T of a chunk.
        per_clip: samples of each clip.
        max_before: largest number of latents that the memory holds besides the chunk's first one. The number of each
            sample is drawn from 0 up to what the clip has.
        num_references: largest number R of retrieved latents.
        num_preceding: largest number P of latents before the chunk.
        reference_threshold, reference_voxel_size: as for :class:`mirage.models.wan.conditioning.Conditioning`.
        extent_scales: half-sizes of the squares that the memory is rendered with, one of which is drawn for each
            sample.
        patch: height and width of the latent grid are multiples of it.
        dtype: of the latents, ``"float16"``, ``"bfloat16"`` or ``"float32"``.
        seed: of all draws.

    Raises:
        TypeError, ValueError: a value has the wrong type or is out of range.
    """

    targets: int = 9
    per_clip: int = 4
    max_before: int = 64
    num_references: int = 4
    num_preceding: int = 2
    reference_threshold: float = 0.1
    reference_voxel_size: float = 0.1
    extent_scales: tuple[float, ...] = (0.0, 0.65)
    patch: int = 2
    dtype: str = "float16"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("targets", 2), ("per_clip", 1), ("max_before", 0), ("num_references", 0),
                            ("num_preceding", 0), ("patch", 1), ("seed", 0)):  # fmt: skip
            check.integer(name, getattr(self, name), least, 1 << 40)
        check.number("reference_threshold", self.reference_threshold, 0.0, 1.0)
        check.positive("reference_voxel_size", self.reference_voxel_size)
        check.choice("dtype", self.dtype, tuple(DTYPES))
        if not isinstance(self.extent_scales, tuple) or not self.extent_scales:
            raise check.value_error("extent_scales", "a tuple of one number or more", repr(self.extent_scales))
        for scale in self.extent_scales:
            check.number("extent_scales", scale, 0.0, 1e6)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, for JSON."""
        return asdict(self) | {"extent_scales": list(self.extent_scales)}


class _TrueLatents:
    """A :class:`mirage.rollout.ChunkModel` that returns the latents of a clip, and keeps what it was given.

    Args:
        latents: (C, L, h, w) of the clip.
        position: of the latent that the session starts from.
        patch: as for the protocol.
    """

    def __init__(self, latents: Tensor, position: int, patch: int) -> None:
        self._latents, self.position, self.patch = latents, position, patch
        self.given: dict[str, Tensor] = {}

    def __call__(self, view: Tensor, mask: Tensor, *, first: Tensor, **given: Any) -> Tensor:
        count = view.shape[1]
        names = ("preceding", "preceding_view", "preceding_mask", "references")
        self.given = {"view": view, "mask": mask, "first": first, **{name: given[name] for name in names}}
        new = self._latents[:, self.position + 1 : self.position + count]
        self.position += count - 1
        return torch.cat([first[:, None], new.to(first)], 1)


def make_samples(
    clip: TrainingClip, codec: Codec, settings: SampleSettings, name: str, device: torch.device | str = "cpu"
) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """Make the samples of a clip.

    Args:
        clip: the clip.
        codec: encodes its frames.
        settings: how.
        name: of the clip; with the seed it determines what is drawn.
        device: of the memory.

    Yields:
        Tensors on the CPU: ``targets`` (C, T, h, w); ``boundary`` (C, h, w), the first target encoded alone, where that
        differs; ``preceding`` (C, P, h, w), the latents before the first target; ``references`` (C, R, h, w);
        ``view`` and ``preceding_view`` (C, T or P, h, w), what the memory showed when they were generated, and
        ``mask`` and ``preceding_mask`` (T or P, h, w) bool, False in its holes; ``intrinsics`` (T, 3, 3) and
        ``cam2world`` (T, 4, 4) of the targets. And what is known of the sample, for JSON.

    Raises:
        DataError: the clip is too short, or its first frame has no depth.
    """
    stride, count = codec.temporal_stride, settings.targets
    total = (len(clip.frames) - 1) // stride + 1
    if total < count:
        need = stride * (count - 1) + 1
        raise DataError(f"expected a clip of at least {need} frames, got {len(clip.frames)}")
    length = stride * (total - 1) + 1
    frames = clip.frames[:length].movedim(1, 0).float() / 255  # (3, F, H, W)
    latents = codec.encode(frames[None])[0]
    wanted = latents
    if clip.targets is not None:
        wanted = codec.encode(clip.targets[:length].movedim(1, 0).float()[None] / 255)[0]
    rng = random.Random(f"{settings.seed}/{name}")
    for number in range(settings.per_clip):
        # One start in each of as many equal parts of the clip.
        low, high = (round(part * (total - count) / settings.per_clip) for part in (number, number + 1))
        start = rng.randint(low, high)
        before = rng.randint(0, min(start, settings.max_before))
        extent_scale = rng.choice(settings.extent_scales)
        tensors = _run(clip, frames, latents, wanted, codec, settings, (start, before, extent_scale), device)
        info = {
            "caption": clip.caption, "clip": name, "first_frame": stride * start, "before": before,
            "extent_scale": extent_scale, "references": tensors["references"].shape[1],
            "preceding": tensors["preceding"].shape[1], "known": round(tensors["mask"].float().mean().item(), 4),
        }  # fmt: skip
        yield tensors, info


def _run(
    clip: TrainingClip,
    frames: Tensor,
    latents: Tensor,
    wanted: Tensor,
    codec: Codec,
    settings: SampleSettings,
    drawn: tuple[int, int, float],
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Run a session from ``before`` latents before the start of the chunk, and return the tensors of the chunk.

    ``latents`` (C, L, h, w) are those of the clip, ``wanted`` those that are to be generated.
    """
    start, before, extent_scale = drawn
    stride, dtype = codec.temporal_stride, DTYPES[settings.dtype]
    cameras, depth = clip.cameras[::stride], clip.depth[::stride]
    exclude = None if clip.exclude is None or not clip.exclude.any() else clip.exclude[::stride]
    at = start - before
    if not (depth[at].isfinite() & (depth[at] > 0)).any():
        raise DataError(f"expected depth in frame {stride * at}, got none")
    memory = LatentSpatialMemory(
        codec.channels,
        codec=codec.name,
        device=device,
        extent_scale=extent_scale,
        reference_voxel_size=settings.reference_voxel_size,
    )
    model = _TrueLatents(latents, at, settings.patch)
    session = RolloutSession(
        frames[:, stride * at],
        depth[at],
        cameras[at],
        memory=memory,
        codec=codec,
        model=model,
        num_references=settings.num_references,
        num_preceding=settings.num_preceding,
        reference_threshold=settings.reference_threshold,
        decode=False,
        exclude=None if exclude is None else exclude[at],
        stamp=stride * at,
    )
    for end in _chunk_ends(at, start, settings.targets):
        new = slice(at + 1, end + 1)
        path = clip.cameras[stride * at + 1 : stride * end + 1]
        session.step(path, depth=depth[new], exclude=None if exclude is None else exclude[new])
        at = end
    given = {name: tensor.cpu() for name, tensor in model.given.items()}
    first, new = given.pop("first"), slice(start + 1, start + settings.targets)
    tensors = {"targets": torch.cat([first[:, None], wanted[:, new].cpu()], 1), **given}
    alone = codec.encode(frames[None, :, stride * start, None])[0, :, 0].cpu() if before else first
    if not torch.equal(alone.to(dtype), first.to(dtype)):
        tensors["boundary"] = alone
    tensors = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    of_targets = cameras[start : start + settings.targets]
    return tensors | {"intrinsics": of_targets.intrinsics.cpu(), "cam2world": of_targets.cam2world.cpu()}


def _chunk_ends(at: int, start: int, count: int) -> list[int]:
    """The last latent of each chunk of a session: full chunks, a shorter one that ends at ``start``, and one of
    ``count`` latents from there."""
    before = [*range(at + count - 1, start, count - 1), start] if at < start else []
    return [*before, start + count - 1]
