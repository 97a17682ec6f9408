# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm  # type: ignore[import-untyped]

from ..errors import DataError
from ..memory import LatentSpatialMemory
from ..rollout import plan_chunks, rollout
from .memory_options import add_remembering_options, open_remembering, read_exclusion, read_filters
from .model_options import Model, add_model_options, check_model_options, open_model
from .output_folder import Results
from .path_options import FRAMES, add_path_options, plan_path, way_to_go
from .start_options import add_start_options, read_scene, scale_scene, scene_in_memory


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mirage", description="Video world models that remember.")
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser(
        "generate",
        help="walk through a picture",
        description="Walk through a picture along a camera path, with a latent spatial memory.",
    )
    add_start_options(generate)
    add_path_options(generate)
    how = generate.add_argument_group("how")
    how.add_argument("--frames", type=int, help="4 N + 1 (default: 97, or as many as a file or keys give)")
    how.add_argument("--chunk", type=int, default=33, help="frames generated at a time, 4 N + 1 (default: 33)")
    how.add_argument("--height", type=int, help="of the frames: the picture is scaled to it (default: its own)")
    how.add_argument("--width", type=int, help="likewise")
    how.add_argument("--seed", type=int, default=0, help="of the generator (filling holes has no randomness)")
    how.add_argument("--fps", type=int, default=16, help="of the video (default: 16)")
    how.add_argument("--out", type=Path, default=Path("out/generate"), help="folder of the results")
    add_remembering_options(generate)
    add_model_options(generate)
    return parser


def _open_memory(args: argparse.Namespace, model: Model) -> LatentSpatialMemory:
    codec = model.codec
    if args.memory is None:
        return LatentSpatialMemory(codec.channels, device=model.device, codec=codec.name)
    memory = LatentSpatialMemory.load(args.memory, model.device)
    if memory.codec != codec.name:
        raise DataError(
            f"--memory: expected latents of {codec.name!r}, got {args.memory} with those of {memory.codec!r}"
        )
    return memory


def _check_numbers(args: argparse.Namespace) -> None:
    way_to_go(args)
    plan_chunks(FRAMES if args.frames is None else args.frames, args.chunk)
    check_model_options(args)
    read_filters(args)
    for name, least in (("fps", 1), ("seed", 0), ("height", 1), ("width", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise DataError(f"--{name}: expected at least {least}, got {getattr(args, name)}")
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"{args.out}: expected a folder, got a file")


def generate(args: argparse.Namespace) -> dict[str, Any]:
    """Run ``mirage generate`` and return the measures."""
    _check_numbers(args)
    model = open_model(args)
    memory = _open_memory(args, model)
    goes_on = args.memory is not None and not (args.scene or args.image or args.geometry)
    scene = scene_in_memory(memory, model.codec) if goes_on else read_scene(args)
    scene = scene._replace(exclude=read_exclusion(args, (scene.image.shape[1], scene.image.shape[2])))
    scene = scale_scene(scene, args, model.codec.spatial_stride * model.generator.patch)
    cameras = plan_path(args, scene)
    remembering = open_remembering(args, model.device)
    settings = {"frames": len(cameras), "size": list(cameras.size), "chunk": args.chunk, "seed": args.seed}
    walk = rollout(
        scene.image,
        None if goes_on or not scene.depth.any() else scene.depth,
        cameras,
        memory=memory,
        codec=model.codec,
        model=model.generator,
        chunk=args.chunk,
        prompt=args.prompt or "",
        generator=torch.Generator().manual_seed(args.seed),
        boundary=args.boundary,
        references=args.references,
        estimator=remembering.estimator,
        filters=remembering.filters,
        exclude=scene.exclude,
    )
    codec, settings = model.codec, settings | model.settings | remembering.settings
    with Results(args.out, scene, cameras, memory, codec, settings, args.fps) as results:
        with tqdm(total=len(cameras), unit="frame", desc="walking") as bar:
            for chunk in walk:
                results.add(chunk)
                bar.update(chunk.frames.shape[1])
                bar.set_postfix(points=len(memory), known=f"{results.known_share[-1]:.1%}")
        return results.finish()


def _summary(metrics: dict[str, Any], folder: Path) -> str:
    lines = [
        f"{folder}: {metrics['frames']} frames, {metrics['points']} points, {metrics['memory_bytes'] / 2**20:.2f} MiB"
    ]
    for name, value in metrics.items():
        if name.endswith("_psnr"):
            lines.append(f"  {name:<18} " + ("     -" if value is None else f"{value:6.2f} dB"))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        metrics = generate(args)
    except (ValueError, OSError) as error:  # DataError is a ValueError; a full disk or a read-only folder is an OSError
        print(f"mirage: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mirage: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(_summary(metrics, args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
