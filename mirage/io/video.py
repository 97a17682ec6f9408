# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Writing videos."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..errors import missing_package
from .images import to_bytes


class VideoWriter:
    """Writes frames to an MP4 file (H.264), as a context manager.

    The same frames always give the same bytes.

    Args:
        path: the file.
        fps: frames per second.

    Raises:
        ImportError: PyAV is not installed.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with VideoWriter(Path(folder) / "video.mp4", fps=16) as video:
        ...         for value in torch.linspace(0, 1, 8):
        ...             video.write(value.expand(3, 64, 64))
        ...     (Path(folder) / "video.mp4").stat().st_size > 0
        True
    """

    def __init__(self, path: str | Path, fps: int) -> None:
        try:
            import av
        except ImportError as error:
            raise missing_package("writing videos", "av", "pipeline") from error
        self._new_frame = av.VideoFrame.from_ndarray
        self._container = av.open(str(path), "w", format="mp4")
        # x264's macroblock tree reads uninitialized memory, which makes the bytes depend on what the process did
        # before. The output has not been tested to be reproducible with more than one thread.
        options = {"crf": "18", "threads": "1", "mbtree": "0"}
        self._stream = self._container.add_stream("libx264", rate=fps, options=options)
        self._stream.pix_fmt = "yuv420p"
        self._size: tuple[int, int] | None = None

    def write(self, image: Tensor) -> None:
        """Write the next frame.

        Args:
            image: (3, H, W), values 0 to 1, the same size for all frames. A last odd row or column is cut off, because
                the format needs even sizes.
        """
        height, width = (side // 2 * 2 for side in image.shape[-2:])
        if self._size is None:
            self._size = self._stream.height, self._stream.width = height, width
        frame = self._new_frame(to_bytes(image[:, :height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._size is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
