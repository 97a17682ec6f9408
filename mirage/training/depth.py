# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the depth network of mirage-nano. A run that was stopped goes on from its last checkpoint.

python -m mirage.training.depth procedural:0-1999 recordings/kitchen --out runs/depth
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import atomic_write, load_tensors, save_tensors

from ..errors import DataError, first_line
from ..models.nano.depth import write_depth_network
from ..models.nano.depth_network import DepthNetwork, ray_maps
from .checkpoints import TrainingState, find_checkpoints
from .clips import ClipSource, SourceOptions, open_sources
from .loop import rate_factor
from .recipe import StageRecipe

__all__ = ["DepthFrames", "collect_frames", "depth_loss", "train_depth"]

SIZE = (192, 288)
SKY = 30.0  # meters, depth that the network learns for the sky and for all that is farther
AVERAGE = 0.999  # decay of the running average of the weights
KIND, VERSION = "depth frames", 2
HELD_OUT = 64  # frames
SHARE = 10  # a source has one of so many draws, at least


class DepthFrames(NamedTuple):
    """Images with depth.

    Attributes:
        images: (N, 3, H, W) uint8.
        depth: (N, H, W) float16 z-depth in meters, 0 where unknown.
        intrinsics: (N, 3, 3) float32.
        source: (N,) int64, number of the source.
    """

    images: Tensor
    depth: Tensor
    intrinsics: Tensor
    source: Tensor


def collect_frames(sources: Sequence[ClipSource], path: Path) -> DepthFrames:
    """Read the frames of all clips, and keep them in a file.

    Args:
        sources: the clips.
        path: the file; if it exists, it is read instead.

    Raises:
        DataError: the file is damaged or of another version, or a clip is damaged.
    """
    if path.exists():
        try:
            tensors, _ = load_tensors(path, kind=KIND, version=VERSION)
            return DepthFrames(**tensors)
        except (ValueError, TypeError, OSError) as error:
            raise DataError(f"{first_line(error)}; remove {path} to read the clips again") from None
    parts: list[DepthFrames] = []
    todo = [(number, source, name) for number, source in enumerate(sources) for name in source.names]
    for number, source, name in tqdm(todo, desc="frames", unit="clip"):
        clip = source.read(name)
        depth = clip.depth.clamp(max=SKY)
        if clip.targets is None and clip.exclude is not None and "procedural" in source.origin:
            depth = torch.where(clip.depth == 0, SKY, depth)  # what has no depth is the sky
        numbers = torch.full((len(depth),), number, dtype=torch.int64, device="cpu")
        parts.append(DepthFrames(clip.frames, depth.half(), clip.cameras.intrinsics.float(), numbers))
    frames = DepthFrames(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    save_tensors(path, frames._asdict(), kind=KIND, version=VERSION, settings={})
    return frames


def balance(source: Tensor) -> list[int]:
    """Number the frames to draw from: those of small sources several times, so that each has a tenth or so.

    Args:
        source: (N,) int64, number of each frame's source.

    Example:
        >>> import torch
        >>> numbers = balance(torch.tensor([0] * 4 + [1] * 96))
        >>> len(numbers), numbers[:8]
        (108, [0, 0, 0, 1, 1, 1, 2, 2])
    """
    times = (len(source) / SHARE / source.bincount().clamp(min=1)).ceil().clamp(min=1).long()
    return torch.arange(len(source), dtype=torch.int64, device="cpu").repeat_interleave(times[source]).tolist()


def depth_loss(log_depth: Tensor, log_error: Tensor, depth: Tensor) -> Tensor:
    """Negative logarithm of the likelihood of depths under Laplace's distribution, and differences of neighbors.

    Args:
        log_depth, log_error: (B, H, W), of :class:`mirage.models.nano.depth_network.DepthNetwork`.
        depth: (B, H, W), 0 where unknown.
    """
    known = depth > 0
    difference = torch.where(known, log_depth - depth.clamp(min=1e-3).log(), 0)
    likelihood = difference.abs() * (-log_error).exp() + log_error
    loss = (likelihood * known).sum() / known.sum().clamp(min=1)
    for axis, step in ((-1, 2), (-2, 2), (-1, 8), (-2, 8)):
        length = depth.shape[axis] - step
        both = known.narrow(axis, 0, length) & known.narrow(axis, step, length)
        change = (difference.narrow(axis, step, length) - difference.narrow(axis, 0, length)).abs()
        loss = loss + 0.25 * (change * both).sum() / both.sum().clamp(min=1)
    return loss


def make_batch(frames: DepthFrames, numbers: Sequence[int], rng: random.Random) -> tuple[Tensor, Tensor, Tensor]:
    """Images, rays and depth of frames, mirrored, cut and recolored at random."""
    height, width = SIZE
    images, rays, depths = [], [], []
    for n in numbers:
        image, depth, k = frames.images[n].float() / 255, frames.depth[n].float(), frames.intrinsics[n].clone()
        zoom = rng.uniform(1.0, 1.6)
        h, w = round(height / zoom), round(width / zoom)
        top, left = rng.randint(0, height - h), rng.randint(0, width - w)
        image = nnf.interpolate(image[None, :, top : top + h, left : left + w], SIZE, mode="bilinear")[0]
        depth = nnf.interpolate(depth[None, None, top : top + h, left : left + w], SIZE, mode="nearest")[0, 0]
        k[0, 2] -= left
        k[1, 2] -= top
        k[:2] *= torch.tensor([[width / w], [height / h]], dtype=torch.float32, device="cpu")
        if rng.random() < 0.5:
            image, depth, k[0, 2] = image.flip(-1), depth.flip(-1), width - k[0, 2]
        gain = torch.tensor([rng.uniform(0.8, 1.2) for _ in range(3)], dtype=torch.float32, device="cpu")
        gamma, light = rng.uniform(0.7, 1.4), rng.uniform(0.6, 1.3)
        image = (image.clamp(min=1e-3) ** gamma * gain[:, None, None] * light).clamp(0, 1)
        images.append(image)
        rays.append(ray_maps(k[None], SIZE)[0])
        depths.append(depth)
    return torch.stack(images), torch.stack(rays), torch.stack(depths)


@torch.no_grad()
def validate(network: DepthNetwork, frames: DepthFrames, numbers: Sequence[int]) -> float:
    """Mean error of the logarithm of depth, in frames of which none is changed."""
    errors = []
    for n in numbers:
        depth, _ = network(frames.images[n, None].float() / 255, ray_maps(frames.intrinsics[n, None], SIZE))
        known = frames.depth[n] > 0
        errors.append((depth[0] - frames.depth[n].float().clamp(min=1e-3).log())[known].abs().mean().item())
    return float(sum(errors)) / max(len(errors), 1)


def train_depth(frames: DepthFrames, out: Path, recipe: StageRecipe, *, seed: int = 0, every: int = 200) -> Path:
    """Train the network.

    Args:
        frames: to train on; the last 64 are for validation, unless there are fewer than 128.
        out: folder of checkpoints, log and result.
        recipe: steps, batch size and learning rate.
        seed: of weights and draws.
        every: steps between checkpoints.

    Returns:
        The file of the weights, in float16.

    Raises:
        DataError: the folder has a checkpoint of another network.
    """
    torch.manual_seed(seed)
    network, average = DepthNetwork(), DepthNetwork()
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    state = TrainingState(dict(network.named_parameters()), optimizer, average.parameters())
    step, found = 0, find_checkpoints(out / "checkpoints")
    if found:
        step = state.load(found[-1][1], lambda _: None)["step"]
    held_out = HELD_OUT if len(frames.images) >= 2 * HELD_OUT else 0
    count = len(frames.images) - held_out
    numbers = balance(frames.source[:count])
    out.mkdir(parents=True, exist_ok=True)
    log = out / "log.jsonl"
    with tqdm(total=recipe.steps, initial=step, desc="depth", unit="step") as bar:
        while step < recipe.steps:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate_factor(step, recipe)
            rng = random.Random(f"{seed}/{step}")
            images, rays, depth = make_batch(frames, rng.choices(numbers, k=recipe.batch_size), rng)
            log_depth, log_error = network(images, rays)
            loss = depth_loss(log_depth, log_error, depth)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            with torch.no_grad():
                decay = min(AVERAGE, (1 + step) / (10 + step))
                for mean, parameter in zip(average.parameters(), network.parameters(), strict=True):
                    mean.lerp_(parameter, 1 - decay)
            bar.update()
            if step % every == 0 or step == recipe.steps:
                error = validate(average, frames, range(count, count + held_out))
                bar.set_postfix(loss=f"{loss.item():.3f}", error=f"{error:.3f}")
                with log.open("a") as file:
                    file.write(json.dumps({"step": step, "loss": loss.item(), "validation_error": error}) + "\n")
                state.save(out / "checkpoints", step, {}, 2, write=True)
    result = out / "depth.safetensors"
    write_depth_network(average, result)
    with atomic_write(out / "finished.json") as partial:
        partial.write_text(json.dumps({"steps": step}) + "\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mirage.training.depth", description=(__doc__ or "").split(". ")[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="as for mirage data build")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the run")
    parser.add_argument("--frames", type=int, default=6, metavar="N", help="of each procedural scene (default: 6)")
    parser.add_argument("--steps", type=int, default=6000, metavar="N", help="(default: 6000)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    options = SourceOptions(args.frames, SIZE, "", None, None, 1)
    recipe = StageRecipe(steps=args.steps, batch_size=12, learning_rate=1e-3, warmup=200, schedule="cosine")
    try:
        sources = [source for text in args.sources for source in open_sources(text, options)]
        frames = collect_frames(sources, args.out / "frames.safetensors")
        print(train_depth(frames, args.out, recipe))
    except DataError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
