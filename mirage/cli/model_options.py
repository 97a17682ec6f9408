# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What makes the frames, on the command line: the options, and the codec and generator that they ask for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..errors import DataError
from ..models.embedded import DctCodec, FillGenerator
from ..models.wan.presets import WAN
from ..rollout import ChunkModel, Codec

if TYPE_CHECKING:
    from ..models.wan.pipeline import MiragePipeline

EMBEDDED = "embedded"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
# Options of the one kind of model or of the other; with the wrong one they would have no effect.
_EMBEDDED_ONLY = ("block",)
_WAN_ONLY = (
    "adapter", "lora", "lora_scale", "preset", "prompt", "negative_prompt", "steps", "guidance", "dtype", "device",
    "offload", "tiling",
)  # fmt: skip


class Model(NamedTuple):
    """A codec and a generator, the device that the memory belongs on, and what is noted of them."""

    codec: Codec
    generator: ChunkModel
    device: torch.device
    settings: dict[str, Any]


def add_model_options(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("what makes the frames")
    model.add_argument(
        "--model",
        default=EMBEDDED,
        help="'embedded' (default): a block cosine transform and smooth filling, nothing to download; or a folder of "
        f"Wan2.2 in diffusers' layout ({WAN}) or of a saved MiragePipeline",
    )
    model.add_argument("--block", type=int, help="embedded: pixels a latent cell is wide and high (default: 16)")
    wan = parser.add_argument_group("with Wan2.2")
    wan.add_argument("--adapter", type=Path, help="memory adapter, of ours or of the released kind (.safetensors)")
    wan.add_argument(
        "--lora", type=Path, action="append", help="LoRA, of ours or of the released kind; may be repeated"
    )
    wan.add_argument("--lora-scale", type=float, action="append", help="of each LoRA (default: 1)")
    wan.add_argument("--preset", choices=("release", "paper"), help="kind of adapter, if the folder has none")
    wan.add_argument("--prompt", help="what the video is of (default: nothing)")
    wan.add_argument("--negative-prompt", help="what to stay away from, with --guidance")
    wan.add_argument("--steps", type=int, help="of denoising (default: 20, of the paper's kind 40)")
    wan.add_argument("--guidance", type=float, help="scale of classifier-free guidance (default: 1, none)")
    wan.add_argument("--dtype", choices=DTYPES, help="of the weights (default: bfloat16 on a GPU, float32 on a CPU)")
    wan.add_argument("--device", help="such as cuda, cuda:1 or cpu (default: a GPU if there is one)")
    wan.add_argument("--offload", choices=("model", "sequential"), help="keep weights on the CPU while they are idle")
    wan.add_argument("--tiling", action="store_true", default=None, help="encode and decode in tiles")
    wan.add_argument("--boundary", choices=("latent", "frame"), default="latent", help="what a chunk begins with: the "
                     "last latent before it, or the last frame encoded anew (default: latent)")  # fmt: skip
    wan.add_argument("--references", choices=("latent", "frame"), default="latent", help="what past frames are handed "
                     "on as: latents of their chunk, or frames encoded one by one (default: latent)")  # fmt: skip


def check_model_options(args: argparse.Namespace) -> None:
    """Raise where options do not belong together, before anything is read."""
    embedded = args.model == EMBEDDED
    for name in _WAN_ONLY if embedded else _EMBEDDED_ONLY:
        if getattr(args, name) is not None:
            expected = "--model PATH" if embedded else "--model embedded"
            raise DataError(f"--{name.replace('_', '-')}: expected {expected} with it, got --model {args.model}")
    for name, least in (("block", 4), ("steps", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise DataError(f"--{name}: expected at least {least}, got {value}")
    files, scales = args.lora or [], args.lora_scale or []
    if len(scales) > len(files):
        raise DataError(f"--lora-scale: expected at most one for each of {len(files)} --lora, got {len(scales)}")
    for path in [*files, *([args.adapter] if args.adapter else [])]:
        if not path.is_file():
            raise DataError(f"{path}: expected a file of weights (.safetensors), found none")


def open_model(args: argparse.Namespace) -> Model:
    """Load what the options ask for."""
    if args.model == EMBEDDED:
        codec = DctCodec(16 if args.block is None else args.block)
        settings: dict[str, Any] = {"codec": "dct", "generator": "fill", "block": codec.spatial_stride}
        return Model(codec, FillGenerator(), torch.device("cpu"), settings)
    pipe = _load_pipeline(args)
    generator = pipe.make_generator(
        args.prompt or "",
        negative_prompt=args.negative_prompt,
        num_inference_steps=args.steps,
        guidance_scale=1.0 if args.guidance is None else args.guidance,
    )
    settings = {
        "codec": pipe.codec.name,
        "generator": "wan",
        "model": args.model,
        "adapter": args.adapter and str(args.adapter),
        "lora": [str(path) for path in args.lora or []],
        "prompt": args.prompt or "",
        "steps": generator.steps,
        "guidance": generator.guidance_scale,
        "dtype": str(pipe.transformer.dtype).removeprefix("torch."),
        "boundary": args.boundary,
        "references": args.references,
    }
    return Model(pipe.codec, generator, pipe._execution_device, settings)


def _load_pipeline(args: argparse.Namespace) -> MiragePipeline:
    try:
        from ..models.wan.pipeline import MiragePipeline
    except ImportError as error:
        raise DataError(
            f"--model: needs diffusers and transformers (pip install 'mirage-kernels[wan]'): {error}"
        ) from None
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = args.dtype or ("float32" if device == "cpu" else "bfloat16")
    pipe = MiragePipeline.from_pretrained(args.model, dtype=DTYPES[dtype], preset=args.preset)
    if args.adapter:
        pipe.load_adapter_weights(args.adapter)
    elif pipe.adapter_is_silent:
        print(
            f"mirage: {args.model}: its adapter is untrained, so that no memory is heard; see --adapter",
            file=sys.stderr,
        )
    names = [f"lora{number}" for number in range(len(args.lora or []))]
    for name, path in zip(names, args.lora or [], strict=True):
        pipe.load_lora_weights(path, adapter_name=name)
    if names:
        scales = [*(args.lora_scale or []), *len(names) * [1.0]][: len(names)]
        pipe.set_adapters(names, scales)
    if args.tiling:
        pipe.vae.enable_tiling()
    if args.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif args.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
    return pipe
