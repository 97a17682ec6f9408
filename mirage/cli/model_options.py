# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the model, and the codec and chunk model that they select."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..errors import DataError, first_line
from ..models.embedded import DctCodec, FillModel
from ..models.nano.files import NANO, find_lora, is_small_model, named_folder
from ..models.wan.presets import WAN
from ..rollout import ChunkModel, Codec
from .launchers import default_device
from .messages import warn

if TYPE_CHECKING:
    from ..models.wan.pipeline import MiragePipeline

MAX_STEPS = 1000  # that the noise schedule is divided into
EMBEDDED = "embedded"
CHUNK = 33  # frames
MAX_DEFAULT_SIDE, SMALL_SIDE = 1280, 384  # pixels; larger images are scaled down unless a size is given
MAX_BLOCK = 256  # pixels; the transform of a block has as many numbers as the fourth power of it
MAX_SCALE = 100  # of a LoRA
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
# Options of only some kinds of model. With the others they would have no effect, so they are an error.
_NEEDS = {
    "block": "--model embedded",
    **dict.fromkeys(("lora", "lora_scale", "steps", "device"), "--model nano or FOLDER"),
    **dict.fromkeys(("adapter", "preset", "prompt", "negative_prompt", "guidance", "dtype", "offload", "tiling"),
                    "--model FOLDER with Wan2.2"),
}  # fmt: skip
_OF_KIND = {"embedded": ("--model embedded",), "small": ("--model nano or FOLDER",),
            "wan": ("--model nano or FOLDER", "--model FOLDER with Wan2.2")}  # fmt: skip


class LoadedModel(NamedTuple):
    """The model that the options select.

    Attributes:
        codec: encodes frames to latents and decodes them.
        chunk_model: generates the latents of a chunk.
        device: for the memory.
        settings: entries for ``metrics.json``.
        session_options: arguments of :class:`mirage.rollout.RolloutSession`, as the adapter was trained.
        memory_options: arguments of :class:`mirage.memory.LatentSpatialMemory`, as the adapter was trained.
        chunk: frames of a chunk by default.
        max_side: pixels; by default larger images are scaled down to it.
    """

    codec: Codec
    chunk_model: ChunkModel
    device: torch.device
    settings: dict[str, Any]
    session_options: dict[str, Any]
    memory_options: dict[str, Any]
    chunk: int = CHUNK
    max_side: int = MAX_DEFAULT_SIDE


def add_model_options(
    parser: argparse.ArgumentParser, *, default: str | None = EMBEDDED, embedded: str = EMBEDDED
) -> None:
    """Add the options for the model to a parser.

    Args:
        parser: the parser.
        default: of ``--model``; None for no model.
        embedded: name of the built-in model.
    """
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=default,
        metavar="FOLDER",
        help=f"'{embedded}' for the built-in model, which needs no download: it shows the memory with smoothly filled "
        f"holes; '{NANO}' for mirage-nano, a small diffusion model that is part of this package; or a folder with "
        f"Wan2.2 in diffusers' layout ({WAN}), with a saved MiragePipeline, or of a run of mirage train with a small "
        f"backbone (default: {default or 'no model'})",
    )
    model.add_argument(
        "--block",
        type=int,
        metavar="PIXELS",
        help="side of a latent cell of the embedded model (default: that of --memory; else the largest of 32, 16, 8 "
        "and 4 with which the frames have 2,000 cells)",
    )
    model.add_argument(
        "--boundary",
        choices=("latent", "frame"),
        help="start a chunk from the last latent of the chunk before it, or from its last frame, encoded again "
        "(default: as the adapter was trained, else latent)",
    )
    model.add_argument(
        "--references",
        choices=("latent", "frame"),
        help="keep past frames for retrieval as latents of their chunk, or as frames encoded one by one "
        "(default: as the adapter was trained, else latent)",
    )
    _add_wan_options(parser)


def _add_wan_options(parser: argparse.ArgumentParser) -> None:
    wan = parser.add_argument_group(
        "Wan2.2",
        "These options need --model FOLDER with Wan2.2; --steps, --lora, --lora-scale and --device are "
        "for nano and other small models too.",
    )
    wan.add_argument("--prompt", metavar="TEXT", help="description of the video (default: empty)")
    wan.add_argument(
        "--negative-prompt", metavar="TEXT", help="what to avoid; needs --guidance above 1 (default: empty)"
    )
    wan.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: 20; 40 for the "
                     "preset paper; 2 for small models, 6 with a LoRA)")  # fmt: skip
    wan.add_argument("--guidance", type=float, metavar="SCALE", help="classifier-free guidance (default: 1, off)")
    wan.add_argument("--adapter", type=Path, metavar="FILE", help="weights of the memory adapter (.safetensors, .pt); "
                     "without them the memory has no effect on Wan2.2 (default: those of the folder)")  # fmt: skip
    wan.add_argument("--preset", choices=("release", "paper"), help="architecture of the memory adapter if the folder "
                     "has none (default: release)")  # fmt: skip
    wan.add_argument(
        "--lora",
        type=Path,
        action="append",
        metavar="FILE",
        help="LoRA weights; may be repeated; or the name of one in the folder of a small model, such as night for nano "
        "(default: none)",
    )
    wan.add_argument("--lora-scale", type=float, action="append", metavar="SCALE", help="scale of the LoRA, one for "
                     "each --lora (default: 1)")  # fmt: skip
    wan.add_argument("--dtype", choices=DTYPES, help="of the weights (default: bfloat16 on a GPU, float32 on a CPU)")
    wan.add_argument("--device", help="such as cuda, cuda:1 or cpu (default: cuda if available)")
    wan.add_argument("--offload", choices=("model", "sequential"), help="keep idle weights on the CPU: whole models, "
                     "or single layers (slower, less GPU memory; default: keep all on the device)")  # fmt: skip
    wan.add_argument("--tiling", action="store_true", default=None, help="encode and decode frames in tiles, which "
                     "needs less GPU memory (default: whole frames)")  # fmt: skip


def check_model_options(args: argparse.Namespace) -> None:
    """Check the options for the model without reading any file.

    Args:
        args: the parsed options.

    Raises:
        DataError: an option is out of range or has no effect on the selected model, or a file does not exist.
    """
    if args.model == "fill" and not Path(args.model).exists():  # its name in mirage view and in tables
        raise DataError("--model: expected embedded (which fills holes smoothly), nano or FOLDER, got fill")
    kind = _find_kind(args.model)
    for name, expected in _NEEDS.items():
        if getattr(args, name) is not None and expected not in _OF_KIND[kind]:
            raise DataError(f"--{name.replace('_', '-')}: expected {expected}, got --model {args.model}")
    for name, minimum, maximum in (("block", 4, MAX_BLOCK), ("steps", 1, MAX_STEPS)):
        value = getattr(args, name)
        if value is not None and not minimum <= value <= maximum:
            bound = f"least {minimum}" if value < minimum else f"most {maximum}"
            raise DataError(f"--{name}: expected at {bound}, got {value}")
    if kind == "small" and args.lora is not None:
        if len(args.lora) > 1:
            raise DataError(f"--lora: expected one file with a small model, got {len(args.lora)}")
        try:
            args.lora = [find_lora(named_folder(args.model), args.lora[0])]
        except DataError as error:
            raise DataError(f"--{error}") from None
    files, scales = args.lora or [], args.lora_scale or []
    if len(scales) > len(files):
        raise DataError(f"--lora-scale: expected at most {len(files)} (one per --lora), got {len(scales)}")
    for scale in scales:
        if not -MAX_SCALE <= scale <= MAX_SCALE:
            raise DataError(f"--lora-scale: expected -{MAX_SCALE} to {MAX_SCALE}, got {scale:g}")
    for path in [*files, *([args.adapter] if args.adapter else [])]:
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected weights (.safetensors)")
    if args.device is not None:
        _try_device(args.device)


def is_small(model: str) -> bool:
    """Whether ``--model`` selects a small model: mirage-nano, or one in a folder."""
    return model == NANO or is_small_model(Path(model))


def _find_kind(model: str) -> str:
    if model == EMBEDDED:
        return "embedded"
    return "small" if is_small(model) else "wan"


def _try_device(device: str) -> None:
    try:
        torch.zeros(1, device=device, dtype=torch.float32).item()
    except (RuntimeError, AssertionError) as error:  # an unknown name, no driver, or a torch without CUDA
        expected = "a device that works here, such as cpu"
        raise DataError(f"--device: expected {expected}, got {device} ({first_line(error)})") from None


def _load_codec(args: argparse.Namespace, size: tuple[int, int] | None, codec: str) -> DctCodec:
    """The embedded model's codec, by ``--block``, by the name of the memory's codec, or by the size of the frames."""
    stored = re.fullmatch(r"dct-(\d+)", codec)
    if args.block is None and stored is None and size is not None:
        return DctCodec.for_size(size)
    default = 16 if stored is None else int(stored[1])
    return DctCodec(default if args.block is None else args.block, temporal_stride=1)


def load_model(args: argparse.Namespace, size: tuple[int, int] | None = None, codec: str = "") -> LoadedModel:
    """Load the codec and the chunk model that the options select.

    Args:
        args: the parsed options.
        size: (H, W) of the frames, if known; for the block of the embedded model.
        codec: name of the codec of the memory that the video continues in; empty for a new one.

    Raises:
        DataError: weights are missing, damaged or of another model, or a package is not installed.
    """
    if args.model == EMBEDDED:
        embedded = _load_codec(args, size, codec)
        settings: dict[str, Any] = {"codec": "dct", "generator": "fill", "block": embedded.spatial_stride}
        given = {name: getattr(args, name) for name in ("boundary", "references") if getattr(args, name) is not None}
        return LoadedModel(embedded, FillModel(), torch.device("cpu"), settings, given, {})
    if _find_kind(args.model) == "small":
        return _load_small(args)
    pipe = _load_pipeline(args)
    chunk_model = pipe.make_chunk_model(
        args.prompt or "",
        negative_prompt=args.negative_prompt,
        num_inference_steps=args.steps,
        guidance_scale=1.0 if args.guidance is None else args.guidance,
    )
    session_options = pipe.conditioning.session_options(boundary=args.boundary, references=args.references)
    settings = {
        "codec": pipe.codec.name,
        "generator": "wan",
        "model": args.model,
        "adapter": args.adapter and str(args.adapter),
        "lora": [str(path) for path in args.lora or []],
        "prompt": args.prompt or "",
        "steps": chunk_model.steps,
        "guidance": chunk_model.guidance_scale,
        "dtype": str(pipe.transformer.dtype).removeprefix("torch."),
        "boundary": session_options["boundary"],
        "references": session_options["references"],
        "conditioning": pipe.conditioning.to_dict(),
    }
    device, memory_options = pipe._execution_device, pipe.conditioning.memory_options()
    return LoadedModel(pipe.codec, chunk_model, device, settings, session_options, memory_options)


def reuse_model() -> Callable[..., LoadedModel]:
    """A function like :func:`load_model` that loads a model once, for many walks. The built-in one depends on the size
    of the frames, and is made for each."""
    last: dict[tuple[str, ...], LoadedModel] = {}

    def load(args: argparse.Namespace, *rest: Any) -> LoadedModel:
        if args.model == EMBEDDED:
            return load_model(args, *rest)
        key = tuple(str(getattr(args, name)) for name in ("model", "boundary", "references", *_NEEDS))
        if key not in last:
            last.clear()
            last[key] = load_model(args, *rest)
        return last[key]

    return load


def missing_for(model: str, packages: str, error: ImportError) -> DataError:
    """Build the error for a model whose packages are not installed.

    Args:
        model: value of ``--model``.
        packages: that it needs.
        error: of the import.
    """
    return DataError(
        f"--model {model}: needs {packages}; install them with pip install 'mirage-kernels[wan]' ({first_line(error)})"
    )


def _load_small(args: argparse.Namespace) -> LoadedModel:
    try:
        from ..models.nano.model import load_small_model
    except ImportError as error:
        raise missing_for(args.model, "diffusers and peft", error) from None
    device = torch.device(args.device or default_device())
    lora, scale = (values[0] if values else None for values in (args.lora, args.lora_scale))
    small = load_small_model(
        args.model, lora=lora, lora_scale=1.0 if scale is None else scale, steps=args.steps, device=device
    )
    conditioning = small.conditioning
    session_options = conditioning.session_options(boundary=args.boundary, references=args.references)
    settings = {
        "codec": small.codec.name,
        "generator": "small",
        "model": args.model,
        "lora": [str(path) for path in args.lora or []],
        "steps": small.chunk_model.steps,
        "boundary": session_options["boundary"],
        "references": session_options["references"],
        "conditioning": conditioning.to_dict(),
    }
    chunk = (conditioning.num_targets - 1) * small.codec.temporal_stride + 1 if conditioning.num_targets else CHUNK
    memory_options = conditioning.memory_options()
    return LoadedModel(small.codec, small.chunk_model, device, settings, session_options, memory_options, chunk,
                       SMALL_SIDE)  # fmt: skip


def _load_pipeline(args: argparse.Namespace) -> MiragePipeline:
    try:
        from ..models.wan.pipeline import MiragePipeline
    except ImportError as error:
        raise missing_for(args.model, "diffusers and transformers", error) from None
    device = args.device or default_device()
    dtype = args.dtype or ("float32" if device == "cpu" else "bfloat16")
    pipe = MiragePipeline.from_pretrained(args.model, dtype=DTYPES[dtype], preset=args.preset)
    if args.adapter:
        pipe.load_adapter_weights(args.adapter)
    elif pipe.adapter_is_untrained:
        warn(f"{args.model}: the memory adapter is untrained and has no effect; pass --adapter FILE")
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
