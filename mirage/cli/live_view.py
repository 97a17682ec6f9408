# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The viewer of ``mirage view`` and of ``mirage generate --view``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DataError
from ..memory import LatentSpatialMemory
from ..models.embedded import DctCodec
from ..rollout import Codec, RolloutSession
from ..viewer import MemoryViewer, Walk
from ..viewer.viewer import PORT
from .messages import note
from .recording_options import memory_block


def add_port(group: Any) -> None:
    """Add ``--port`` to an argument group."""
    group.add_argument(
        "--port",
        type=int,
        default=PORT,
        metavar="N",
        help=f"port of the page in the browser; the next free one is taken (default: {PORT})",
    )


def codec_of(memory: LatentSpatialMemory) -> DctCodec | None:
    """The codec of a memory if it needs no weights; None for another."""
    block = memory_block(memory.codec)
    return None if block is None else DctCodec(block, temporal_stride=1)


def open_viewer(memory: LatentSpatialMemory, codec: Codec | None, title: str, port: int) -> MemoryViewer:
    """Serve a page with a memory on this machine, and say where.

    Args:
        memory: the memory.
        codec: decodes its latents; None for their principal components.
        title: of the page.
        port: see :class:`mirage.viewer.MemoryViewer`.

    Raises:
        DataError: the package viser is not installed, or the port cannot be used.
    """
    if not 0 <= port < 1 << 16:
        raise DataError(f"--port: expected 0 to 65535, got {port}")
    try:
        viewer = MemoryViewer(memory, codec, decodes_cells=isinstance(codec, DctCodec), title=title, port=port)
    except ImportError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"--port: expected a free port, got {port} ({error.strerror})") from None
    note(f"the memory is shown on {viewer.url}")
    return viewer


def walk_on(viewer: MemoryViewer, session: RolloutSession, folder: Path) -> None:
    """After a run is finished, keep its viewer open and walk by keys until Ctrl-C.

    Args:
        viewer: of the run.
        session: of the run.
        folder: where its files are.
    """
    note(f"the files in {folder} are complete; {viewer.url} stays open to walk on by keys, which changes no file; end "
         "with Ctrl-C")  # fmt: skip
    with Walk(viewer, session, frames=frames_per_key(session.codec)):
        viewer.wait()


def frames_per_key(codec: Codec) -> int:
    """Frames for one key: at least 8, a multiple of the codec's temporal stride."""
    return -(-8 // codec.temporal_stride) * codec.temporal_stride
