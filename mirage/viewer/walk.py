# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Walking through a memory by keys: each key generates the next frames."""

from __future__ import annotations

import copy
import functools
from types import TracebackType

from mirage_kernels import check

from ..cameras import CameraController
from ..cameras.actions import STEP, TURN
from ..errors import first_line
from ..rollout import RolloutSession
from .viewer import MemoryViewer
from .worker import Worker

FRAMES = 8  # per key


class Walk:
    """Lets a browser steer a rollout session by keys or action strings.

    A key that is pressed while frames are generated waits; of several ones, only the last is followed.

    Args:
        viewer: shows the session's memory.
        session: generates the frames, from its last camera on.
        frames: frames per key, a multiple of the codec's temporal stride.
        step: world units per frame.
        turn: degrees per frame.

    Attributes:
        chunks: number of chunks generated.
    """

    def __init__(
        self,
        viewer: MemoryViewer,
        session: RolloutSession,
        *,
        frames: int = FRAMES,
        step: float = STEP,
        turn: float = TURN,
    ) -> None:
        stride = session.codec.temporal_stride
        if check.integer("frames", frames, 1) % stride:
            raise check.value_error("frames", f"a multiple of {stride}", frames)
        self._viewer, self._session, self.chunks = viewer, session, 0
        self._controller = CameraController(session.camera.to("cpu"), step=step, turn=turn)
        self._worker = Worker(lambda error: viewer.controls.set_status(f"not possible: {first_line(error)}"))
        gui = viewer.controls.add_walk(frames)
        for command, actions in gui.keys:
            command.on_trigger(functools.partial(self._on_key, actions))
        gui.go.on_click(lambda _: self._submit(gui.actions.value))

    def _on_key(self, actions: str, _event: object) -> None:
        self._submit(actions)

    def _submit(self, actions: str) -> None:
        self._worker.submit("walk", lambda: self.go(actions))

    def go(self, actions: str) -> None:
        """Generate the frames of an action string and show them. If that fails, the camera stays where it was.

        Args:
            actions: see :func:`mirage.cameras.parse_actions`.

        Raises:
            ValueError: the string cannot be parsed, or its frames are no multiple of the codec's temporal stride.
        """
        controller = copy.copy(self._controller)
        cameras = controller.go(actions)
        self._viewer.controls.set_status(f"generating {len(cameras)} frames: {actions}")
        with self._viewer.lock:
            chunk = self._session.step(cameras)
        self._controller = controller
        self.chunks += 1
        self._viewer.show_chunk(chunk)

    def close(self) -> None:
        """Wait for the frames that are being generated; nothing more is generated."""
        self._worker.close()

    def __enter__(self) -> Walk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
