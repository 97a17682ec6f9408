# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage worldscore``: videos for the WorldScore benchmark."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras

from ..cameras import centered_intrinsics, worldscore_path
from ..cameras.worldscore import FOCAL_LENGTH
from ..data.scenes import Scene, resize_mask
from ..errors import DataError, PartlyFailedError
from ..evaluation.worldscore import (
    OUTPUT,
    SETTINGS,
    ResultWriter,
    WorldScoreSample,
    check_settings,
    is_finished,
    keep_settings,
    read_object_mask,
    read_worldscore_dataset,
    write_result,
)
from ..io.files import read_image
from ..io.photos import read_photo_info
from ..memory import LatentSpatialMemory
from ..rollout import RolloutSession
from .frame_size import add_size_options, check_size_options, choose_size, expected_size, fit_scene, size_before_fit
from .memory_options import (
    MemoryOptions,
    add_memory_options,
    check_mask_aspect,
    load_memory_options,
    read_filters,
)
from .messages import note, warn
from .model_options import LoadedModel, add_model_options, check_model_options, load_model
from .output_lock import OutputBusyError, OutputLock
from .photo_options import guess_photo_depth
from .recording_options import parse_part
from .run_options import pack_options
from .signals import raise_again

_NOT_FRAMES = ("dataset", "images", "device")
_DESCRIPTION = """\
Generate the videos of the WorldScore benchmark, in the folders that its scorer reads: of still scenes in
OUT/worldscore_output/static/STYLE/SCENE/CATEGORY/NAME with frames, camera_data.json, image_data.json and
input_image.png, and of moving objects in OUT/worldscore_output/dynamic/STYLE/MOTION/NAME, without cameras.
The objects of the masks are kept out of the memory. Samples that are finished are skipped, so the command can
be started again.
"""
_EXAMPLES = """\
examples:
  The first of four machines that share a folder:
    mirage worldscore --dataset WorldScore-Dataset --out runs/mirage --shard 1/4 \\
        --height 704 --width 1280 --depth-model FOLDER --model WAN --adapter FILE
"""


def add_worldscore(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "worldscore",
        help="generate the videos of the WorldScore benchmark",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        required=True,
        metavar="PATH",
        help="folder of the data set, or one of its files, static.json or dynamic.json (no default: required)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="folder that the paths of images and masks in the data set begin in (default: --dataset or the nearest "
        "folder above it with the first image)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="runs_root of the model's "
                        "configuration in the benchmark (no default: required)")  # fmt: skip
    parser.add_argument(
        "--shard", default="1/1", metavar="I/N", help="generate every N-th sample, from the I-th on (default: 1/1)"
    )
    parser.add_argument(
        "--frames", type=int, default=33, metavar="N", help="frames of a move, with its first and last (default: 33)"
    )
    parser.add_argument("--chunk", type=int, metavar="N", help="frames generated at a time (default: 33, or as many as "
                        "the adapter was trained with)")  # fmt: skip
    parser.add_argument("--speed", type=float, default=1.0, metavar="METERS", help="of a push in (default: 1)")
    parser.add_argument(
        "--focal-length", type=float, default=FOCAL_LENGTH, metavar="PIXELS", help="of the frames (default: 500)"
    )
    add_size_options(parser.add_argument_group("size"))
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed, for Wan2.2 (default: 0)")
    add_memory_options(parser, mask=False)
    add_model_options(parser)
    parser.set_defaults(run=run)


def _check(args: argparse.Namespace) -> tuple[int, int]:
    """Check the options, and return the shard and the number of shards."""
    if args.prompt is not None:
        raise DataError(f"--prompt: expected none, because the data set has the prompts, got {args.prompt!r}")
    check_size_options(args)
    check_model_options(args)
    read_filters(args)
    for name, minimum in (("frames", 2), ("chunk", 2)):
        value = getattr(args, name)
        if value is not None and not minimum <= value <= 1_000_000:
            raise DataError(f"--{name}: expected {minimum} to 1000000, got {value}")
    for name in ("speed", "focal_length"):
        if not 0 < getattr(args, name) <= 1e6:
            option = name.replace("_", "-")
            raise DataError(f"--{option}: expected a number above 0 and up to 1e6, got {getattr(args, name):g}")
    if not 0 <= args.seed < 1 << 63:
        raise DataError(f"--seed: expected at least 0 and less than 2^63, got {args.seed}")
    part = parse_part("--shard", args.shard)
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"--out: expected a folder, got the file {args.out}")
    return part


def run(args: argparse.Namespace) -> str:
    """Generate the videos, and return a summary of one line."""
    shard, count = _check(args)
    samples = read_worldscore_dataset(args.dataset)
    if not samples:
        raise DataError(f"{args.dataset}: expected samples, got none")
    root = _find_images(args, samples)
    chosen = samples[shard - 1 :: count]
    base = args.out / OUTPUT
    todo = [s for s in chosen if not is_finished(base / s.folder, s.total_frames(args.frames))]
    settings = {name: value for name, value in pack_options(args).items() if name not in _NOT_FRAMES}
    check_settings(base / SETTINGS, settings)
    base.mkdir(parents=True, exist_ok=True)
    done, failed = _generate_all(args, todo, root, base, settings) if todo else (0, [])
    if failed:
        raise PartlyFailedError(f"{len(failed)} of {len(chosen)} samples could not be generated, the first one because "
                                f"of {failed[0]}; the others are finished", "")  # fmt: skip
    return f"{base}: {done} samples generated, {len(chosen) - len(todo)} were finished"


def _find_images(args: argparse.Namespace, samples: list[WorldScoreSample]) -> Path:
    dataset = args.dataset.absolute()
    folders: list[Path] = [dataset, *dataset.parents] if args.images is None else [args.images]
    for folder in folders:
        if any((folder / sample.image).is_file() for sample in samples):
            return folder
    image = samples[0].image
    if args.images is not None:
        raise DataError(f"--images: expected a folder with {image}, got {args.images}")
    raise DataError(f"--dataset: expected {image} in {args.dataset} or a folder above, got none; pass --images")


def _first_size(samples: list[WorldScoreSample], root: Path) -> tuple[int, int]:
    """(H, W) of the first image that can be read."""
    for sample in samples:
        with suppress(DataError):
            return read_photo_info(root / sample.image).size
    return read_photo_info(root / samples[0].image).size


def _generate_all(
    args: argparse.Namespace, samples: list[WorldScoreSample], root: Path, base: Path, settings: dict[str, Any]
) -> tuple[int, list[str]]:
    """Generate samples, and return how many, and why some could not be."""
    model = load_model(args, expected_size(args, _first_size(samples, root)))
    done, busy, failed = 0, 0, list[str]()
    args.chunk = model.chunk if args.chunk is None else args.chunk
    stride = model.codec.temporal_stride
    for name in ("frames", "chunk"):
        if (getattr(args, name) - 1) % stride:
            raise DataError(f"--{name}: expected a multiple of {stride} plus 1, got {getattr(args, name)}")
    options = load_memory_options(args, model.device)
    for sample in tqdm(samples, unit="sample", desc="generating"):
        raise_again()
        folder = base / sample.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = OutputLock(folder)
        except OutputBusyError:
            busy += 1
            continue
        try:
            if is_finished(folder, sample.total_frames(args.frames)):  # by another process in the meantime
                continue
            with write_result(folder, sample, args.frames) as writer:
                _generate(args, sample, root, model, options, writer)
                raise_again()
                keep_settings(base / SETTINGS, settings)
            done += 1
        except DataError as error:
            warn(f"{sample.folder}: {error}")
            failed.append(str(error))
        finally:
            lock.release()
    if busy:
        note(f"{busy} samples are being generated by other processes")
    return done, failed


def _generate(
    args: argparse.Namespace,
    sample: WorldScoreSample,
    root: Path,
    model: LoadedModel,
    options: MemoryOptions,
    writer: ResultWriter,
) -> None:
    codec = model.codec
    scene = _read_scene(args, sample, root, codec.spatial_stride * model.chunk_model.patch, model.max_side)
    size = (scene.image.shape[1], scene.image.shape[2])
    pose = torch.eye(4, dtype=torch.float64, device="cpu")
    camera = Cameras(centered_intrinsics(args.focal_length, size), pose, size)
    cameras = worldscore_path(camera, sample.moves, args.frames, speed=args.speed)
    writer.start(scene.image, cameras, args.speed)
    depth = guess_photo_depth(scene.image, camera) if options.estimator is None else None
    session = RolloutSession(
        scene.image,
        depth,
        camera,
        memory=LatentSpatialMemory(codec.channels, device=model.device, codec=codec.name, **model.memory_options),
        codec=codec,
        model=model.chunk_model,
        generator=torch.Generator(device="cpu").manual_seed(args.seed),
        **model.session_options,
        estimator=options.estimator,
        filters=options.filters,
        exclude=scene.exclude,
    )
    for number, prompt in enumerate(sample.prompts):
        move = cameras[1 + number * (args.frames - 1) : 1 + (number + 1) * (args.frames - 1)]
        for start in range(0, len(move), args.chunk - 1):
            raise_again()
            part = move[start : start + args.chunk - 1]
            # Moving objects stay out of the memory in generated frames too: it would hold them where they are.
            moving = scene.exclude if sample.masks else None
            exclude = None if moving is None else moving.expand(len(part) // codec.temporal_stride, *size)
            writer.add(session.step(part, prompt, exclude=exclude).frames)


def _read_scene(args: argparse.Namespace, sample: WorldScoreSample, root: Path, step: int, max_side: int) -> Scene:
    """The image at the size of the frames, without the sample's moving objects; its cameras are not the result's."""
    path = root / sample.image
    info = read_photo_info(path)
    target = choose_size(args, info.size, step, path, max_side)
    image = read_image(path, at_least=size_before_fit(args, info.size, target))
    size = (image.shape[1], image.shape[2])
    pose = torch.eye(4, dtype=torch.float64, device="cpu")
    keys = Cameras(centered_intrinsics(max(size), size), pose, size)
    exclude = _read_masks([root / mask for mask in sample.masks], size)
    if exclude is not None and exclude.all():
        warn(f"{sample.folder}: the masks cover the whole image, so that nothing of it is remembered")
    depth = torch.zeros(size, dtype=torch.float32, device="cpu")
    return fit_scene(Scene(image, depth, keys, {}, exclude), args, target, path)


def _read_masks(paths: list[Path], size: tuple[int, int]) -> Tensor | None:
    """Whether a pixel (H, W) shows an object, as in the scorer: one of another value than 0; None without masks."""
    exclude = None
    for path in paths:
        check_mask_aspect(path, read_photo_info(path).size, size)
        mask = resize_mask(read_object_mask(path), size)
        exclude = mask if exclude is None else exclude | mask
    return exclude
