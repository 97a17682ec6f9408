# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage remember``: a memory from a recording."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras, atomic_writes

from ..cameras import read_intrinsics, write_cameras
from ..errors import DataError
from ..evaluation import psnr
from ..filters import ConsistencyFilter, EdgeFilter, Filters, read_filters
from ..io.images import contact_sheet, write_image
from ..memory import LatentSpatialMemory
from ..memory.frames import MAX_FRAMES
from ..recordings import RecordedFrame, Recording, read_recording
from ..rollout import MemoryWriter
from ..viewer.decoded_view import decode_view
from .memory_options import DEFAULT
from .messages import assign, note, warn
from .model_options import EMBEDDED
from .recording_options import (
    LoadedCodec,
    add_codec_options,
    add_size_options,
    check_codec_options,
    check_size_options,
    find_size,
    load_codec,
    parse_bytes,
    pick_frames,
)
from .remember_outputs import Outputs, lock_outputs
from .signals import raise_again

SHEET_COLUMNS = 5
MAX_METERS = 200.0  # a larger median depth is likely to be in millimeters
NO_FILTERS = "none"

_DESCRIPTION = """\
Fill a latent spatial memory with a recording: images with depth maps, camera poses and intrinsics. The layout is
recognized by its content: images/, depth/, poses.txt and K.txt; TUM RGB-D (rgb.txt, depth.txt, groundtruth.txt);
nerfstudio's transforms.json with depth; COLMAP's sparse model; geometry.npz. Frames are read one at a time.
"""
_EXAMPLES = """\
examples:
  All frames, then a video that goes on from the last one, and views along the recorded path:
    mirage remember kitchen --out kitchen.safetensors
    mirage generate --memory kitchen.safetensors --trajectory pan --amount 30
    mirage render --memory kitchen.safetensors --cameras kitchen_cameras.json --out out/kitchen

  100 frames of a TUM recording at half its size, with its own calibration:
    mirage remember rgbd_dataset_freiburg1_desk --out desk.safetensors --frames 100 --height 240 --intrinsics K.txt
"""


def add_remember(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    remember = commands.add_parser(
        "remember",
        help="fill a memory with a recording",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    remember.add_argument("recording", type=Path, metavar="RECORDING", help="folder or file of the recording")
    output = remember.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        default=Path("memory.safetensors"),
        metavar="FILE",
        help="the memory (default: memory.safetensors). Beside it: NAME_contact_sheet.png, NAME_report.json and "
        "NAME_cameras.json",
    )
    output.add_argument("--overwrite", action="store_true", help="replace existing files (default: refuse)")
    _add_frame_options(remember)
    memory = remember.add_argument_group("what is written to the memory")
    memory.add_argument(
        "--filters",
        default=DEFAULT,
        metavar="FILE",
        help="keep unreliable cells out of the memory, and remove points that later frames see through: 'default' for "
        "depth edges and contradictions to earlier frames; a JSON file of filters, such as the slower MotionFilter; or "
        "'none', which writes everything and removes nothing (default: default)",
    )
    memory.add_argument(
        "--max-bytes", metavar="BYTES", help="limit of the points, such as 500M; the oldest are dropped (default: none)"
    )
    memory.add_argument(
        "--history",
        type=int,
        default=256,
        metavar="N",
        help="frames whose latents are kept whole, as references for the video model (default: 256)",
    )
    add_codec_options(remember)
    remember.set_defaults(run=run)


def _add_frame_options(remember: argparse.ArgumentParser) -> None:
    frames = remember.add_argument_group("frames")
    frames.add_argument(
        "--frames",
        metavar="FRAMES",
        help="a number of evenly spaced frames, or START:STOP:STEP as in Python (default: all)",
    )
    add_size_options(frames, "the recording's, cropped to whole cells; scaled down to 384 pixels for a small model")
    frames.add_argument(
        "--intrinsics", type=Path, metavar="FILE", help="intrinsics of all frames (default: the recording's)"
    )
    frames.add_argument(
        "--integer-centers",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether pixel centers have integer coordinates in the calibration, as in OpenCV; then half a pixel is "
        "added to cx and cy (default: yes for folders and TUM, no for the others)",
    )
    frames.add_argument(
        "--depth-scale",
        type=float,
        metavar="METERS",
        help="meters per unit of the values in the depth maps (default: 0.001 for integers, 1 for floats, 0.0002 for "
        "TUM, what transforms.json says)",
    )


def _check(args: argparse.Namespace) -> None:
    """Check the options.

    Raises:
        DataError: an option is out of range.
    """
    check_codec_options(args)
    if args.intrinsics is not None:
        read_intrinsics(args.intrinsics, (1, 1))  # an error now, not one per frame
    if not 1 <= args.history <= MAX_FRAMES:
        raise DataError(f"--history: expected 1 to {MAX_FRAMES}, got {args.history}")
    # The other files are named after it without its ending.
    if args.out.suffix != ".safetensors" and not args.out.is_dir():
        raise DataError(f"--out: expected a name that ends in .safetensors, got {args.out}")


def _read_filters(text: str) -> Filters | None:
    if text == NO_FILTERS:
        return None
    if text == DEFAULT:  # without the motion filter, which takes most of the time and needs frames close to each other
        return Filters([EdgeFilter(), ConsistencyFilter()])
    return read_filters(text)


def run(args: argparse.Namespace) -> str:
    """Fill the memory, and return a summary of several lines."""
    report = remember(args)
    used, refused, size = report["frames_used"], len(report["frames_refused"]), report["bytes"]
    mib = {name: f"{value / 2**20:.2f} MiB" for name, value in size.items()}
    model = "" if args.model == EMBEDDED else f" {assign('--model', args.model)}"
    return (
        f"{args.out}: {used} frames{f' ({refused} refused)' if refused else ''}, {report['points']} points, "
        f"{mib['file']} (points {mib['points']}, history {mib['history']})\n"
        f"go on from the last frame: mirage generate {assign('--memory', args.out)}{model}"
    )


def remember(args: argparse.Namespace) -> dict[str, Any]:
    """Run ``mirage remember``.

    Args:
        args: the parsed options.

    Returns:
        The contents of the report.

    Raises:
        DataError: an option is wrong, or a file is missing or damaged.
    """
    _check(args)
    with lock_outputs(args.out, args.recording, overwrite=args.overwrite) as outputs:
        return _remember(args, outputs)


def _remember(args: argparse.Namespace, outputs: Outputs) -> dict[str, Any]:
    filters, max_bytes = _read_filters(args.filters), parse_bytes("--max-bytes", args.max_bytes)
    recording = read_recording(
        args.recording,
        intrinsics=args.intrinsics,
        integer_centers=args.integer_centers,
        depth_scale=args.depth_scale,
    )
    numbers = pick_frames(args.frames, len(recording))
    size = _first_size(args, recording, numbers)
    loaded = load_codec(args, size=size)
    check_size_options(args, loaded.codec.spatial_stride * loaded.patch)
    if size is not None and max(size) > loaded.max_side and args.height is None and args.width is None:
        args = argparse.Namespace(**{**vars(args), "height" if size[0] > size[1] else "width": loaded.max_side})
    for text in recording.notes:
        note(text)
    if args.frames is not None and args.frames.isdecimal() and int(args.frames) > len(recording):
        note(f"--frames {args.frames}: the recording has {len(recording)} frames; using all of them")
    try:
        memory = LatentSpatialMemory(
            loaded.codec.channels, device=loaded.device, codec=loaded.codec.name, max_bytes=max_bytes,
            max_frames=args.history,
        )  # fmt: skip
    except ValueError as error:
        raise DataError(f"--max-bytes: {str(error).removeprefix('max_bytes: ')}") from None
    filling = _Filling(args, recording, loaded, memory, filters)
    try:
        filling.run(numbers)
    except ValueError as error:
        if max_bytes is None or "budget" not in str(error):
            raise
        raise DataError(
            f"--max-bytes: expected room for the points of one frame, got {args.max_bytes} ({error})"
        ) from None
    if not len(memory):
        warn(f"{args.recording}: no points were written, the memory is empty; the report lists what the filters "
             "excluded, and --depth-scale and --filters change it")  # fmt: skip
    settings = loaded.settings | {
        "recording": str(args.recording), "layout": recording.kind, "frames": args.frames, "size": list(filling.size),
        "filters": [] if filters is None else filters.to_list(), "depth_scale": args.depth_scale,
        "max_bytes": max_bytes, "history": args.history,
    }  # fmt: skip
    report = filling.report(settings)
    sheet = filling.contact_sheet()
    with atomic_writes([outputs.cameras, outputs.sheet, outputs.memory, outputs.report]) as partials:
        cameras_file, sheet_file, memory_file, report_file = partials
        memory.save(memory_file)
        report["bytes"]["file"] = memory_file.stat().st_size
        write_cameras(cameras_file, Cameras.cat(filling.cameras))
        write_image(sheet_file, sheet)
        report_file.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _first_size(args: argparse.Namespace, recording: Recording, numbers: list[int]) -> tuple[int, int] | None:
    """The size (H, W) of the first frame that can be read, scaled by the options; None if there is none."""
    for number in numbers:
        try:
            return find_size(args, recording[number].camera.size, 1)
        except DataError:  # reported when the frames are written
            continue
    return None


class _Filling:
    """Writes the frames of a recording to a memory, one at a time, and keeps what the report needs."""

    def __init__(
        self,
        args: argparse.Namespace,
        recording: Recording,
        loaded: LoadedCodec,
        memory: LatentSpatialMemory,
        filters: Filters | None,
    ) -> None:
        self.args, self.recording, self.codec, self.memory = args, recording, loaded.codec, memory
        self.step = loaded.codec.spatial_stride * loaded.patch
        self.writer = MemoryWriter(memory, filters=filters)
        self.size = (0, 0)
        self.cameras: list[Cameras] = []
        self.frames: list[dict[str, Any]] = []
        self.refused: list[dict[str, str]] = []
        self.seconds = {"read": 0.0, "encode": 0.0, "write": 0.0}
        self._sheet: list[tuple[RecordedFrame, float]] = []

    def run(self, numbers: list[int]) -> None:
        """Read and write the frames.

        Raises:
            DataError: none of them can be read.
        """
        shown = pick_frames(str(SHEET_COLUMNS), len(numbers))
        with tqdm(total=len(numbers), unit="frame", desc="remembering") as bar:
            for position, number in enumerate(numbers):
                started = time.perf_counter()
                try:
                    frame = self._read(number)
                except DataError as error:
                    self.refused.append({"frame": self.recording.names[number], "reason": str(error)})
                else:
                    self.seconds["read"] += time.perf_counter() - started
                    share = self._write(frame)
                    if len(self._sheet) < sum(at <= position for at in shown):
                        self._sheet.append((frame, share))
                bar.update()
                raise_again()
                bar.set_postfix(points=len(self.memory))
        if self.refused and not self.frames:
            first = self.refused[0]
            name = "" if first["frame"] in first["reason"] else f"{first['frame']}: "
            raise DataError(f"{self.recording.path}: expected readable frames, got none of {len(numbers)} "
                            f"({name}{first['reason']})")  # fmt: skip
        if self.refused:
            first = self.refused[0]
            warn(f"{len(self.refused)} of {len(numbers)} frames were refused, the first one because of "
                 f"{first['reason']}; the report lists them")  # fmt: skip

    def _read(self, number: int) -> RecordedFrame:
        crop = self.args.height is None and self.args.width is None
        if self.frames:
            return self.recording.read(number, self.size, crop=crop)
        frame = self.recording[number]  # the first one that can be read: its size is that of all frames
        full = frame.camera.size
        self.size = find_size(self.args, full, self.step)
        self._describe(full, crop)
        median = frame.depth[frame.depth > 0].median().item()
        if median > MAX_METERS:
            warn(f"{frame.name}: the median depth is {median:.4g}; if it is in millimeters, pass --depth-scale 0.001")
        u, v = frame.camera.intrinsics[0, :2, 2].tolist()
        if not (0 < u < full[1] and 0 < v < full[0]):
            warn(
                f"{frame.name}: the principal point ({u:.0f}, {v:.0f}) lies outside of the image of {full[1]}x{full[0]}"
            )
        return self.recording.read(number, self.size, crop=crop)

    def _describe(self, full: tuple[int, int], crop: bool) -> None:
        """Say what is cut off."""
        height, width = self.size
        scale = 1.0 if crop else max(height / full[0], width / full[1])
        cut = 1 - (height / scale) * (width / scale) / (full[0] * full[1])
        if self.size != full:
            how = "cropped" if crop else "scaled" if cut < 0.005 else "scaled and cropped"
            lost = f", {cut:.1%} of the pixels are cut off around the center" if cut >= 0.005 else ""
            note(f"frames of {full[1]}x{full[0]} pixels are {how} to {width}x{height}{lost}")

    def _write(self, frame: RecordedFrame) -> float:
        """Write a frame to the memory, and return the fraction of its cells that the memory showed before."""
        started = time.perf_counter()
        device = self.memory.device
        latents = self.codec.encode(frame.image[None, :, None])[0].to(device)
        encoded = time.perf_counter()
        camera = frame.camera.to(device)
        grid = (latents.shape[-2], latents.shape[-1])
        share = self.memory.read(camera.rescale(grid), latents=False).mask.float().mean().item()
        exclude = None if frame.exclude is None else frame.exclude[None].to(device)
        (result,) = self.writer.write(
            latents,
            frame.image[:, None].to(device),
            camera,
            depth=frame.depth[None].to(device),
            exclude=exclude,
            stamps=[len(self.frames) * self.codec.temporal_stride],
        )
        entry: dict[str, Any] = {"name": frame.name, "known_share": share, "points_added": result.added}
        if self.writer.carve:
            entry["points_removed"] = result.carved
        if result.filter_result is not None:
            entry["cells"] = {name: value for name, value in result.filter_result.fractions.items() if value}
        self.frames.append(entry)
        self.cameras.append(frame.camera)
        self.seconds["encode"] += encoded - started
        self.seconds["write"] += time.perf_counter() - encoded
        return share

    def report(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What ``NAME_report.json`` holds, but for the size of the file."""
        history = sum(t.numel() * t.element_size() for t in self.memory.history.tensors().values())
        points = sum(t.numel() * t.element_size() for t in self.memory.cache.state_dict().values())
        return {
            "command": "mirage remember",
            "frames_used": len(self.frames),
            "frames_refused": self.refused,
            "points": len(self.memory),
            "bytes": {"file": 0, "points": points, "history": history},
            "frames": self.frames,
            "seconds": self.seconds | {"total": sum(self.seconds.values())},
            "settings": settings,
        }

    def contact_sheet(self) -> Tensor:
        """Recorded frames above what the memory shows from their cameras at the end."""
        rows: list[list[Tensor]] = [[], []]
        labels: list[list[str]] = [[], []]
        for frame, share in self._sheet:
            view = decode_view(self.memory, self.codec, frame.camera)
            quality = psnr(view.image, frame.image, view.mask)
            rows[0].append(frame.image)
            labels[0].append(f"{frame.name}: {share:.1%} was known before")
            rows[1].append(view.with_holes)
            labels[1].append(f"memory: {view.known_share:.1%} known, {quality:.1f} dB there")
        return contact_sheet(rows, labels)
