# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The 3D scene in the browser: points by the frame that added them, camera path and frusta."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mirage_kernels import Cameras

from .point_cloud import PointCloud
from .poses import to_quaternion, vertical_fov

if TYPE_CHECKING:
    import viser

MAX_GROUPS = 64  # of points that are shown and hidden together
MAX_FRUSTA = 48
POINT_SCALE = 1.3  # side of a point in sides of its square: seen at an angle, squares that just touch leave gaps
FRUSTUM_SCALE = 0.03  # of the distance of the scene
PATH_COLOR, FRUSTUM_COLOR, LAST_COLOR = (230, 60, 30), (60, 60, 60), (230, 60, 30)


class PointGroups:
    """The points of a memory, grouped by the frames that added them, so that each group can be shown and hidden.

    Args:
        scene: of the server.
    """

    def __init__(self, scene: viser.SceneApi) -> None:
        self._scene = scene
        self._nodes: list[viser.PointCloudHandle] = []
        self._shown: list[PointCloud] = []
        self.stamps: list[int] = []
        self.counts: list[int] = []

    def update(self, cloud: PointCloud, per_row: int) -> None:
        """Show the points of a memory that may have changed. Groups that are as before are not sent again.

        Args:
            cloud: all points.
            per_row: points per row of the memory.
        """
        stamps = torch.unique(cloud.stamp)
        step = max(-(-len(stamps) // MAX_GROUPS), 1)
        last = stamps[step - 1 :: step].tolist()
        if len(stamps) and (not last or last[-1] != int(stamps[-1])):
            last.append(int(stamps[-1]))
        group = torch.bucketize(cloud.stamp, torch.tensor(last, dtype=torch.int64, device="cpu"))
        parts = [cloud.select(group == number) for number in range(len(last))]
        self.stamps, self.counts = last, [len(part.xyz) // per_row for part in parts]
        for number, part in enumerate(parts):
            if number < len(self._shown) and all(map(torch.equal, part, self._shown[number])):
                continue
            node = self._add(f"/memory/{number:03}", part)
            self._nodes[number : number + 1] = [node]
        for node in self._nodes[len(parts) :]:
            node.remove()
        self._nodes, self._shown = self._nodes[: len(parts)], parts

    def _add(self, name: str, part: PointCloud) -> viser.PointCloudHandle:
        return self._scene.add_point_cloud(
            name,
            part.xyz.numpy(),
            part.colors.numpy(),
            point_size=POINT_SCALE * part.size.median().item(),
            point_shape="square",
            point_shading="flat",
            precision="float32",
        )

    def show(self, last: int, *, only: bool = False) -> None:
        """Show the groups up to a number, or only the one with this number."""
        for number, node in enumerate(self._nodes):
            node.visible = number == last if only else number <= last


class CameraNodes:
    """The path of a memory's cameras, and frusta that can be clicked.

    Args:
        scene: of the server.
        on_click: called with the browser's event and the number of the camera.
    """

    def __init__(self, scene: viser.SceneApi, on_click: Callable[[Any, int], None]) -> None:
        self._scene, self._on_click = scene, on_click
        self._nodes: dict[str, Any] = {}
        self._poses: dict[str, tuple[bytes, bool, float]] = {}
        self._visible = True

    def update(self, cameras: Cameras | None, distance: float) -> None:
        """Show other cameras.

        Args:
            cameras: on the CPU, relative to the memory's origin; None for none.
            distance: of the scene, world units, by which frusta are scaled.
        """
        count = 0 if cameras is None else len(cameras)
        step = max(-(-count // MAX_FRUSTA), 1)
        chosen = sorted({*range(0, count, step), *([count - 1] if count else [])})
        names = {f"/cameras/{number:04}" for number in chosen} | ({"/cameras/path"} if count > 1 else set())
        for name in set(self._nodes) - names:
            self._nodes.pop(name).remove()
            self._poses.pop(name, None)
        if cameras is None:
            return
        for number in chosen:
            self._add_frustum(number, cameras[number], number == count - 1, FRUSTUM_SCALE * distance)
        if count > 1:
            path = cameras.centers.numpy()
            self._nodes["/cameras/path"] = self._scene.add_line_segments(
                "/cameras/path",
                np.stack([path[:-1], path[1:]], 1),
                PATH_COLOR,
                thickness=3.0,
                thickness_units="screen",
                visible=self._visible,
            )

    def _add_frustum(self, number: int, camera: Cameras, is_last: bool, scale: float) -> None:
        name, pose = f"/cameras/{number:04}", camera.cam2world[0]
        key = (pose.numpy().tobytes(), is_last, scale)
        if self._poses.get(name) == key:
            return
        node = self._scene.add_camera_frustum(
            name,
            fov=vertical_fov(camera),
            aspect=camera.size[1] / camera.size[0],
            scale=scale,
            thickness=2.5 if is_last else 1.0,
            thickness_units="screen",
            color=LAST_COLOR if is_last else FRUSTUM_COLOR,
            wxyz=to_quaternion(pose[:3, :3]),
            position=tuple(pose[:3, 3].tolist()),
            visible=self._visible,
        )
        node.on_click(lambda event: self._on_click(event, number))
        self._nodes[name], self._poses[name] = node, key

    def show(self, visible: bool) -> None:
        """Show or hide the cameras."""
        self._visible = visible
        for node in self._nodes.values():
            node.visible = visible
