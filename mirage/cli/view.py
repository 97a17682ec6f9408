# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage view``: a memory in a browser, or as a still image."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..cameras.actions import STEP, TURN
from ..errors import DataError
from ..io.images import write_image
from ..memory import LatentSpatialMemory
from ..rollout import RolloutSession
from ..viewer import MemoryViewer, Walk, draw_overview, make_point_cloud
from ..viewer.point_cloud import COLORINGS, Coloring
from ..viewer.vantage import VIEWS
from .frame_size import MAX_SIDE
from .live_view import add_port, codec_of, frames_per_key, open_viewer
from .model_options import EMBEDDED, LoadedModel, add_model_options, check_model_options, load_model
from .start_options import scene_from_memory

FILL = "fill"
DETAIL = 4  # points per side of a cell, in a still image
SIZE = (720, 960)

_DESCRIPTION = """\
Show a memory in a browser: its points, the path of its cameras, what each frame added, and what the memory renders from
where you are. With a model, walk through it by keys. With --out, write a still image, which needs no browser.
"""
_EXAMPLES = """\
examples:
  In the browser (pip install 'mirage-kernels[viewer]'), on this machine:
    mirage view out/generate/memory.safetensors

  With the built-in model: w a s d step, j l turn, i k look up and down:
    mirage view out/generate/memory.safetensors --model fill --save walked.safetensors

  An image of it, from above:
    mirage view out/generate/memory.safetensors --out memory.png --from above
"""


def add_view(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    view = commands.add_parser(
        "view",
        help="show a memory in a browser, or as an image",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    view.add_argument("memory", type=Path, metavar="MEMORY", help="memory of mirage generate or mirage remember")
    add_port(view)
    image = view.add_argument_group("still image")
    image.add_argument("--out", type=Path, metavar="FILE", help="PNG to write, without a browser (default: none)")
    image.add_argument(
        "--from",
        dest="view",
        choices=VIEWS,
        default=VIEWS[0],
        help="look down from behind the first camera, or straight down, without what is above the cameras "
        f"(default: {VIEWS[0]})",
    )
    image.add_argument(
        "--color",
        choices=COLORINGS,
        help="decoded latents, the principal components of the latents, or when a point was written (default: image "
        "for the built-in codec, else components)",
    )
    image.add_argument("--height", type=int, default=SIZE[0], metavar="PIXELS", help=f"(default: {SIZE[0]})")
    image.add_argument("--width", type=int, default=SIZE[1], metavar="PIXELS", help=f"(default: {SIZE[1]})")
    walk = view.add_argument_group("walking")
    walk.add_argument("--step", type=float, metavar="METERS", help=f"per frame (default: {STEP})")
    walk.add_argument("--turn", type=float, metavar="DEGREES", help=f"per frame (default: {TURN:g})")
    walk.add_argument(
        "--save", type=Path, metavar="FILE", help="write the memory with what was walked to, at the end (default: no)"
    )
    add_model_options(view, default=None, embedded=FILL)
    view.set_defaults(run=run)


def _check(args: argparse.Namespace) -> None:
    """Check the options, and give ``--model`` the name that it has in other commands."""
    is_walk, args.model = args.model is not None, EMBEDDED if args.model in (None, FILL) else args.model
    args.walk = is_walk
    check_model_options(args)
    for name in ("step", "turn", "save"):
        if getattr(args, name) is not None and not is_walk:
            raise DataError(f"--{name}: expected --model as well, got none")
    for name in ("step", "turn"):
        if getattr(args, name) is not None and not 0 < getattr(args, name) < float("inf"):
            raise DataError(f"--{name}: expected a number above 0, got {getattr(args, name):g}")
    for name in ("height", "width"):
        if not 16 <= getattr(args, name) <= MAX_SIDE:
            raise DataError(f"--{name}: expected 16 to {MAX_SIDE}, got {getattr(args, name)}")
    if args.out is not None and is_walk:
        raise DataError("--model: expected no --out, which writes a still image, got both")


def run(args: argparse.Namespace) -> str:
    """Show the memory, and return a summary of one line."""
    _check(args)
    memory = LatentSpatialMemory.load(args.memory)
    if args.out is not None:
        return _draw(args, memory)
    if not args.walk:
        with open_viewer(memory, codec_of(memory), args.memory.name, args.port) as viewer:
            viewer.wait()
        return f"{args.memory}: {len(memory)} points"
    model = load_model(args, codec=memory.codec)
    if memory.device.type != model.device.type:
        memory = LatentSpatialMemory.load(args.memory, model.device)
    session = _start(args, memory, model)
    before = len(memory)
    with open_viewer(memory, model.codec, args.memory.name, args.port) as viewer:
        chunks = _walk(args, viewer, session)
    if args.save is not None:
        memory.save(args.save)
    where = "not saved" if args.save is None else f"saved to {args.save}"
    return f"{args.memory}: {chunks} chunks walked, {len(memory) - before} points added, {where}"


def _draw(args: argparse.Namespace, memory: LatentSpatialMemory) -> str:
    codec = codec_of(memory)
    color: Coloring = args.color or ("components" if codec is None else "image")
    if color == "image" and codec is None:
        raise DataError(f"--color: expected 'components' or 'frame' for latents of {memory.codec!r}, got 'image'")
    cloud = make_point_cloud(memory, codec, color=color, detail=DETAIL)
    image = draw_overview(memory, cloud, (args.height, args.width), view=args.view)
    write_image(args.out, image)
    cameras = memory.history.cameras
    return f"{args.out}: {len(memory)} points, {0 if cameras is None else len(cameras)} cameras"


def _start(args: argparse.Namespace, memory: LatentSpatialMemory, model: LoadedModel) -> RolloutSession:
    """A session that goes on from the memory's last frame."""
    if memory.codec != model.codec.name:
        raise DataError(f"--model: expected one with latents of {memory.codec!r}, got {model.codec.name!r}")
    scene = scene_from_memory(memory, model.codec)
    return RolloutSession(
        scene.image,
        None,
        scene.keys,
        memory=memory,
        codec=model.codec,
        model=model.chunk_model,
        prompt=args.prompt or "",
        **model.session_options,
    )


def _walk(args: argparse.Namespace, viewer: MemoryViewer, session: RolloutSession) -> int:
    """Walk until Ctrl-C, and return the number of chunks."""
    step, turn = (STEP if args.step is None else args.step), (TURN if args.turn is None else args.turn)
    with Walk(viewer, session, frames=frames_per_key(session.codec), step=step, turn=turn) as walk:
        viewer.wait()
    return walk.chunks
