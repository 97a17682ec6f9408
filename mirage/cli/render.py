# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage render``: what a memory knows, seen from any cameras."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras

from ..cameras import CameraController, read_cameras, read_poses, rebase, write_cameras
from ..cameras.actions import STEP, TURN
from ..data.scenes import Scene
from ..errors import DataError
from ..io.files import read_json
from ..io.images import contact_sheet, to_pil, write_image
from ..io.video import VideoWriter
from ..memory import LatentSpatialMemory
from ..rollout import Codec
from ..viewer.decoded_view import DecodedView, decode_view
from .messages import warn
from .output_lock import LOCK, OutputLock
from .path_options import (
    FRAMES,
    add_path_options,
    check_fps,
    check_frames,
    find_path_source,
    note_pose_convention,
    plan_path,
)
from .recording_options import (
    add_codec_options,
    add_size_options,
    check_codec_options,
    check_size_options,
    find_size,
    load_codec,
)
from .signals import raise_again

SHEET_COLUMNS = 5
PNG_METERS = 65.535  # the largest depth of a 16-bit PNG in millimeters
MAX_PIXEL_ASPECT = 0.02  # relative difference of fx and fy
COMMAND = "mirage render"
PARTIAL = ".render.partial"  # folder of results that are not complete
OUTPUTS = ("images", "depth", "video.mp4", "contact_sheet.png", "cameras.json", "report.json")

_DESCRIPTION = """\
Show what a memory knows from any cameras: images with a checkerboard where nothing is known, depth maps, and a video.
Nothing is generated, and the memory is not changed.
"""
_EXAMPLES = """\
examples:
  Along the path of the recording that `mirage remember` has read:
    mirage render --memory kitchen.safetensors --cameras kitchen_cameras.json --out out/kitchen

  Turning around at the memory's last camera:
    mirage render --memory kitchen.safetensors --trajectory pan --amount 360 --one-way --frames 120 --out out/around
"""


def add_render(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    render = commands.add_parser(
        "render",
        help="show what a memory knows, from any cameras",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = render.add_argument_group("input")
    source.add_argument(
        "--memory",
        type=Path,
        required=True,
        metavar="FILE",
        help="memory of mirage remember or mirage generate (no default: required)",
    )
    add_path_options(render, scenes=False)
    source.add_argument(
        "--from-last",
        action="store_true",
        help="move the path of --cameras or --poses so that it begins at the memory's last camera (default: the file "
        "is in the coordinates of the memory)",
    )
    source.add_argument(
        "--integer-centers",
        action="store_true",
        help="pixel centers have integer coordinates in the file of --cameras: add half a pixel to cx and cy "
        "(default: they are at half pixels)",
    )
    output = render.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, default=Path("out/render"), metavar="FOLDER", help="output folder (default: out/render)"
    )
    output.add_argument(
        "--overwrite", action="store_true", help=f"replace what an earlier {COMMAND} wrote (default: refuse)"
    )
    output.add_argument(
        "--frames", type=int, metavar="N", help=f"number of views (default: {FRAMES}, or all that the path gives)"
    )
    add_size_options(output, "the memory's")
    output.add_argument("--fps", type=int, default=16, metavar="N", help="frames per second of the video (default: 16)")
    output.add_argument(
        "--depth-format",
        choices=("png", "npy"),
        default="png",
        help="depth maps as 16-bit PNG in millimeters, up to 65 m, or as .npy in the unit of the memory (default: png)",
    )
    add_codec_options(render)
    # plan_path looks at these options of `mirage generate` too.
    render.set_defaults(run=run, scene=None, geometry=None, image=None, intrinsics=None, depth=None, fov=None)


def _check(args: argparse.Namespace) -> str:
    """Check the options, and return where the path comes from."""
    source = find_path_source(args)
    if args.from_last and source not in ("cameras", "poses"):
        raise DataError(f"--from-last: expected --cameras or --poses, got the path {source}, which begins there anyway")
    check_codec_options(args)
    check_fps(args.fps)
    check_frames(args.frames)
    _check_folder(args.out, args.overwrite)
    return source


def _check_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"--out: expected a folder, got the file {folder}")
    if folder.is_dir() and any(path for path in folder.iterdir() if not _is_leftover(path.name)):
        if not _is_ours(folder):
            raise DataError(f"--out: expected a new or empty folder, got {folder} with other files")
        if not overwrite:
            raise DataError(f"--out: expected a new or empty folder, got {folder} with rendered views; --overwrite "
                            "replaces them")  # fmt: skip


def _is_leftover(name: str) -> bool:
    """Whether an entry of an output folder belongs to a process that still runs, or was killed."""
    return name in (LOCK, PARTIAL) or re.fullmatch(r"\.render\.\d+\.partial", name) is not None


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds the results of this command, whole or half-moved, and so may be replaced."""
    if (folder / PARTIAL).is_dir() and all(p.name in OUTPUTS or _is_leftover(p.name) for p in folder.iterdir()):
        return True
    try:
        report = read_json(folder / "report.json", "a report")
    except DataError:
        return False
    return isinstance(report, dict) and report.get("command") == COMMAND


def run(args: argparse.Namespace) -> str:
    """Render the views, and return a summary of one line."""
    report = render(args)
    shares = report["known_share"]
    return (
        f"{args.out}: {len(shares)} views of {report['settings']['size'][1]}x{report['settings']['size'][0]}, "
        f"{sum(shares) / len(shares):.1%} known on average, {min(shares):.1%} at least, {max(shares):.1%} at most"
    )


def render(args: argparse.Namespace) -> dict[str, Any]:
    """Run ``mirage render``.

    Args:
        args: the parsed options.

    Returns:
        The contents of the report.

    Raises:
        DataError: an option is wrong, or a file is missing or damaged.
    """
    source = _check(args)
    memory = LatentSpatialMemory.load(args.memory)
    loaded = load_codec(args, memory.codec)
    if loaded.device != memory.device:
        memory = LatentSpatialMemory.load(args.memory, loaded.device)
    if memory.history.cameras is None:
        raise DataError(f"--memory: expected a memory with frames, got {args.memory} with none")
    codec, step = loaded.codec, loaded.codec.spatial_stride
    check_size_options(args, step)
    last = memory.history.cameras[-1].to("cpu")
    recorded = (last.size[0] * step, last.size[1] * step)
    size = find_size(args, recorded, step)
    start = cover(last.rescale(recorded), size)
    cameras = _plan(args, source, start, memory, codec)
    settings = loaded.settings | {"memory": str(args.memory), "size": list(size), "path": source, "fps": args.fps}
    with _output_folder(args.out, args.overwrite) as partial:
        report = _render_all(args, memory, codec, cameras, partial)
        report["settings"] = settings
        (partial / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def cover(camera: Cameras, size: tuple[int, int]) -> Cameras:
    """Scale a camera with square pixels to another size: the view is cropped around its center if the aspect differs.

    Args:
        camera: one camera.
        size: (H, W) of the result.

    Returns:
        The camera over (H, W).

    Example:
        >>> import torch
        >>> camera = Cameras(torch.tensor([[60.0, 0, 40], [0, 60, 30], [0, 0, 1]]), torch.eye(4), (60, 80))
        >>> cover(camera, (120, 120)).intrinsics[0].tolist()
        [[120.0, 0.0, 60.0], [0.0, 120.0, 60.0], [0.0, 0.0, 1.0]]
    """
    scale = max(size[0] / camera.size[0], size[1] / camera.size[1])
    scaled = (max(size[0], round(camera.size[0] * scale)), max(size[1], round(camera.size[1] * scale)))
    return camera.rescale(scaled).crop((scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2, size)


def _plan(args: argparse.Namespace, source: str, start: Cameras, memory: LatentSpatialMemory, codec: Codec) -> Cameras:
    """The cameras to render, in the coordinates of the memory."""
    if source in ("cameras", "poses"):
        cameras = _read_file(args, source, start)
        if args.frames is not None and args.frames > len(cameras):
            raise DataError(f"--frames: expected at most the {len(cameras)} cameras of --{source}, got {args.frames}")
        note_pose_convention(args, getattr(args, source))
        return cameras[: args.frames]
    if source == "actions":
        step, turn = (STEP if args.step is None else args.step), (TURN if args.turn is None else args.turn)
        cameras = Cameras.cat([start, CameraController(start, step=step, turn=turn).go(args.actions)])
        return cameras[: args.frames]
    view = decode_view(memory, codec, start)
    return plan_path(args, Scene(view.image, view.depth, start, {}))


def _read_file(args: argparse.Namespace, source: str, start: Cameras) -> Cameras:
    """The cameras of ``--cameras`` or ``--poses``; without intrinsics in the file, they take the memory's."""
    world2cam, k = args.pose_convention != "c2w", start.intrinsics[0]
    if source == "poses":
        cameras = Cameras(k, read_poses(args.poses, world2cam=world2cam), start.size)
    else:
        try:
            cameras = read_cameras(args.cameras, start.size, world2cam=world2cam, integer_centers=args.integer_centers)
        except DataError as error:
            if "expected intrinsics" not in str(error):
                raise
            cameras = read_cameras(args.cameras, start.size, intrinsics=k, world2cam=world2cam)
    fx, fy = cameras.intrinsics[0, 0, 0].item(), cameras.intrinsics[0, 1, 1].item()
    if abs(fx / fy - 1) > MAX_PIXEL_ASPECT:
        warn(f"{args.cameras}: fx is {fx:.0f} and fy {fy:.0f} at {start.size[1]}x{start.size[0]}: the views are "
             "stretched; pass --height and --width with the aspect of these cameras")  # fmt: skip
    cameras = rebase(cameras, start) if args.from_last else cameras
    scale = getattr(args, "path_scale", None)  # of paths in another unit than the memory's
    if scale is None:
        return cameras
    poses = cameras.cam2world.double()
    poses[:, :3, 3] = poses[0, :3, 3] + scale * (poses[:, :3, 3] - poses[0, :3, 3])
    return Cameras(cameras.intrinsics, poses, cameras.size)


def _render_all(
    args: argparse.Namespace, memory: LatentSpatialMemory, codec: Codec, cameras: Cameras, folder: Path
) -> dict[str, Any]:
    """Write all views to a folder, and return the known share of each."""
    for name in ("images", "depth"):
        (folder / name).mkdir()
    shares, shown, beyond = [], [], 0
    picks = {round(k * (len(cameras) - 1) / max(SHEET_COLUMNS - 1, 1)) for k in range(SHEET_COLUMNS)}
    with VideoWriter(folder / "video.mp4", args.fps) as video:
        for n in tqdm(range(len(cameras)), unit="view", desc="rendering"):
            raise_again()
            view = decode_view(memory, codec, cameras[n])
            image = view.with_holes
            to_pil(image).save(folder / "images" / f"{n:05}.png")  # the folder is hidden until all are there
            beyond += _write_depth(folder / "depth" / f"{n:05}.{args.depth_format}", view)
            video.write(image)
            shares.append(round(view.known_share, 6))
            if n in picks:
                shown.append((n, view.known_share, image))
    if beyond:
        warn(f"{beyond} depth maps have depth beyond {PNG_METERS:g} m, which a 16-bit PNG in millimeters cannot hold: "
             "it is 0 there; --depth-format npy keeps it")  # fmt: skip
    if max(shares) == 0:
        warn("the memory shows nothing in any view; the cameras must be in the coordinates of the memory, or pass "
             "--from-last")  # fmt: skip
    labels = [f"view {n}: {share:.1%} known" for n, share, _ in shown]
    write_image(folder / "contact_sheet.png", contact_sheet([[image for _, _, image in shown]], [labels]))
    write_cameras(folder / "cameras.json", cameras)
    raise_again()
    return {"command": COMMAND, "views": len(cameras), "points": len(memory), "known_share": shares}


def _write_depth(path: Path, view: DecodedView) -> bool:
    """Write a depth map, and return whether a part of it was too far for the format."""
    if path.suffix == ".npy":
        np.save(path, view.depth.numpy())
        return False
    from PIL import Image

    too_far = view.depth > PNG_METERS
    millimeters: Tensor = (torch.where(too_far, 0, view.depth) * 1000).round()
    Image.fromarray(millimeters.numpy().astype(np.uint16)).save(path)
    return bool(too_far.any())


@contextmanager
def _output_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden folder in ``folder``. At the end its content is moved up, the report last; if the block raises, or
    a file cannot be moved, everything is as before."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = OutputLock(folder)
    partial, moved = folder / PARTIAL, []
    try:
        _check_folder(folder, overwrite)  # another process may have written it before it released the lock
        for path in folder.glob(".render*.partial"):  # of a process that was killed: it has released its lock
            shutil.rmtree(path, ignore_errors=True)
        partial.mkdir()
        yield partial
        old = partial / "old"
        old.mkdir()
        try:
            for name in OUTPUTS:
                moved.append(name)
                if (folder / name).exists() or (folder / name).is_symlink():
                    (folder / name).replace(old / name)
                (partial / name).replace(folder / name)
        except BaseException:
            for name in reversed(moved):
                if not (partial / name).exists():
                    (folder / name).replace(partial / name)
                if (old / name).exists():
                    (old / name).replace(folder / name)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        lock.release()
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
