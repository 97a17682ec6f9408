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

from mirage_kernels import Cameras

from .cameras import read_intrinsics
from .codecs import Codec
from .data.files import read_depth, read_image
from .data.geometry import read_geometry
from .data.scenes import SCENES, Scene
from .errors import DataError
from .generators import push_pull
from .memory import LatentSpatialMemory
from .models import Model, add_model_options, check_model_options, open_model
from .paths import FRAMES, add_path_options, picture_has_cameras, plan_path, read_picture_cameras, way_to_go
from .pictures import enlarge
from .remembering import add_remembering_options, open_remembering, read_exclusion, read_filters
from .results import Results
from .rollout import plan_chunks, rollout


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mirage", description="Video world models that remember.")
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser(
        "generate",
        help="walk through a picture",
        description="Walk through a picture along a camera path, with a latent spatial memory.",
    )
    source = generate.add_argument_group("what to start from")
    source.add_argument("--scene", choices=sorted(SCENES), help="a scene at hand, instead of files")
    source.add_argument("--image", type=Path, help="a picture")
    source.add_argument(
        "--memory",
        type=Path,
        help="memory.safetensors of an earlier walk: go on in its world, from where it ended (or from a picture)",
    )
    source.add_argument(
        "--depth", type=Path, help="its depth: 16-bit PNG in millimetres, or .npy or .exr of floats in metres"
    )
    source.add_argument(
        "--intrinsics",
        type=Path,
        help="text file: a 3x3 matrix or fx fy cx cy, in pixels, or fx/W fy/H cx/W cy/H",
    )
    source.add_argument(
        "--geometry",
        type=Path,
        help="geometry.npz instead of these: its first frame is the picture (or --image, where it has none); goes "
        "through its cameras where nothing else is asked for",
    )
    source.add_argument(
        "--integer-centres",
        action="store_true",
        help="the calibration puts pixel centres on integers (OpenCV's habit): add half a pixel to cx and cy",
    )
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


def _read_scene(args: argparse.Namespace) -> Scene:
    if args.scene:
        if args.image or args.depth or args.intrinsics or args.geometry:
            raise DataError("--scene: expected no --image, --depth, --intrinsics or --geometry with it")
        return SCENES[args.scene]()
    if args.geometry:
        return _read_geometry(args)
    instead = {"intrinsics": args.cameras, "depth": args.depth_model}
    for name in ("image", "depth", "intrinsics"):
        if getattr(args, name) is None and not instead.get(name):
            raise DataError(f"--{name}: expected a file (or use --scene or --memory), got none")
    image = read_image(args.image)
    size: tuple[int, int] = (image.shape[1], image.shape[2])
    depth = torch.zeros(size) if args.depth is None else read_depth(args.depth)
    if tuple(depth.shape) != size:
        raise DataError(f"{args.depth}: expected depth of the picture's size {size}, got {tuple(depth.shape)}")
    if picture_has_cameras(args):
        return Scene(image, depth, read_picture_cameras(args, size), {})
    k = read_intrinsics(args.intrinsics, size, integer_centres=args.integer_centres)
    return Scene(image, depth, Cameras(k, torch.eye(4), size), {})


def _read_geometry(args: argparse.Namespace) -> Scene:
    """The first frame of a geometry file; what its mask takes out has no depth, so that it is not remembered."""
    if args.depth or args.intrinsics:
        raise DataError("--geometry: expected no --depth or --intrinsics with it")
    geometry = read_geometry(args.geometry, integer_centres=args.integer_centres)
    depth = geometry.depths[0]
    if geometry.masks is not None:
        depth = torch.where(geometry.masks[0], depth, 0)
    if (geometry.frames is None) == (args.image is None):
        got = "none" if args.image is None else "both"
        raise DataError(f"{args.geometry}: expected a picture in it or by --image, got {got}")
    image = read_image(args.image) if geometry.frames is None else geometry.frames[0].float() / 255
    if image.shape[1:] != depth.shape:
        raise DataError(f"{args.image}: expected a picture of size {tuple(depth.shape)}, got {tuple(image.shape[1:])}")
    return Scene(image, depth, geometry.cameras, {})


def _scene_in_memory(memory: LatentSpatialMemory, codec: Codec) -> Scene:
    """What an earlier walk saw last, as the memory shows it; depth is 0 where it shows nothing."""
    if memory.history.cameras is None:
        raise DataError("--memory: expected a world that something was seen of, got an empty one")
    camera = memory.history.cameras[-1]
    view, step = memory.read(camera), codec.spatial_stride
    image = codec.decode(push_pull(view.latents.movedim(1, 0), view.mask).movedim(0, 1)[None])[0, :, 0].cpu()
    depth = enlarge(torch.where(view.mask, view.depth, 0)[0], step).cpu()
    return Scene(image, depth, camera.to("cpu").rescale((image.shape[1], image.shape[2])), {})


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


def _scale(scene: Scene, args: argparse.Namespace, step: int) -> Scene:
    """The scene at the size that is asked for; else at its own, cut to whole steps."""
    if args.height is None and args.width is None:
        return scene.trim(step)
    size = (args.height or scene.depth.shape[0], args.width or scene.depth.shape[1])
    if any(side % step for side in size):
        raise DataError(f"--height, --width: expected multiples of {step}, got {size[0]} and {size[1]}")
    return scene.rescale(size)


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
    scene = _scene_in_memory(memory, model.codec) if goes_on else _read_scene(args)
    scene = scene._replace(exclude=read_exclusion(args, (scene.image.shape[1], scene.image.shape[2])))
    scene = _scale(scene, args, model.codec.spatial_stride * model.generator.patch)
    cameras = plan_path(args, scene)
    remembering = open_remembering(args, model.device)
    settings = {"frames": len(cameras), "size": list(cameras.size), "chunk": args.chunk, "seed": args.seed}
    walk = rollout(
        scene.image,
        None if goes_on or not scene.depth.any() else scene.depth,
        cameras,
        memory=memory,
        codec=model.codec,
        generator=model.generator,
        chunk=args.chunk,
        prompt=args.prompt or "",
        rng=torch.Generator().manual_seed(args.seed),
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
