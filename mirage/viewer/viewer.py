# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory in a browser."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from mirage_kernels import Cameras, check

from ..errors import first_line, require
from ..filters import FilterResult, overlay
from ..io.images import to_bytes
from ..memory import LatentSpatialMemory
from ..rollout import Chunk, Codec
from .colors import ComponentColors
from .controls import Controls
from .memory_read import frame_camera, read_image
from .point_cloud import Coloring, make_point_cloud
from .poses import browser_camera, to_quaternion, vertical_fov
from .scene import CameraNodes, PointGroups
from .vantage import FOV, find_vantage, up_direction
from .worker import Worker

if TYPE_CHECKING:
    import viser

PORT = 8080
MAX_POINTS = 400_000  # that a browser without a fast GPU can turn smoothly; MAX_DETAIL is reduced to it
MAX_DETAIL = 4

_logger = logging.getLogger(__name__)


class MemoryViewer:
    """Shows a memory in a browser: its points, the cameras of its frames, and what it renders.

    It serves a page on a port, with no connection to any other machine. Call :meth:`update` after the memory has
    changed. Browsers may come and go; all of them see the same settings, and each has a camera of its own.

    Args:
        memory: the memory.
        codec: decodes the memory's latents; None shows their principal components instead.
        decodes_cells: whether the codec can decode single cells, as :class:`mirage.models.embedded.DctCodec` can, to
            color the points. Otherwise only what is read from a camera is decoded.
        title: at the top of the controls.
        host: address to listen on; ``"0.0.0.0"`` lets other machines connect.
        port: port to listen on; the next free one is taken.

    Attributes:
        lock: held while the codec is used. Hold it to use the same codec in another thread.
        url: where the page is.

    Raises:
        ImportError: viser is not installed.
        OSError: the address cannot be used.
        TypeError, ValueError: an argument has the wrong type or value.
    """

    def __init__(
        self,
        memory: LatentSpatialMemory,
        codec: Codec | None = None,
        *,
        decodes_cells: bool = False,
        title: str = "memory",
        host: str = "127.0.0.1",
        port: int = PORT,
    ) -> None:
        require("the viewer", "viewer", "viser")
        check.integer("port", port, 0, 65535)
        self.memory, self.codec, self.lock = memory, codec, threading.RLock()
        self._colorings: list[Coloring] = ["components", "frame"]
        if decodes_cells and codec is not None:
            self._colorings.insert(0, "image")
        self._components: ComponentColors | None = None
        self._reads: dict[int, viser.GuiImageHandle] = {}
        self._server = _start_server(host, port)
        self.url = f"http://{'localhost' if host == '0.0.0.0' else host}:{self._server.get_port()}"
        self._worker = Worker(lambda error: _logger.warning("viewer: %s", first_line(error)))
        self._points = PointGroups(self._server.scene)
        self._cameras = CameraNodes(self._server.scene, self._fly_of_event)
        self.controls = Controls(self._server, title, self._colorings)
        self._look_at_all()
        self._connect()
        self.update()

    def _connect(self) -> None:
        """Have the controls and the browsers call this object."""
        controls = self.controls
        controls.coloring.on_update(lambda _: self._worker.submit("points", self._update_points))
        controls.frame.on_update(lambda _: self._show_frames())
        controls.only.on_update(lambda _: self._show_frames())
        controls.show_cameras.on_update(lambda _: self._cameras.show(controls.show_cameras.value))
        controls.fly.on_click(lambda event: self._fly_of_event(event, int(controls.camera.value)))
        controls.overview.on_click(self._fly_out)
        self._server.on_client_connect(self._add_client)
        self._server.on_client_disconnect(self._remove_client)

    def update(self, text: str = "") -> None:
        """Show the memory as it is now. It returns at once; a thread does the work.

        Args:
            text: status to show.
        """
        self.controls.set_status(text)
        self._worker.submit("points", self._update_points)
        self._worker.submit("cameras", self._update_cameras)
        for client in self._server.get_clients().values():
            self._read(client)

    def show_chunk(self, chunk: Chunk) -> None:
        """Show the memory after a chunk was written, the chunk's last frame, and why cells were not written.

        Args:
            chunk: the last one.
        """
        if chunk.frames.shape[1]:
            image = chunk.frames[:, -1].detach().float().cpu()
            results = [written.filter_result for written in chunk.write_back if written.filter_result is not None]
            if results:
                image = overlay(image, FilterResult(*(part.cpu() for part in results[-1])))
            self.controls.show_frame(to_bytes(image), chunk.start + chunk.frames.shape[1] - 1, results[-1:])
        added = sum(chunk.written)
        count = len(chunk.cameras) - (chunk.start == 0)  # the first frame is the start image
        self.update(f"{count} frames generated, {added} points added")
        if self.controls.follow.value:
            for client in self._server.get_clients().values():
                self.fly(client, chunk.cameras[-1:])

    def fly(self, client: viser.ClientHandle, camera: Cameras) -> None:
        """Move a browser's camera.

        Args:
            client: the browser.
            camera: one camera, world units. Its vertical field of view is taken over; in the scene, though not in
                what is read, the principal point is at the center.
        """
        pose = self.memory.history.to_local(camera).cam2world[0].cpu()
        self._move(client, pose, vertical_fov(camera))

    def _move(self, client: viser.ClientHandle, pose: torch.Tensor, fov: float) -> None:
        with client.atomic():
            client.camera.position = pose[:3, 3].double().numpy()
            client.camera.wxyz = to_quaternion(pose[:3, :3])
            client.camera.fov = fov
        self._read(client)

    def close(self) -> None:
        """Stop serving."""
        self._worker.close()
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def wait(self, until: Callable[[], object] = lambda: None) -> None:
        """Serve until Ctrl-C.

        Args:
            until: called ten times a second; what it raises ends the wait.
        """
        try:
            while True:
                until()
                time.sleep(0.1)
        except KeyboardInterrupt:
            return

    def __enter__(self) -> MemoryViewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look_at_all(self) -> None:
        """Begin with the whole memory in view."""
        vantage = find_vantage(self.memory)
        self._distance = float((vantage.target - vantage.eye).norm())
        history = self.memory.history
        self._server.scene.set_up_direction(tuple(up_direction(history.cameras).tolist()))
        initial = self._server.initial_camera
        initial.position, initial.look_at = vantage.eye.numpy(), vantage.target.numpy()
        initial.up, initial.fov = tuple(vantage.up.tolist()), FOV

    def _fly_out(self, event: Any) -> None:
        vantage = find_vantage(self.memory)
        if event.client is not None:
            self._move(event.client, vantage.camera((3, 4)).cam2world[0], FOV)

    def _fly_of_event(self, event: Any, number: int) -> None:
        cameras = self.memory.history.cameras
        if event.client is not None and cameras is not None and number < len(cameras):
            self.fly(event.client, cameras[number])

    def _update_points(self) -> None:
        color = self._colorings[self._colorings.index(self.controls.coloring.value)]
        detail = MAX_DETAIL
        while detail > 1 and detail**2 * len(self.memory) > MAX_POINTS:
            detail -= 1
        with self.lock:
            cloud = make_point_cloud(self.memory, self.codec, color=color, detail=detail)
        at_end = not self._points.stamps or self.controls.is_at_end()
        self._points.update(cloud, detail**2)
        self.controls.set_frames(self._points.stamps, self._points.counts, at_end=at_end)
        self._show_frames()

    def _update_cameras(self) -> None:
        history = self.memory.history
        cameras = history.cameras
        self._cameras.update(None if cameras is None else history.to_local(cameras).to("cpu"), self._distance)
        self.controls.set_cameras(0 if cameras is None else len(cameras))

    def _show_frames(self) -> None:
        number, only = int(self.controls.frame.value), self.controls.only.value
        self._points.show(number, only=only)
        self.controls.describe_frame(self._points.stamps, self._points.counts)

    def _add_client(self, client: viser.ClientHandle) -> None:
        """Give a browser an image of what the memory renders from its camera."""
        size = frame_camera(self.memory, self.codec).size
        black = to_bytes(torch.zeros(3, *size, dtype=torch.float32, device="cpu"))
        with self.controls.read_folder:
            self._reads[client.client_id] = client.gui.add_image(black, label="memory, read from here")
        client.camera.on_update(lambda _: self._read(client))
        self._read(client)

    def _remove_client(self, client: viser.ClientHandle) -> None:
        self._reads.pop(client.client_id, None)

    def _read(self, client: viser.ClientHandle) -> None:
        self._worker.submit(client.client_id, lambda: self._read_now(client))

    def _read_now(self, client: viser.ClientHandle) -> None:
        shown, camera = self._reads.get(client.client_id), client.camera
        if shown is None:
            return
        place = browser_camera(
            camera.wxyz.tolist(),
            camera.position.tolist(),
            camera.fov,
            frame_camera(self.memory, self.codec),
            self.memory.history.origin,
        )
        with self.lock:
            if self.codec is None and self._components is None:
                self._components = ComponentColors(self.memory.cache.features())
            read = read_image(self.memory, self.codec, place, self._components)
        shown.image = to_bytes(read.image)
        shown.label = f"memory, read from here: {read.known_share:.1%} known"


def _start_server(host: str, port: int) -> viser.ViserServer:
    """Start a server without a word on standard output, where the summary of a command goes."""
    import viser

    with contextlib.redirect_stdout(io.StringIO()):
        return viser.ViserServer(host, port, label="Mirage", verbose=False)
