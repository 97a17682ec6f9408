# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras, and the conventions of this project.

* **Axes** follow OpenCV: x right, y down, z forward.
* **Pose** is ``cam2world``, a rigid (4, 4) matrix.
* **Depth** is z-depth in the unit of the pose (meters if the data is metric), not ray length. It is invalid where it is
  not finite or not positive.
* **Pixel and cell centers lie at +0.5.** Cell (row i, column j) covers [j, j + 1) x [i, i + 1), and a point falls into
  cell (floor v, floor u). Rescaling a grid by (sx, sy) multiplies fx and cx by sx, fy and cy by sy; there is no other
  rescaling rule. OpenCV calibrations put pixel centers on integers: add 0.5 to cx and cy once, when such data is read.
* **Layouts**: points ``xyz`` (N, 3) float32; point features (N, C); feature maps (V, C, h, w).

All backends must agree, bit for bit, on the cell of a point and on the nearest point of a cell. Therefore this
arithmetic is float32 with one rounding per operation, in the order of :func:`project` (in the native kernels:
``csrc/common/camera.h``)::

    X = ((r00 x + r01 y) + r02 z) + t0, Y and Z alike;  inv = 1 / Z;  u = (X inv) fx + cx;  v = (Y inv) fy + cy
    inside where near < Z < inf (near = 1e-6), 0 <= u < w and 0 <= v < h
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import _camera_values, check

NEAR = 1e-6
_GEOMETRY_DTYPES = (torch.float32, torch.float64)


def project(xyz: Tensor, world2cam: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Project points into views with the arithmetic of the module's docstring, in the dtype of ``xyz``.

    Args:
        xyz: (N, 3) float32 or float64, world units.
        world2cam: (V, 3, 4) poses.
        intrinsics: (V, 3, 3) intrinsics.

    Returns:
        ``u`` and ``v`` in cells, ``depth`` in world units, and ``1 / depth``, each (V, N).
    """
    x, y, z = xyz.unbind(1)
    m = world2cam.to(xyz.dtype)[..., None]  # (V, 3, 4, 1)
    k = intrinsics.to(xyz.dtype)[..., None]
    depth = ((m[:, 2, 0] * x + m[:, 2, 1] * y) + m[:, 2, 2] * z) + m[:, 2, 3]
    inverse = 1 / depth
    u = (((m[:, 0, 0] * x + m[:, 0, 1] * y) + m[:, 0, 2] * z) + m[:, 0, 3]) * inverse
    v = (((m[:, 1, 0] * x + m[:, 1, 1] * y) + m[:, 1, 2] * z) + m[:, 1, 3]) * inverse
    return u * k[:, 0, 0] + k[:, 0, 2], v * k[:, 1, 1] + k[:, 1, 2], depth, inverse


def inside(u: Tensor, v: Tensor, depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where a projection is in front of its camera and on its grid ``size`` = (h, w). NaN gives False."""
    h, w = size
    return (depth > NEAR) & (depth < math.inf) & (u >= 0) & (u < w) & (v >= 0) & (v < h)


class Cameras:
    """V pinhole cameras over a grid of one size.

    The constructor checks all values, so operations that take cameras check only their shape and device. Construct
    cameras outside of compiled functions, and do not modify their tensors.

    Args:
        intrinsics: (V, 3, 3), or (3, 3) for all cameras, float32 or float64, in cells of this grid:
            ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]``.
        cam2world: (V, 4, 4), or (4, 4) for one camera, float32 or float64, rigid: ``max |R R^T - 1| <= 1e-3`` and a
            positive determinant.
        size: (h, w) of the grid, in cells.

    Attributes:
        intrinsics: (V, 3, 3) float32.
        cam2world: (V, 4, 4) float32.
        world2cam: (V, 3, 4) float32: ``R^T`` and ``-R^T t``, computed in float64 on the CPU from ``cam2world`` and
            rounded once, so that it has the same bits on every device.
        size: (h, w).

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: a shape or device is wrong, or a value; then the message names the camera, as in ``cam2world[3]``.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras
        >>> intrinsics = torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]])
        >>> cameras = Cameras(intrinsics, torch.eye(4).repeat(3, 1, 1), size=(44, 80))
        >>> cameras
        Cameras(3 of 44x80, cpu)
        >>> cameras[1].rescale((22, 40)).intrinsics[0, 0].tolist()
        [30.0, 0.0, 20.0]
    """

    intrinsics: Tensor
    cam2world: Tensor
    world2cam: Tensor
    size: tuple[int, int]

    def __init__(self, intrinsics: Tensor, cam2world: Tensor, size: tuple[int, int]) -> None:
        dims: check.Dims = {}
        if isinstance(cam2world, Tensor) and cam2world.dim() == 2:
            cam2world = cam2world[None]
        if isinstance(intrinsics, Tensor) and intrinsics.dim() == 2 and isinstance(cam2world, Tensor):
            intrinsics = intrinsics.expand(cam2world.shape[0], -1, -1)
        check.tensor("cam2world", cam2world, ("V", 4, 4), dims, _GEOMETRY_DTYPES)
        check.tensor("intrinsics", intrinsics, ("V", 3, 3), dims, _GEOMETRY_DTYPES, ("cam2world", cam2world))
        self.size = check.size("size", size)
        self.intrinsics = intrinsics.detach().to(torch.float32).contiguous()
        self.cam2world = cam2world.detach().to(torch.float32).contiguous()
        k, m = self.intrinsics.cpu(), self.cam2world.cpu()
        world2cam, valid = _camera_values.prepare(k, m)
        if not valid:
            _camera_values.raise_for_intrinsics(k.double())
            _camera_values.raise_for_poses("cam2world", m.double())
        self.world2cam = world2cam.to(self.cam2world.device)

    @classmethod
    def _trusted(cls, intrinsics: Tensor, cam2world: Tensor, world2cam: Tensor, size: tuple[int, int]) -> Cameras:
        """Construct cameras from tensors of checked cameras, without another check."""
        self = cls.__new__(cls)
        self.intrinsics, self.cam2world, self.world2cam, self.size = intrinsics, cam2world, world2cam, size
        return self

    @classmethod
    def from_world2cam(cls, intrinsics: Tensor, world2cam: Tensor, size: tuple[int, int]) -> Cameras:
        """Construct cameras from world-to-camera poses.

        Args:
            intrinsics: as for :class:`Cameras`.
            world2cam: (V, 4, 4), (V, 3, 4), (4, 4) or (3, 4), float32 or float64, rigid.
            size: (h, w) of the grid.

        Raises:
            TypeError, ValueError: as :class:`Cameras` does.
        """
        if not isinstance(world2cam, Tensor):
            raise check.type_error("world2cam", "a tensor", world2cam)
        if world2cam.dim() == 2:
            world2cam = world2cam[None]
        if world2cam.dim() != 3 or world2cam.shape[1] not in (3, 4):
            raise check.value_error("world2cam", "(V, 4, 4) or (V, 3, 4)", tuple(world2cam.shape))
        check.tensor("world2cam", world2cam, ("V", world2cam.shape[1], 4), {}, _GEOMETRY_DTYPES)
        pose = torch.eye(4, dtype=torch.float64, device="cpu").repeat(world2cam.shape[0], 1, 1)
        pose[:, : world2cam.shape[1]] = world2cam.detach().to("cpu", torch.float64)
        _camera_values.check_poses("world2cam", pose)
        pose[:, :3] = _camera_values.invert_rigid(pose)
        return cls(intrinsics, pose.to(world2cam.device), size)

    @classmethod
    def look_at(
        cls,
        eye: Tensor,
        target: Tensor,
        intrinsics: Tensor,
        size: tuple[int, int],
        up: Sequence[float] = (0.0, -1.0, 0.0),
    ) -> Cameras:
        """Construct cameras from positions and the points they look at.

        The poses are computed on the CPU, so that they have the same bits on every device.

        Args:
            eye: (V, 3) float32 or float64, positions of the cameras, world units.
            target: (V, 3), or (3,) for all cameras, on the device of ``eye``; it is projected to the principal point.
            intrinsics: (V, 3, 3), or (3, 3) for all cameras.
            size: (h, w) of the grid.
            up: direction in the world that points up in the image. The default fits a world whose y axis points down.

        Raises:
            TypeError, ValueError: as :class:`Cameras` does; ValueError also if the viewing direction of a camera is
                zero or parallel to ``up``.

        Example:
            >>> import torch
            >>> from mirage_kernels import Cameras
            >>> intrinsics = torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]])
            >>> cameras = Cameras.look_at(torch.tensor([[0.0, 0, -2]]), torch.zeros(3), intrinsics, size=(44, 80))
            >>> cameras.cam2world[0, :3, 3].tolist()
            [0.0, 0.0, -2.0]
        """
        dims: check.Dims = {}
        check.tensor("eye", eye, ("V", 3), dims, _GEOMETRY_DTYPES)
        if isinstance(target, Tensor) and target.dim() == 1:
            target = target.expand(eye.shape[0], -1)
        check.tensor("target", target, ("V", 3), dims, _GEOMETRY_DTYPES, ("eye", eye))
        device, eye, target = eye.device, eye.detach().cpu().double(), target.detach().cpu().double()
        forward = target - eye
        down = -torch.tensor(up, dtype=torch.float64, device="cpu").expand_as(forward)
        right = torch.linalg.cross(down, forward)
        lengths = torch.stack([forward.norm(dim=1), right.norm(dim=1)])
        usable = (lengths > 1e-12).all(0)
        if not bool(usable.all()):
            v = int((~usable).nonzero()[0])
            expected = f"a point in a direction from eye that is neither zero nor parallel to up={tuple(up)}"
            raise check.value_error(f"target[{v}]", expected, f"{target[v].tolist()} with eye {eye[v].tolist()}")
        forward, right = forward / lengths[0, :, None], right / lengths[1, :, None]
        cam2world = torch.eye(4, dtype=torch.float64, device="cpu").repeat(eye.shape[0], 1, 1)
        cam2world[:, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward, eye], 2)
        return cls(intrinsics, cam2world.to(device), size)

    @classmethod
    def cat(cls, cameras: Iterable[Cameras]) -> Cameras:
        """Concatenate cameras over grids of the same size.

        Args:
            cameras: at least one ``Cameras``, all of the same size and on the same device.

        Raises:
            ValueError: there are none, or their sizes differ.
        """
        parts = list(cameras)
        if not parts:
            raise check.value_error("cameras", "at least one Cameras", "none")
        for i, part in enumerate(parts):
            if part.size != parts[0].size:
                raise check.value_error(f"cameras[{i}]", f"size {parts[0].size} like cameras[0]", part.size)
        return cls._trusted(
            torch.cat([c.intrinsics for c in parts]),
            torch.cat([c.cam2world for c in parts]),
            torch.cat([c.world2cam for c in parts]),
            parts[0].size,
        )

    def __len__(self) -> int:
        return self.intrinsics.shape[0]

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Cameras:
        """Select cameras; an integer gives ``Cameras`` of length 1."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"cameras: expected an index of {len(self)} cameras, got {index}")
            index = slice(index, index + 1 or None)
        return self._trusted(self.intrinsics[index], self.cam2world[index], self.world2cam[index], self.size)

    def __repr__(self) -> str:
        return f"Cameras({len(self)} of {self.size[0]}x{self.size[1]}, {self.device})"

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.intrinsics.device

    @property
    def centers(self) -> Tensor:
        """(V, 3) float32, the positions of the cameras, world units."""
        return self.cam2world[:, :3, 3]

    def to(self, device: torch.device | str) -> Cameras:
        """Return the cameras with their tensors on another device."""
        return self._trusted(
            self.intrinsics.to(device), self.cam2world.to(device), self.world2cam.to(device), self.size
        )

    def rescale(self, size: tuple[int, int]) -> Cameras:
        """Return the same cameras over a grid of another size.

        Args:
            size: (h, w). fx and cx are multiplied by the ratio of the widths, fy and cy by that of the heights.

        Raises:
            TypeError, ValueError: ``size`` is not a grid size; see :func:`mirage_kernels.check.size`.
        """
        h, w = size = check.size("size", size)
        if size == self.size:
            return self
        # In float64, rounded once. The factors are Python numbers, because copying a tensor of them from the host would
        # wait for the device.
        k = self.intrinsics.double()
        first, second, _ = k.unbind(1)
        first.mul_(w / self.size[1])
        second.mul_(h / self.size[0])
        return self._trusted(k.float(), self.cam2world, self.world2cam, size)

    def crop(self, top: int, left: int, size: tuple[int, int]) -> Cameras:
        """Return the same cameras over a window of their grid.

        Args:
            top, left: row and column of the first cell of the window; the window may extend beyond the grid.
            size: (h, w) of the window.

        Raises:
            TypeError, ValueError: ``size`` is not a grid size; see :func:`mirage_kernels.check.size`.
        """
        size = check.size("size", size)
        k = self.intrinsics.double()
        k[:, 0, 2].sub_(float(left))
        k[:, 1, 2].sub_(float(top))
        return self._trusted(k.float(), self.cam2world, self.world2cam, size)

    def translate(self, offset: Sequence[float]) -> Cameras:
        """Return the same cameras, moved in the world. It does not wait for the device.

        Args:
            offset: (x, y, z) in world units, each within 1e30, added to the positions in float64 and rounded once.

        Raises:
            TypeError, ValueError: ``offset`` is not three finite numbers.
        """
        cam2world, world2cam = _camera_values.translate(self.cam2world, offset)
        return self._trusted(self.intrinsics, cam2world, world2cam, self.size)

    def project(self, xyz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project points into all cameras.

        Args:
            xyz: (N, 3) float32 or float64, world units, on the device of the cameras.

        Returns:
            ``uv`` (V, N, 2) in cells and ``depth`` (V, N) in world units, both in the dtype of ``xyz``; ``inside``
            (V, N) bool, True where a point is in front of the camera and on its grid.

        Raises:
            TypeError, ValueError: ``xyz`` has another dtype, shape or device.

        Example:
            >>> import torch
            >>> from mirage_kernels import Cameras
            >>> camera = Cameras(torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]]), torch.eye(4), size=(44, 80))
            >>> uv, depth, inside = camera.project(torch.tensor([[0.5, 0.0, 2.0]]))
            >>> uv.tolist(), depth.tolist(), inside.tolist()
            ([[[55.0, 22.0]]], [[2.0]], [[True]])
        """
        check.tensor("xyz", xyz, ("N", 3), {}, _GEOMETRY_DTYPES, ("cameras", self.intrinsics))
        u, v, depth, _ = project(xyz, self.world2cam, self.intrinsics)
        return torch.stack([u, v], -1), depth, inside(u, v, depth, self.size)

    def interpolate(self, times: Tensor) -> Cameras:
        """Interpolate between the cameras, taken as key frames at times 0, 1, ..., V - 1.

        Positions and intrinsics are interpolated linearly, rotations along the shortest arc (slerp; Shoemake 1985).
        At an integer time the result is the key frame, bit for bit.

        Args:
            times: (T,) float32 or float64, each between 0 and V - 1.

        Returns:
            T cameras.

        Raises:
            TypeError, ValueError: ``times`` has another dtype or shape, or a value out of range.
        """
        check.tensor("times", times, ("T",), {}, _GEOMETRY_DTYPES)
        time = times.detach().to("cpu", torch.float64)
        in_range = (time >= 0) & (time <= len(self) - 1)
        if not bool(in_range.all()):
            t = int((~in_range).nonzero()[0])
            raise check.value_error(f"times[{t}]", f"0 to {len(self) - 1}", f"{time[t].item():g}")
        first = time.floor().clamp(max=max(len(self) - 2, 0)).long()
        second = (first + 1).clamp(max=len(self) - 1)
        fraction = time - first
        k, m = self.intrinsics.to("cpu", torch.float64), self.cam2world.to("cpu", torch.float64)
        weight = fraction[:, None, None]
        intrinsics = torch.lerp(k[first], k[second], weight)
        cam2world = torch.lerp(m[first], m[second], weight)
        cam2world[:, :3, :3] = _camera_values.slerp(m[first, :3, :3], m[second, :3, :3], fraction)
        for key, exact in ((first, fraction == 0), (second, fraction == 1)):
            intrinsics[exact], cam2world[exact] = k[key[exact]], m[key[exact]]
        return Cameras(intrinsics.to(self.device), cam2world.to(self.device), self.size)


def check_cameras(cameras: Any, like_name: str, like: Tensor) -> None:
    """Check that the argument ``cameras`` of an operation is ``Cameras`` on the device of the tensor ``like``.

    Raises:
        TypeError: it is not ``Cameras``.
        ValueError: it is on another device.
    """
    if not isinstance(cameras, Cameras):
        raise check.type_error("cameras", "Cameras", cameras)
    if cameras.intrinsics.device != like.device:
        raise check.value_error("cameras", f"cameras on {like.device} like {like_name}", cameras.device)


def check_cameras_of_maps(cameras: Any, dims: check.Dims, count: str, like_name: str, like: Tensor) -> None:
    """Check cameras as :func:`check_cameras` does, and that there is one per depth map, over the grid of the maps.

    Args:
        dims: sizes of the depth maps: H, W and their number.
        count: name in ``dims`` of the number of maps.

    Raises:
        TypeError, ValueError: as :func:`check_cameras`; ValueError also for another number or grid size.
    """
    check_cameras(cameras, like_name, like)
    if len(cameras) != dims[count]:
        raise check.value_error("cameras", f"{count}={dims[count]} cameras", len(cameras))
    if cameras.size != (dims["H"], dims["W"]):
        raise check.value_error("cameras", f"cameras of depth's size (H={dims['H']}, W={dims['W']})", cameras.size)
