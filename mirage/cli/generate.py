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
from .memory_options import add_memory_options, load_memory_options, read_exclusion, read_filters
from .model_options import EMBEDDED, LoadedModel, add_model_options, check_model_options, load_model
from .output_folder import OutputFolder
from .path_options import FRAMES, add_path_options, find_path_source, plan_path
from .start_options import add_start_options, read_scene, scale_scene, scene_from_memory

_DESCRIPTION = """\
Generate a video from an image along a camera path. A latent spatial memory keeps what earlier frames showed, so that
the scene looks the same when the camera returns. An image needs a depth map and the camera's intrinsics; a depth
network can estimate the depth (--depth-model).
"""
_EXAMPLES = """\
examples:
  The example scene (pip install 'mirage-kernels[scenes]'); no files are needed:
    mirage generate --scene motorcycle

  One photo with a depth network, turning right by 24 degrees and back:
    mirage generate --image room.jpg --depth-model DEPTH_MODEL --intrinsics K.txt --actions "l*24 j*24"

  If the intrinsics are unknown, write "1 1.5 0.5 0.5" to K.txt: a horizontal field of view of 53 degrees, for a photo
  with an aspect ratio of 3:2 (in general: "1 W/H 0.5 0.5").

  Wan2.2 instead of the built-in model:
    mirage generate --image room.jpg --depth room.npy --intrinsics K.txt --model WAN --adapter FILE --prompt "a room"
"""


def add_generate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    generate = commands.add_parser(
        "generate",
        help="generate a video from an image along a camera path",
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
    output.add_argument("--height", type=int, metavar="PIXELS", help="height of the frames (default: the image's)")
    output.add_argument("--width", type=int, metavar="PIXELS", help="width of the frames (default: the image's)")
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


def _open_memory(
    args: argparse.Namespace, model: LoadedModel, stored: LatentSpatialMemory | None
) -> LatentSpatialMemory:
    codec = model.codec
    if args.memory is None:
        return LatentSpatialMemory(codec.channels, device=model.device, codec=codec.name)
    memory = LatentSpatialMemory.load(args.memory, model.device) if stored is None else stored
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
    for name, minimum in (("fps", 1), ("seed", 0), ("height", 1), ("width", 1)):
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
    resume = args.memory is not None and not (args.scene or args.image or args.geometry)
    start = None if resume else read_scene(args)
    # The block of the embedded model is that of the memory, or depends on the size of the frames.
    stored = LatentSpatialMemory.load(args.memory) if args.memory is not None and args.model == EMBEDDED else None
    size = None if start is None else (args.height or start.depth.shape[0], args.width or start.depth.shape[1])
    model = load_model(args, size, "" if stored is None else stored.codec)
    memory = _open_memory(args, model, stored)
    scene = scene_from_memory(memory, model.codec) if start is None else start
    exclude = read_exclusion(args, (scene.image.shape[1], scene.image.shape[2]))
    if exclude is not None:
        scene = scene._replace(exclude=exclude if scene.exclude is None else exclude | scene.exclude)
    scene = scale_scene(scene, args, model.codec.spatial_stride * model.chunk_model.patch)
    cameras = plan_path(args, scene)
    memory_options = load_memory_options(args, model.device)
    settings = {"frames": len(cameras), "size": list(cameras.size), "chunk": args.chunk, "seed": args.seed}
    chunks = rollout(
        scene.image,
        None if resume or not scene.depth.any() else scene.depth,
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
    if metrics.get("generator") == "fill":
        lines.append(
            "  Holes were filled smoothly by the built-in stand-in; a video model (--model) would invent content."
        )
    for name, value in metrics.items():
        if name.endswith("_psnr"):
            lines.append(f"  {name:<18} " + ("     -" if value is None else f"{value:6.2f} dB"))
    return "\n".join(lines)
