# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage generate``: a video from an image along a camera path."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm  # type: ignore[import-untyped]

from ..errors import DataError
from ..memory import LatentSpatialMemory
from ..rollout import plan_chunks, rollout
from .frame_size import add_size_options
from .memory_options import add_memory_options, load_memory_options, read_filters
from .model_options import LoadedModel, add_model_options, check_model_options, load_model
from .output_folder import OutputFolder
from .path_options import FRAMES, add_path_options, find_path_source, plan_path
from .start_options import add_start_options, check_start_options, read_start

_DESCRIPTION = """\
Generate a video from an image along a camera path. A latent spatial memory keeps what earlier frames showed, so that
the scene looks the same when the camera returns. An image is enough: its focal length is read from EXIF or assumed, and
its depth is guessed. A depth map (--depth) or a depth network (--depth-model) gives a better video.
"""
_EXAMPLES = """\
examples:
  The example scene (pip install 'mirage-kernels[scenes]'); no files are needed:
    mirage generate --scene motorcycle

  One photo; the camera orbits by 15 degrees and returns:
    mirage generate --image photo.jpg

  One photo with a depth network, turning right by 24 degrees and back:
    mirage generate --image photo.jpg --depth-model FOLDER --actions "l*24 j*24"

  A photo with a depth map in units of 0.2 mm and known intrinsics, at a width of 640 pixels:
    mirage generate --image room.png --depth room_depth.png --depth-scale 0.0002 --intrinsics 495,495,269,169 \\
        --width 640

  Further in the same scene:
    mirage generate --memory out/generate/memory.safetensors --trajectory pan --amount 20 --out out/further

  Wan2.2 instead of the built-in model:
    mirage generate --image room.jpg --depth room.npy --intrinsics K.txt --model WAN --adapter FILE --prompt "a room"
"""


def add_generate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    generate = commands.add_parser(
        "generate",
        help="generate a video from an image along a camera path",
        usage="%(prog)s (--image FILE | --scene NAME | --geometry FILE | --memory FILE) [options]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_start_options(generate)
    add_path_options(generate)
    output = generate.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, default=Path("out/generate"), metavar="FOLDER", help="output folder (default: out/generate)"
    )
    output.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="number of frames, a multiple of 4 plus 1 (default: 97, or all that --cameras, --poses or --actions give)",
    )
    add_size_options(output)
    output.add_argument("--fps", type=int, default=16, metavar="N", help="frames per second (default: 16)")
    output.add_argument(
        "--chunk",
        type=int,
        default=33,
        metavar="N",
        help="frames generated at a time, a multiple of 4 plus 1 (default: 33)",
    )
    output.add_argument("--seed", type=int, default=0, metavar="N", help="random seed, for Wan2.2 (default: 0)")
    add_memory_options(generate)
    add_model_options(generate)
    generate.set_defaults(run=run)


def _open_memory(args: argparse.Namespace, model: LoadedModel) -> LatentSpatialMemory:
    codec = model.codec
    if args.memory is None:
        return LatentSpatialMemory(codec.channels, device=model.device, codec=codec.name)
    memory = LatentSpatialMemory.load(args.memory, model.device)
    if memory.codec != codec.name:
        raise DataError(
            f"--memory: expected latents of codec {codec.name!r}, got {args.memory} with latents of {memory.codec!r}"
        )
    return memory


def _check_numbers(args: argparse.Namespace) -> None:
    find_path_source(args)
    plan_chunks(FRAMES if args.frames is None else args.frames, args.chunk)
    check_model_options(args)
    read_filters(args)
    check_start_options(args)
    for name, minimum in (("fps", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and value < minimum:
            raise DataError(f"--{name}: expected at least {minimum}, got {value}")
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"{args.out}: expected a folder, got a file")


def run(args: argparse.Namespace) -> str:
    """Generate the video, and return a summary of several lines."""
    return _summary(generate(args), args.out)


def generate(args: argparse.Namespace) -> dict[str, Any]:
    """Run ``mirage generate``.

    Args:
        args: the parsed options.

    Returns:
        The metrics that are written to ``metrics.json``.

    Raises:
        DataError: an option is wrong, or a file is missing or damaged.
    """
    _check_numbers(args)
    model = load_model(args)
    memory = _open_memory(args, model)
    memory_options = load_memory_options(args, model.device)
    step = model.codec.spatial_stride * model.chunk_model.patch
    start = read_start(args, step=step, codec=model.codec, memory=memory, estimator=memory_options.estimator)
    scene, cameras = start.scene, plan_path(args, start.scene)
    settings = start.settings | {
        "frames": len(cameras),
        "size": list(cameras.size),
        "chunk": args.chunk,
        "seed": args.seed,
    }
    chunks = rollout(
        scene.image,
        None if scene.depth_from_memory or not scene.depth.any() else scene.depth,
        cameras,
        memory=memory,
        codec=model.codec,
        model=model.chunk_model,
        chunk=args.chunk,
        prompt=args.prompt or "",
        generator=torch.Generator().manual_seed(args.seed),
        boundary=args.boundary,
        references=args.references,
        estimator=memory_options.estimator,
        filters=memory_options.filters,
        exclude=scene.exclude,
    )
    codec, settings = model.codec, settings | model.settings | memory_options.settings
    with OutputFolder(args.out, scene, cameras, memory, codec, settings, args.fps) as output:
        with tqdm(total=len(cameras), unit="frame", desc="generating") as bar:
            for chunk in chunks:
                output.add(chunk)
                bar.update(chunk.frames.shape[1])
                bar.set_postfix(points=len(memory), known=f"{output.known_share[-1]:.1%}")
        return output.finish()


def _summary(metrics: dict[str, Any], folder: Path) -> str:
    lines = [
        f"{folder}: {metrics['frames']} frames, {metrics['points']} points, {metrics['memory_bytes'] / 2**20:.2f} MiB"
    ]
    for name, value in metrics.items():
        if name.endswith("_psnr"):
            lines.append(f"  {name:<18} " + ("     -" if value is None else f"{value:6.2f} dB"))
    return "\n".join(lines)
