# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Video files."""

from __future__ import annotations

from pathlib import Path

import av
from torch import Tensor

from .images import to_bytes


class VideoWriter:
    """Pictures (3, H, W), one after the other, to an mp4 (H.264). A last odd row or column is cut: the format wants
    even sides. Use as a context manager."""

    def __init__(self, path: str | Path, fps: int) -> None:
        self._container = av.open(str(path), "w", format="mp4")
        # The same pictures give the same file. x264's macroblock tree reads memory that it never wrote, so with it the
        # bytes depend on what the process did before; more than one thread is not tested.
        options = {"crf": "18", "threads": "1", "mbtree": "0"}
        self._stream = self._container.add_stream("libx264", rate=fps, options=options)
        self._stream.pix_fmt = "yuv420p"
        self._size: tuple[int, int] | None = None

    def write(self, picture: Tensor) -> None:
        height, width = (side // 2 * 2 for side in picture.shape[-2:])
        if self._size is None:
            self._size = self._stream.height, self._stream.width = height, width
        frame = av.VideoFrame.from_ndarray(to_bytes(picture[:, :height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._size is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
