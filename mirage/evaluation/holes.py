# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What models put into the holes of a memory, where the truth is known.

A rollout runs over a clip with its depth. Before every chunk, each model generates it from what the memory shows; then
the clip's own latents are taken, so that all models see the same. The holes are the cells that the memory does not
show. Clips are held-out procedural scenes, and the second half of ``hololens_dev`` if MIRAGE_DATA is set.

``python -m mirage.evaluation.holes`` prints a table and writes ``holes.json`` and pictures.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras

from ..data.procedural import ProceduralScene
from ..io.images import contact_sheet, enlarge, show_holes
from ..models.nano.files import NANO
from ..rollout import RolloutSession
from . import _studies
from .chunk_models import ComparedModel, open_models
from .closed_loop import FIRST_SEED, SIZE, as_table, summarize
from .metrics import psnr
from .recording import read_hololens

__all__ = ["KnownClip", "compare_in_holes", "hololens_second_half", "procedural_clips", "side_by_side"]

CLIPS, FRAMES = 20, 33
TRAINED = 37  # frames of hololens_dev that models may be trained on
MIN_CELLS = 20  # in the holes of a chunk, for it to count
METHOD = (
    "Each model generates every chunk of a clip from what the memory shows of the earlier true frames; scores are over "
    "the cells that the memory does not show, averaged over the chunks of a clip."
)


class KnownClip(NamedTuple):
    """A clip with depth.

    Attributes:
        name: of the clip.
        frames: (F, 3, H, W), values 0 to 1.
        depth: (F, H, W) float32 z-depth, 0 where unknown.
        cameras: F cameras over (H, W).
        exclude: (F, H, W) bool, pixels that are not remembered.
    """

    name: str
    frames: Tensor
    depth: Tensor
    cameras: Cameras
    exclude: Tensor | None


def procedural_clips(seeds: Sequence[int], frames: int = FRAMES) -> Iterator[KnownClip]:
    """Draw clips of procedural scenes."""
    for seed in seeds:
        clip = ProceduralScene(seed, frames=frames).clip(size=SIZE)
        yield KnownClip(f"scene {seed}", clip.frames.float() / 255, clip.depth, clip.cameras, clip.moving | clip.sky)


def hololens_second_half() -> KnownClip:
    """The frames of ``hololens_dev`` that models are not trained on, at 256x384."""
    recorded = read_hololens()
    images, depth = recorded.images[TRAINED:], recorded.depth[TRAINED:]
    frames = nnf.interpolate(images.float(), SIZE, mode="area")
    near = nnf.interpolate(depth[:, None], SIZE, mode="nearest-exact")[:, 0]
    return KnownClip("hololens_dev, second half", frames, near, recorded.cameras[TRAINED:].rescale(SIZE), None)


class _Comparison:
    """A chunk model that lets all models generate, compares them in the holes, and returns the clip's own latents."""

    def __init__(self, models: Sequence[ComparedModel], latents: Tensor, on_chunk: Callable[..., None]) -> None:
        self.patch = max(compared.model.patch for compared in models)
        self._models, self._latents, self._on_chunk, self._at = models, latents, on_chunk, 0

    def __call__(self, view: Tensor, mask: Tensor, *, first: Tensor, **given: Any) -> Tensor:
        count = view.shape[1]
        truth = torch.cat([first[:, None], self._latents[:, self._at + 1 : self._at + count]], 1)
        self._at += count - 1
        results = {c.name: c.model(view, mask, first=first, **given) for c in self._models}
        self._on_chunk(view, mask, truth, results)
        return truth


def compare_in_holes(
    models: Sequence[ComparedModel], clip: KnownClip, on_chunk: Callable[..., None] = lambda *_: None
) -> dict[str, dict[str, float]]:
    """Compare models in the holes of a clip.

    Args:
        models: with the same codec.
        clip: the clip.
        on_chunk: called with the memory's view, its mask, the true latents and those of each model.

    Returns:
        By model: ``latent_rmse``, over the channels of the cells in holes; ``psnr`` of their pixels in dB; and
        ``known_psnr`` of the other pixels. Empty if the memory has hardly any holes.
    """
    codec = models[0].codec
    latents = codec.encode(clip.frames.movedim(1, 0)[None])[0]
    scores: dict[str, list[Tensor]] = {compared.name: [] for compared in models}

    def score(view: Tensor, mask: Tensor, truth: Tensor, results: dict[str, Tensor]) -> None:
        holes = ~mask[1:]
        if int(holes.sum()) >= MIN_CELLS:
            pixels = enlarge(holes, codec.spatial_stride)
            wanted = side_by_side(codec.decode(truth[None, :, 1:])[0].movedim(1, 0))
            for name, result in results.items():
                got = side_by_side(codec.decode(result[None, :, 1:])[0].movedim(1, 0))
                error = (result[:, 1:] - truth[:, 1:])[:, holes].square().mean().sqrt()
                values = [psnr(got, wanted, side_by_side(part)) for part in (pixels, ~pixels)]
                scores[name].append(torch.tensor([error.item(), *values], dtype=torch.float64, device="cpu"))
        on_chunk(view, mask, truth, results)

    chunk, session = models[0].chunk - 1, models[0].session_options
    rollout = RolloutSession(
        clip.frames[0], clip.depth[0], clip.cameras[:1], memory=models[0].make_memory(), codec=codec,
        model=_Comparison(models, latents, score), exclude=None if clip.exclude is None else clip.exclude[0],
        decode=False, **session,
    )  # fmt: skip
    for first in range(1, len(clip.frames) - chunk + 1, chunk):
        new = slice(first, first + chunk)
        exclude = None if clip.exclude is None else clip.exclude[new]
        rollout.step(clip.cameras[new], depth=clip.depth[new], exclude=exclude)
    if not scores[models[0].name]:
        return {}
    names = ("latent_rmse", "psnr", "known_psnr")
    return {name: dict(zip(names, torch.stack(found).mean(0).tolist(), strict=True)) for name, found in scores.items()}


def side_by_side(frames: Tensor) -> Tensor:
    """Frames (F, 3, H, W) or masks (F, H, W) side by side, as one image."""
    return torch.cat(list(frames), -1)


def main() -> None:
    options = _studies.parser("holes", __doc__)
    options.add_argument("--model", default=NANO, metavar="FOLDER", help="small model (default: %(default)s)")
    options.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: of the model)")
    options.add_argument("--clips", type=int, default=CLIPS, metavar="N", help="(default: %(default)s)")
    run(options.parse_args())


def run(args: argparse.Namespace) -> None:
    """Compare the models on all clips, and write tables and pictures."""
    models = open_models(args.model, steps=args.steps)
    parts: dict[str, list[dict[str, dict[str, float]]]] = {"procedural": [], "hololens_dev": []}
    pictures: list[list[Tensor]] = []

    def keep(view: Tensor, mask: Tensor, truth: Tensor, results: dict[str, Tensor]) -> None:
        if float(mask[-1].float().mean()) > 0.9 or len(pictures) >= 8:
            return
        codec = models[0].codec
        images = [codec.decode(latents[None, :, -1:])[0, :, 0] for latents in (view, truth, *results.values())]
        images[0] = show_holes(images[0], enlarge(mask[-1], codec.spatial_stride))
        pictures.append(images)

    for clip in tqdm(procedural_clips(range(FIRST_SEED, FIRST_SEED + args.clips)), total=args.clips, unit="clip"):
        parts["procedural"].append(compare_in_holes(models, clip, keep))
    if os.environ.get("MIRAGE_DATA"):
        parts["hololens_dev"].append(compare_in_holes(models, hololens_second_half(), keep))
    summaries = {}
    for part, found in parts.items():
        rows = [row for row in found if row]
        if rows:
            summaries[part] = {name: summarize([row[name] for row in rows]) for name in rows[0]}
            print(f"{part}, {len(rows)} clips\n{as_table(summaries[part])}")
    settings = {name: str(value) for name, value in vars(args).items()}
    _studies.write(args.out, "holes", "Held-out clips with depth.", METHOD, settings=settings, summary=summaries)
    names = ["memory", "truth", *(compared.name for compared in models)]
    _studies.save_image(args.out / "holes.jpg", contact_sheet(pictures, [names] * len(pictures)))


if __name__ == "__main__":
    main()
