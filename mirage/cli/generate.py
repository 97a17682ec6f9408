# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage generate``: a video from an image along a camera path."""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm  # type: ignore[import-untyped]

from ..errors import DataError
from ..memory import LatentSpatialMemory
from ..memory.snapshot import restore_snapshot
from ..rollout import RolloutSession, plan_chunks
from .frame_size import add_size_options
from .generate_list import add_list_options, check_inputs, check_videos, find_shard, generate_list
from .job_list import read_jobs
from .live_view import add_port, open_viewer, walk_on
from .memory_options import MemoryOptions, add_memory_options, load_memory_options, read_filters
from .messages import note
from .model_options import CHUNK, EMBEDDED, LoadedModel, add_model_options, check_model_options, load_model, reuse_model
from .output_files import read_status
from .output_folder import OutputFolder, remove_leftovers
from .path_options import FRAMES, add_path_options, check_fps, check_frames, check_path_options, plan_path
from .photo_options import GUESSED
from .run import Run
from .run_checks import check_options, unpacking
from .run_options import check_alone, digest_walk, pack_options, unpack_options
from .run_state import unpack_session, unpack_snapshot, unpack_start
from .signals import raise_again
from .start_options import add_start_options, check_start_options, find_source, read_start

_DESCRIPTION = """\
Generate a video from an image along a camera path. A latent spatial memory keeps what earlier frames showed, so that
the scene looks the same when the camera returns. An image is enough: its focal length is read from EXIF or assumed, and
its depth is guessed. A depth map (--depth) or a depth network (--depth-model) gives a better video.
"""
_EXAMPLES = """\
examples:
  The example scene (pip install 'mirage-kernels[scenes]'); no files are needed:
    mirage generate --scene motorcycle

  One photo; depth is guessed, so the camera orbits by 6 degrees only, and returns:
    mirage generate --image photo.jpg

  One photo with a depth network, turning right by 24 degrees and back:
    mirage generate --image photo.jpg --depth-model FOLDER --actions "l*24 j*24"

  A photo with a depth map in units of 0.2 mm and known intrinsics, at a width of 640 pixels:
    mirage generate --image room.png --depth room_depth.png --depth-scale 0.0002 --intrinsics 495,495,269,169 \\
        --width 640

  A small diffusion model, which is part of this package, generates what the memory does not know:
    mirage generate --image photo.jpg --model nano

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
        allow_abbrev=False,
    )
    add_start_options(generate)
    add_path_options(generate)
    output = generate.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, default=Path("out/generate"), metavar="FOLDER", help="output folder (default: out/generate)"
    )
    output.add_argument(
        "--overwrite", action="store_true", help="replace the run that the output folder holds (default: refuse)"
    )
    output.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="go on with the unfinished run in this output folder, with the options that it began with "
        "(default: begin a new run)",
    )
    add_list_options(output, "walk")
    output.add_argument(
        "--videos",
        type=Path,
        metavar="FOLDER",
        help="put the videos of --list into one folder as well, as NAME.mp4 with prompts.json, which VBench takes "
        "(default: none)",
    )
    output.add_argument(
        "--view",
        action="store_true",
        help="show the memory in a browser while it grows, and walk on by keys when the video is finished, until "
        "Ctrl-C; needs viser (default: no)",
    )
    add_port(output)
    add_video_options(generate)
    add_memory_options(generate)
    add_model_options(generate)
    generate.set_defaults(run=functools.partial(run, parser=generate))


def add_video_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the frames of a video, which a line of a list may have too."""
    video = parser.add_argument_group("video")
    video.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="number of frames, a multiple of 4 plus 1 (default: 97, or all that --cameras, --poses or --actions give)",
    )
    add_size_options(video)
    video.add_argument("--fps", type=int, default=16, metavar="N", help="frames per second (default: 16)")
    video.add_argument(
        "--chunk",
        type=int,
        metavar="N",
        help="frames generated at a time, a multiple of 4 plus 1 (default: 33, or as many as the adapter was trained "
        "with)",
    )
    video.add_argument(
        "--save-frames",
        action="store_true",
        help="also write the frames as images, frames/000000.png and so on (default: no)",
    )
    video.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed, for small models and Wan2.2 (default: 0)"
    )


def _open_memory(
    args: argparse.Namespace, model: LoadedModel, memory: LatentSpatialMemory | None
) -> LatentSpatialMemory:
    """The memory of ``--memory``, which may be loaded on another device already, or an empty one."""
    codec = model.codec
    if memory is None:
        return LatentSpatialMemory(codec.channels, device=model.device, codec=codec.name, **model.memory_options)
    if memory.device.type != model.device.type:
        memory = LatentSpatialMemory.load(args.memory, model.device)
    if memory.codec != codec.name:
        raise DataError(
            f"--memory: expected latents of codec {codec.name!r}, got {args.memory} with latents of {memory.codec!r}"
        )
    return memory


def check_walk(args: argparse.Namespace) -> None:
    """Check the options of a walk without decoding any file.

    Raises:
        DataError: one is out of range, has no effect, or names a file that is missing.
    """
    check_path_options(args)
    check_frames(args.frames)
    try:
        plan_chunks(FRAMES if args.frames is None else args.frames, CHUNK if args.chunk is None else args.chunk)
    except ValueError as error:
        raise DataError(f"--{error}") from None
    check_model_options(args)
    read_filters(args)
    check_start_options(args)
    check_fps(args.fps)
    if not 0 <= args.seed < 1 << 63:
        raise DataError(f"--seed: expected at least 0 and less than 2^63, got {args.seed}")
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"--out: expected a folder, got the file {args.out}")
    for path in (args.out, *args.out.parents):
        if path.is_symlink() and not path.exists():
            raise DataError(f"--out: expected a folder, got {args.out}: {path} is a link to what does not exist")


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """Generate the video, and return a summary of several lines."""
    find_shard(args)
    check_videos(args)
    if args.list is not None and args.resume is None:
        return _run_list(args)
    if args.resume is None:
        return _summary(generate(args), args.out)
    check_alone(args, parser)
    return _summary(resume(args), args.resume)


def add_line_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that a line of a list may have."""
    add_start_options(parser)
    add_path_options(parser)
    add_video_options(parser)
    parser.add_argument("--prompt")
    parser.add_argument("--mask", type=Path)


def _run_list(args: argparse.Namespace) -> str:
    check_inputs(args)
    if args.view:
        raise DataError("--view: expected no --list, got both")
    jobs = read_jobs(args.list, args, add_line_options)
    for job in jobs:
        try:
            check_walk(job.args)
        except DataError as error:
            raise DataError(f"{args.list}: {job.name}: {error}") from None
    load = reuse_model()
    return generate_list(args, jobs, functools.partial(generate, load=load), functools.partial(resume, load=load))


def generate(args: argparse.Namespace, load: Callable[..., LoadedModel] = load_model) -> dict[str, Any]:
    """Run ``mirage generate``.

    Args:
        args: the parsed options.
        load: loads the model.

    Returns:
        The metrics that are written to ``metrics.json``.

    Raises:
        DataError: an option is wrong, or a file is missing or damaged.
    """
    since = getattr(args, "since", time.perf_counter())
    check_walk(args)
    walk = None if args.list is None else digest_walk(args)
    with OutputFolder(args.out, overwrite=args.overwrite) as output:
        given, source = None if args.memory is None else LatentSpatialMemory.load(args.memory), find_source(args)
        model = load(args, source.expected_size(args), "" if given is None else given.codec)
        if args.model == EMBEDDED:
            args.block = model.codec.spatial_stride  # for --resume
        args.chunk = model.chunk if args.chunk is None else args.chunk
        memory = _open_memory(args, model, given)
        memory_options = load_memory_options(args, model.device)
        step = model.codec.spatial_stride * model.chunk_model.patch
        start = read_start(args, source, step, codec=model.codec, memory=memory, estimator=memory_options.estimator,
                           max_side=model.max_side)  # fmt: skip
        scene, is_guessed = start.scene, start.settings.get("image_depth") == GUESSED
        cameras = plan_path(args, scene, is_guessed=is_guessed)
        settings = start.settings | {"frames": len(cameras), "size": list(cameras.size), "chunk": args.chunk}
        settings |= {} if walk is None else {"walk": walk}
        settings |= {"seed": args.seed} | model.settings | memory_options.settings
        video = Run(scene, cameras, memory, model.codec, settings, args.fps, pack_options(args))
        depth = None if scene.depth_from_memory or not scene.depth.any() else scene.depth
        return _roll_out(args, output, video, model, memory_options, since, depth=depth, exclude=scene.exclude)


def resume(args: argparse.Namespace, load: Callable[..., LoadedModel] = load_model) -> dict[str, Any]:
    """Go on with the unfinished run in the folder ``args.resume``.

    Args:
        args: the parsed options.
        load: loads the model.

    Returns:
        The metrics that are written to ``metrics.json``.

    Raises:
        DataError: the folder has no unfinished run, or a file that the run needs is missing or has changed.
    """
    since = getattr(args, "since", time.perf_counter())
    if not args.resume.is_dir():
        raise DataError(f"--resume: expected a folder with an unfinished run, got {args.resume}, which is no folder")
    metrics = read_status(args.resume)
    if metrics is not None and metrics.get("finished", True):
        remove_leftovers(args.resume)
        note(f"{args.resume}: the run is finished, there is nothing to resume")
        return metrics
    walk = None if args.list is None else digest_walk(args)
    with OutputFolder(args.resume, resume=True) as output:
        stored = output.stored
        assert stored is not None
        with unpacking(output.store.folder):
            if walk is not None and stored.info["settings"].get("walk", walk) != walk:
                raise DataError(f"{args.resume}: expected a walk of these options and files, got an unfinished one of "
                                "others; use --overwrite or another --out")  # fmt: skip
            check_options(stored.info["options"], vars(args))
            args = unpack_options(args, stored.info["options"])
            check_model_options(args)  # not the input, which a run needs no more
            model = load(args)
            memory_options = load_memory_options(args, model.device)
            memory = restore_snapshot(unpack_snapshot(stored), model.device)
            scene, cameras = unpack_start(stored)
        info = stored.info
        video = Run(scene, cameras, memory, model.codec, info["settings"], info["fps"], info["options"])
        state = unpack_session(stored)
        return _roll_out(args, output, video, model, memory_options, since, depth=scene.depth, state=state)


def _roll_out(
    args: argparse.Namespace,
    output: OutputFolder,
    video: Run,
    model: LoadedModel,
    memory_options: MemoryOptions,
    since: float,
    **start: Any,
) -> dict[str, Any]:
    """Generate and write all chunks that are not finished yet."""
    stride, cameras = video.codec.temporal_stride, video.cameras
    stored = unpacking(output.store.folder) if "state" in start else nullcontext()
    with ExitStack() as stack:
        viewer = None
        if args.view:
            viewer = stack.enter_context(open_viewer(video.memory, video.codec, str(output.folder), args.port))
        bar = stack.enter_context(tqdm(total=len(cameras), unit="frame", desc="generating"))
        with stored:
            plan = plan_chunks(len(cameras), args.chunk, stride)
            output.start(video, lambda: bar.update())
            session = RolloutSession(
                video.scene.image,
                camera=cameras[:1],
                memory=video.memory,
                codec=video.codec,
                model=model.chunk_model,
                prompt=args.prompt or "",
                generator=torch.Generator(device="cpu").manual_seed(args.seed),
                **model.session_options,
                estimator=memory_options.estimator,
                filters=memory_options.filters,
                on_part=lambda part: _show(bar, f"{part}, {len(video.memory)} points"),
                **start,
            )
        output.spend("load", time.perf_counter() - since)
        bar.update(session.frame + 1 if session.chunks else 0)
        for part in plan[session.chunks :]:
            raise_again()
            with nullcontext() if viewer is None else viewer.lock:
                chunk = session.step(cameras[1 + stride * part.start : 1 + stride * (part.stop - 1)])
            output.add(chunk, session)
            if viewer is not None:
                viewer.show_chunk(chunk)
        raise_again()
        bar.set_postfix_str(f"writing, {len(video.memory)} points, {output.known_share[-1]:.1%} known")
        metrics = output.finish()
        if viewer is not None:
            bar.close()
            walk_on(viewer, session, output.folder)
        return metrics


def _show(bar: tqdm[Any], text: str) -> None:
    """Show what runs now; at once only if nothing else was shown for a while."""
    bar.set_postfix_str(text, refresh=time.time() - bar.last_print_t > 0.5)


def _summary(metrics: dict[str, Any], folder: Path) -> str:
    size, points = (f"{metrics.get(name, 0) / 2**20:.2f} MiB" for name in ("memory_bytes", "point_bytes"))
    lines = [
        f"{folder}: {metrics['frames']} frames, {metrics['points']} points; the memory takes {size}: points {points}, "
        f"past latents {metrics.get('history_bytes', 0) / 2**20:.2f} MiB"
    ]
    if metrics.get("generator") == "fill":
        lines.append(
            "  Holes were filled smoothly by the built-in stand-in; a video model (--model nano) invents content."
        )
    for name, value in metrics.items():
        if name.endswith("_psnr"):
            lines.append(f"  {name:<18} " + ("     -" if value is None else f"{value:6.2f} dB"))
        if name == "loop_psnr":
            lines[-1] += (
                f", over the {metrics.get('loop_psnr_cells', 0):.1%} of cells that the memory knew at the start"
            )
            if metrics.get("lora"):
                lines.append("  (The image is compared with frames whose look the LoRA has changed.)")
    return "\n".join(lines)
