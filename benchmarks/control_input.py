# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the control input of a memory adapter should carry: small adapters, one for each answer, on one small backbone.

``python -m benchmarks.control_input --out runs/control_input`` draws procedural scenes, trains (about two hours on one
core), and writes ``control_input.json`` and a table. All variants see the same scenes, samples, noise and steps; they
differ in how the memory is rendered, and in what else is given. A run that was stopped goes on after the last variant
that it finished.

* *nearest*: a cell has the latent of one point; *blended*: latents are resampled at the centers of the cells;
  *rendered*: the codec moves and scales the blocks of the picture (:meth:`mirage.models.embedded.DctCodec.render`).
* *points*: the memory is rendered as points, instead of squares of 0.65 footprints.
* *offsets*: two more channels tell where in its cell the point lies.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage.evaluation import _studies
from mirage.evaluation.closed_loop import as_table, summarize
from mirage.evaluation.holes import side_by_side
from mirage.evaluation.metrics import psnr
from mirage.io.images import enlarge
from mirage.memory import LatentSpatialMemory, MemoryView
from mirage.models.embedded import DctCodec
from mirage.models.wan.conditioning import Conditioning
from mirage.models.wan.generator import WanChunkModel
from mirage.models.wan.timesteps import make_scheduler
from mirage.models.wan.transformer import MirageTransformer3DModel
from mirage.training.batches import BatchPlan, make_sequence, seeded, stack
from mirage.training.clip_types import TrainingClip
from mirage.training.clips import ProceduralClips
from mirage.training.loop import rate_factor
from mirage.training.objective import TrainingSequence, flow_matching_loss
from mirage.training.recipe import ObjectiveRecipe, StageRecipe
from mirage.training.run import flatten
from mirage.training.samples import SampleSettings, make_samples
from mirage_kernels import Cameras, atomic_write, load_tensors, save_tensors

SIZE, BLOCK, FRAMES, TARGETS, PER_CLIP = (128, 192), 16, 49, 5, 8
TRAINING, HELD_OUT = range(160), range(10_000_000, 10_000_024)  # seeds of scenes
CHANNELS = DctCodec.channels + 2  # with offsets, or zeros
OFFSET_STD = 0.29  # of a place in a cell, in cells
# A token for each cell: those of four cells, as in Wan2.2, would need more channels than so small a network has.
BACKBONE: dict[str, Any] = {
    "patch_size": (1, 1, 1), "num_layers": 3, "num_attention_heads": 2, "attention_head_dim": 64, "ffn_dim": 256,
    "text_dim": 16, "freq_dim": 64, "adapter_layers": (0, 2),
}  # fmt: skip
OBJECTIVE = ObjectiveRecipe(flow_shift=3.0, prediction="sample", min_sigma=0.2, prompt_dropout=0.0)
BATCH, DENOISING_STEPS = 8, 6
KIND = "samples of the study of the control input"
METHOD = (
    "Adapters of 700 steps on one backbone; all see the same scenes, samples, noise and steps. Nearest: a cell has the "
    "latent of one point; offsets: and its place in the cell, in two more channels; blended: latents resampled at the "
    "centers of the cells; rendered: the codec moves and scales the content of the cells. Points instead of squares of "
    "0.65 footprints."
)

Sample = dict[str, Tensor]
Counts = tuple[int, int]  # of references and of preceding latents


class Reading(NamedTuple):
    """How the memory is rendered.

    Attributes:
        how: see the head of this file.
        extent_scale: half-size of the squares in footprints, 0 for points.
        offsets: whether the view's last two channels are offsets.
    """

    how: Literal["nearest", "blended", "rendered"]
    extent_scale: float = 0.65
    offsets: bool = False


class Variant(NamedTuple):
    """An adapter of the study.

    Attributes:
        reading: what it is shown; None for a memory that is always empty.
        most: largest numbers of references and of preceding latents.
    """

    reading: Reading | None
    most: Counts = (2, 2)


RENDERED = Reading("rendered")
VARIANTS = {
    "rendered": Variant(RENDERED),
    "nearest": Variant(Reading("nearest")),
    "nearest, offsets": Variant(Reading("nearest", offsets=True)),
    "blended": Variant(Reading("blended")),
    "nearest, points": Variant(Reading("nearest", 0.0)),
    "rendered, points": Variant(Reading("rendered", 0.0)),
    "rendered, no references": Variant(RENDERED, (0, 2)),
    "rendered, no preceding latents": Variant(RENDERED, (2, 0)),
    "rendered, neither": Variant(RENDERED, (0, 0)),
    "no memory": Variant(None),
}


class StudyCodec:
    """The cosine codec with two more channels, which are zero in latents of frames.

    Args:
        reading: how a memory is rendered.
    """

    name, channels, spatial_stride, temporal_stride = f"dct-{BLOCK}", CHANNELS, BLOCK, 1

    def __init__(self, reading: Reading) -> None:
        self._reading, self._dct = reading, DctCodec(BLOCK, temporal_stride=1)

    def encode(self, frames: Tensor) -> Tensor:
        """(B, 50, T, h, w)."""
        return _widen(self._dct.encode(frames), 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Frames of (B, 50, T, h, w)."""
        return self._dct.decode(latents[:, : DctCodec.channels])

    def white_latents(self, count: int, h: int, w: int) -> Tensor:
        """(50, count, h, w)."""
        return _widen(self._dct.white_latents(count, h, w), 0)

    def render(self, memory: LatentSpatialMemory, cameras: Cameras) -> MemoryView:
        """Render a memory as the reading says."""
        if self._reading.how == "rendered":
            view = self._dct.render(_Coefficients(memory), cameras)  # type: ignore[arg-type]
            return view._replace(latents=_widen(view.latents, 0))
        view = memory.read(cameras, blend=self._reading.how == "blended", offsets=True)
        if self._reading.offsets:
            view.latents[DctCodec.channels :] = view.offset
        return view


class _Coefficients:
    """A memory of 50 channels as one of 48."""

    def __init__(self, memory: LatentSpatialMemory) -> None:
        self._memory, self.history, self.cache = memory, memory.history, self
        self.xyz, self.footprint = memory.cache.xyz, memory.cache.footprint

    def __len__(self) -> int:
        return len(self._memory)

    def feature_maps(self, rows: Tensor) -> Tensor:
        return self._memory.cache.feature_maps(rows)[:, : DctCodec.channels]

    def read(self, cameras: Cameras, **options: Any) -> MemoryView:
        view = self._memory.read(cameras, **options)
        return view._replace(latents=view.latents[: DctCodec.channels])


def _widen(latents: Tensor, axis: int) -> Tensor:
    shape = list(latents.shape)
    shape[axis] = CHANNELS - shape[axis]
    return torch.cat([latents, latents.new_zeros(shape)], axis)


def read_samples(reading: Reading, seeds: Sequence[int], clips: list[TrainingClip], path: Path) -> list[Sample]:
    """Make the samples of scenes, or read those of an earlier run. ``clips`` are drawn when they are needed."""
    if not path.exists():
        if not clips:
            source = ProceduralClips(seeds, FRAMES, SIZE)
            clips += [source.read(name) for name in tqdm(source.names, desc="scenes", unit="clip")]
        settings = SampleSettings(
            targets=TARGETS, per_clip=PER_CLIP, num_references=2, extent_scales=(reading.extent_scale,)
        )
        made = (
            make_samples(clip, StudyCodec(reading), settings, f"scene {seed}")
            for seed, clip in zip(seeds, tqdm(clips, desc=str(tuple(reading)), unit="clip"), strict=True)
        )
        samples = [tensors for of_clip in made for tensors, _ in of_clip]
        tensors = {f"{n}/{name}": tensor for n, sample in enumerate(samples) for name, tensor in sample.items()}
        save_tensors(path, tensors, kind=KIND, version=1, settings={})
    found: dict[int, Sample] = {}
    for key, tensor in load_tensors(path, kind=KIND, version=1)[0].items():
        number, name = key.split("/")
        found.setdefault(int(number), {})[name] = tensor
    return [found[n] for n in range(len(found))]


def make_conditioning(samples: Sequence[Sample]) -> Conditioning:
    """The conditioning of all variants, with statistics of the targets, normalized as in the recipe of mirage-nano."""
    targets = torch.cat([sample["targets"].float().flatten(1) for sample in samples], 1)
    of_codec = targets[: DctCodec.channels]
    mean, std = flatten(tuple(of_codec.mean(1).tolist()), tuple(of_codec.std(1).tolist()), 0.5)
    return Conditioning(
        num_references=2, flow_shift=OBJECTIVE.flow_shift, max_sequence_length=1, codec=f"dct-{BLOCK}",
        temporal_stride=1, num_targets=TARGETS, prediction="sample", latents_mean=(*mean, 0.0, 0.0),
        latents_std=(*std, OFFSET_STD, OFFSET_STD),
    )  # fmt: skip


class Trainer:
    """Trains the backbone or an adapter.

    Args:
        model: what is trained has gradients.
        samples: to train on.
        most: largest numbers of references and preceding latents.
        empty: whether the memory shows nothing.
    """

    def __init__(self, model: MirageTransformer3DModel, samples: Sequence[Sample], most: Counts, empty: bool) -> None:
        self.model, self.samples, self.most, self.conditioning = model, samples, most, model.conditioning
        self._objective = ObjectiveRecipe(**(vars(OBJECTIVE) | {"zero_view": empty}))
        self._text = torch.zeros(BATCH, 1, BACKBONE["text_dim"], dtype=torch.float32, device="cpu")

    def train(self, name: str, recipe: StageRecipe, *, with_adapter: bool) -> None:
        """Train for the steps of a recipe."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        listed = [{n: sample[n].shape[1] for n in ("references", "preceding")} for sample in self.samples]
        (r, p), numbers = self.most, range(len(listed))
        plan = BatchPlan(listed, numbers, BATCH, "study", (0, r), (0, p))
        bar = tqdm(range(recipe.steps), desc=name, unit="step")
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate_factor(step, recipe)
            loss = self._loss(plan, step, with_adapter=with_adapter)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}")

    def _loss(self, plan: BatchPlan, step: int, *, with_adapter: bool) -> Tensor:
        drawn = plan.step(step)
        counts = (drawn.references, drawn.preceding)
        batch: Any = stack([
            make_sequence(self.samples[n], counts, self._objective, seeded("study", step, slot))[0]
            for slot, n in enumerate(drawn.numbers)
        ])  # fmt: skip
        references, targets, preceding, view, mask, _, sigmas, noise = batch.unpack()
        normalize, control = self.conditioning.normalize, None
        if with_adapter:
            control = self.conditioning.control(self.conditioning.normalize_view(view, mask), mask, None)
        sequence = TrainingSequence(
            normalize(references), normalize(targets), normalize(preceding), control, self._text
        )
        with torch.autocast("cpu", torch.bfloat16):
            return flow_matching_loss(self.model, sequence, sigmas, noise, min_sigma=OBJECTIVE.min_sigma)


@torch.no_grad()
def evaluate(
    model: MirageTransformer3DModel, samples: Sequence[Sample], masks: Sequence[Tensor], most: Counts, empty: bool
) -> list[Any]:
    """Generate the chunks of held-out scenes.

    Args:
        model: the model.
        samples: of the scenes, as the model was trained with them.
        masks: (T, h, w) of each, the cells that count as known.
        most: largest numbers of references and preceding latents.
        empty: whether the memory shows nothing.

    Returns:
        For each scene the mean over its chunks: error of the latents over their deviation, and PSNR of the pixels that
        the memory shows and of the others.
    """
    codec, conditioning = StudyCodec(RENDERED), model.conditioning
    text = torch.zeros(1, 1, BACKBONE["text_dim"], dtype=torch.float32, device="cpu")
    scheduler = make_scheduler(OBJECTIVE.flow_shift)
    generate = WanChunkModel(model.eval(), scheduler, codec, lambda _: (text, None), steps=DENOISING_STEPS)
    chunks = []
    for number, sample in enumerate(tqdm(samples, desc="held-out chunks")):
        given = {name: tensor.float() for name, tensor in sample.items() if tensor.is_floating_point()}
        mask, preceding_mask, targets = sample["mask"], sample["preceding_mask"], given["targets"]
        last = slice(max(given["preceding"].shape[1] - most[1], 0), None) if most[1] else slice(0)
        scale = 0.0 if empty else 1.0
        result = generate(
            given["view"] * scale, mask & (not empty), first=targets[:, 0], preceding=given["preceding"][:, last],
            preceding_view=given["preceding_view"][:, last] * scale, preceding_mask=preceding_mask[last] & (not empty),
            references=given["references"][:, : most[0]], prompt="", generator=seeded("held out", number),
        )  # fmt: skip
        error = (conditioning.normalize(result) - conditioning.normalize(targets))[: DctCodec.channels, 1:]
        got, wanted = (side_by_side(codec.decode(part[None, :, 1:])[0].movedim(1, 0)) for part in (result, targets))
        known = side_by_side(enlarge(masks[number][1:], BLOCK))
        parts = [psnr(got, wanted, part) if part.any() else math.nan for part in (known, ~known)]
        chunks.append([error.square().mean().sqrt().item(), *parts])
    values = torch.tensor(chunks, dtype=torch.float64, device="cpu").reshape(-1, PER_CLIP, 3)
    means: list[Any] = values.nanmean(1).tolist()
    return means


class Study:
    """Files and settings of a run.

    Args:
        out: folder.
        base, adapter: steps of the backbone and of each adapter.
    """

    def __init__(self, out: Path, base: int, adapter: int) -> None:
        self.out, self._steps = out, (base, adapter)
        self._clips: dict[str, list[TrainingClip]] = {"training": [], "held-out": []}
        out.mkdir(parents=True, exist_ok=True)

    def samples(self, reading: Reading, part: Literal["training", "held-out"]) -> list[Sample]:
        """The samples of a reading."""
        name = f"{reading.how}-{reading.extent_scale:g}{'-offsets' if reading.offsets else ''}-{part}.safetensors"
        seeds = TRAINING if part == "training" else HELD_OUT
        return read_samples(reading, seeds, self._clips[part], self.out / name)

    def backbone(self) -> dict[str, Tensor]:
        """Weights of the backbone, trained once."""
        path = self.out / "backbone.safetensors"
        samples = self.samples(RENDERED, "training")
        if not path.exists():
            model = self.make_model(samples)
            model.adapter.requires_grad_(False)
            recipe = StageRecipe(steps=self._steps[0], learning_rate=2e-3, warmup=100, schedule="cosine")
            Trainer(model, samples, (2, 2), empty=True).train("backbone", recipe, with_adapter=False)
            save_tensors(path, dict(model.state_dict()), kind=KIND, version=1, settings={})
        return load_tensors(path, kind=KIND, version=1)[0]

    def make_model(self, samples: Sequence[Sample]) -> MirageTransformer3DModel:
        """An untrained model."""
        torch.manual_seed(0)
        model: MirageTransformer3DModel = MirageTransformer3DModel(
            **BACKBONE, in_channels=CHANNELS, out_channels=CHANNELS, control_channels=CHANNELS + 1
        )
        model.conditioning = make_conditioning(samples)
        return model

    def run(self, variant: Variant) -> list[Any]:
        """Train and evaluate a variant."""
        weights, empty = self.backbone(), variant.reading is None
        reading = variant.reading or RENDERED
        samples = self.samples(reading, "training")
        model = self.make_model(samples)
        model.load_state_dict(weights)
        model._init_adapter()
        model.requires_grad_(False)
        model.adapter.requires_grad_(True)
        recipe = StageRecipe(steps=self._steps[1], learning_rate=2e-3, warmup=50, schedule="cosine")
        Trainer(model, samples, variant.most, empty).train("adapter", recipe, with_adapter=True)
        masks = [sample["mask"] for sample in self.samples(RENDERED, "held-out")]
        return evaluate(model, self.samples(reading, "held-out"), masks, variant.most, empty)


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.control_input", description=(__doc__ or "").partition("\n")[0]
    )
    options.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for samples and results")
    options.add_argument("--base-steps", type=int, default=1500, metavar="N", help="(default: %(default)s)")
    options.add_argument("--adapter-steps", type=int, default=700, metavar="N", help="(default: %(default)s)")
    args = options.parse_args()
    study = Study(args.out, args.base_steps, args.adapter_steps)
    path = args.out / "rows.json"
    rows: dict[str, list[Any]] = json.loads(path.read_text()) if path.exists() else {}
    for name, variant in VARIANTS.items():
        if name not in rows:
            print(name, flush=True)
            rows[name] = study.run(variant)
            with atomic_write(path) as partial:
                partial.write_text(json.dumps(rows) + "\n")
    names = ("latent error", "PSNR of known pixels", "PSNR in holes")
    scores = {name: [dict(zip(names, row, strict=True)) for row in found] for name, found in rows.items()}
    for found in scores.values():
        for row, reference in zip(found, rows["rendered"], strict=True):
            row["known pixels, less rendered"] = row[names[1]] - reference[1]
    summary = {name: summarize(found) for name, found in scores.items()}
    print(as_table(summary))
    settings = {name: str(value) for name, value in vars(args).items()}
    _studies.write(args.out, "control_input", f"{len(TRAINING)} and {len(HELD_OUT)} procedural scenes.",
                   METHOD, settings=settings, summary=summary)  # fmt: skip


if __name__ == "__main__":
    main()
