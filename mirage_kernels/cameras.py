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

from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from . import _camera_index, _camera_inputs, _camera_operators, _camera_poses, _camera_values, _flow, _memory, check
from ._camera_forms import CameraForms
from ._camera_values import LIMITS, Limits, PickledCameras
from ._inference import outside_inference_mode
from ._projection import NEAR, inside, project
from .ops.project.project_operators import project_points

__all__ = ["NEAR", "Cameras", "check_cameras", "check_cameras_of_maps", "inside", "project"]


class Cameras(PickledCameras, CameraForms):
    """V pinhole cameras over a grid of one size.

    Cameras do not change: the constructor copies the tensors it is given, and the attributes return copies. It checks
    all values, so operations check only shapes and devices of cameras. Poses and intrinsics get no gradient.
    A program that ``torch.compile``, ``torch.export`` or ``make_fx`` records can construct cameras. It checks them
    whenever it runs, and waits for a GPU to do so: it cannot be captured in a CUDA graph.

    ``cameras[i]`` is ``Cameras`` as well, for an integer, a slice, a list, or a tensor (K,) of integers or bool.

    Args:
        intrinsics: (V, 3, 3), or (3, 3) for all cameras, in cells of this grid:
            ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]``, focal lengths of 2^-64 to 2^64. Also (V, 4, 4), which has a last
            row and column more, and (V, 4) of ``[fx, fy, cx, cy]``.
        cam2world: (V, 4, 4) or (V, 3, 4), or one of them for all intrinsics, rigid: ``max |R R^T - 1| <= 1e-3`` and a
            positive determinant. A last row that is 0, 0, 0, 1 within 1e-5 is set to that.
        size: (h, w) of the grid, in cells.
        integer_centers: whether pixel centers have integer coordinates, as in OpenCV; then 0.5 is added to cx and cy.

    Both are float32 or float64 tensors, arrays or nested lists; further leading dimensions are flattened into V.

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

    # The operations read these tensors. Nothing else gets hold of them, so several Cameras can share them.
    _intrinsics: Tensor
    _cam2world: Tensor
    _world2cam: Tensor

    def __init__(
        self, intrinsics: Any, cam2world: Any, size: tuple[int, int], *, integer_centers: bool = False
    ) -> None:
        k, m = _camera_inputs.matrices(intrinsics, "cam2world", cam2world, integer_centers)
        self._size: tuple[int, int] = check.size("size", size)
        self._limits: Limits = LIMITS
        try:
            with outside_inference_mode():
                self._intrinsics, self._cam2world, self._world2cam = _camera_operators.copy_checked(k, m)
        except (RuntimeError, MemoryError) as error:
            _memory.raise_explained(error, "cameras", intrinsics=k, cam2world=m)

    @classmethod
    def _trusted(
        cls, intrinsics: Tensor, cam2world: Tensor, world2cam: Tensor, size: tuple[int, int], limits: Limits
    ) -> Cameras:
        """Construct cameras from tensors of checked cameras, without another check and without a copy."""
        self = cls.__new__(cls)
        self._intrinsics, self._cam2world, self._world2cam = intrinsics, cam2world, world2cam
        self._size, self._limits = size, limits
        return self

    @classmethod
    @_memory.explains("cameras")
    def cat(cls, cameras: Iterable[Cameras]) -> Cameras:
        """Concatenate cameras over grids of the same size.

        Args:
            cameras: at least one ``Cameras``, all of the same size and on the same device.

        Raises:
            TypeError: one of them is not ``Cameras``.
            ValueError: there are none, or their sizes or devices differ.
        """
        parts = _camera_values.listed("cameras", "a sequence of Cameras", cameras)
        if not parts:
            raise check.value_error("cameras", "at least one Cameras", "none")
        for i, part in enumerate(parts):
            if not isinstance(part, Cameras):
                raise check.type_error(f"cameras[{i}]", "Cameras", part)
            if part.size != parts[0].size:
                raise check.value_error(f"cameras[{i}]", f"size {parts[0].size} like cameras[0]", part.size)
            if part.device != parts[0].device:
                raise check.value_error(f"cameras[{i}]", f"cameras on {parts[0].device} like cameras[0]", part.device)
        with outside_inference_mode():
            k, m = torch.cat([c._intrinsics for c in parts]), torch.cat([c._cam2world for c in parts])
            world2cam = torch.cat([c._world2cam for c in parts])
        return cls._trusted(k, m, world2cam, parts[0]._size, _camera_values.union([c._limits for c in parts]))

    def __len__(self) -> int:
        return self._intrinsics.shape[0]

    def __getitem__(self, index: SupportsIndex | slice | Tensor | Sequence[int]) -> Cameras:
        """Select cameras; an integer gives ``Cameras`` of length 1.

        Raises:
            TypeError, IndexError: the index is of another kind, or out of range.
        """
        selected = _camera_index.normalize(index, len(self), self.device)
        return self._map(lambda tensor: tensor[selected])

    def _map(self, function: Callable[[Tensor], Tensor]) -> Cameras:
        with outside_inference_mode():
            tensors = function(self._intrinsics), function(self._cam2world), function(self._world2cam)
        return self._trusted(*tensors, self._size, self._limits)

    def __repr__(self) -> str:
        return f"Cameras({len(self)} of {self.size[0]}x{self.size[1]}, {self.device})"

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the grid."""
        return self._size

    @property
    def intrinsics(self) -> Tensor:
        """(V, 3, 3) float32, in cells; a copy."""
        return self._intrinsics.clone()

    @property
    def cam2world(self) -> Tensor:
        """(V, 4, 4) float32; a copy."""
        return self._cam2world.clone()

    @property
    def world2cam(self) -> Tensor:
        """(V, 3, 4) float32; a copy."""
        return self._world2cam.clone()

    @property
    def viewmats(self) -> Tensor:
        """(V, 4, 4) float32: :attr:`world2cam` with a last row, as gsplat takes it."""
        last = self._cam2world[:, 3:]
        return torch.cat([self._world2cam, last], 1)

    @property
    def Ks(self) -> Tensor:  # noqa: N802, gsplat's name
        """(V, 3, 3) float32: :attr:`intrinsics`, by gsplat's name."""
        return self.intrinsics

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of all tensors, for files and for the ``collate`` function of a data loader.

        Returns:
            ``intrinsics`` (V, 3, 3), ``cam2world`` (V, 4, 4) and ``world2cam`` (V, 3, 4), float32, and ``size`` (2,)
            int64, which is on the CPU: what :meth:`from_tensors` takes.
        """
        size = torch.tensor(self._size, dtype=torch.int64, device="cpu")
        return {**self.matrices(), "size": size}

    def matrices(self) -> dict[str, Tensor]:
        """Return what :meth:`tensors` does, without the size."""
        return {"intrinsics": self.intrinsics, "cam2world": self.cam2world, "world2cam": self.world2cam}

    def _keep_world2cam(self, world2cam: Any) -> None:
        given = _camera_inputs.poses("world2cam", world2cam, self._cam2world)[:, :3]
        like = ("cam2world", self._cam2world)
        check.tensor("world2cam", given, ("V", 3, 4), {"V": len(self)}, _camera_inputs.DTYPES, like)
        if not _camera_operators.is_recorded() and torch.equal(given, self._world2cam):
            return
        with outside_inference_mode():
            on_cpu = given.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)
            self._world2cam = _camera_operators.keep_inverse(self._cam2world.cpu(), on_cpu).to(given.device)

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self._intrinsics.device

    @property
    def centers(self) -> Tensor:
        """(V, 3) float32, the positions of the cameras, world units; a copy."""
        return self._cam2world[:, :3, 3].clone()

    def to(self, device: torch.device | str) -> Cameras:
        """Return the cameras with their tensors on another device.

        Raises:
            TypeError, ValueError: ``device`` is not a device; see :func:`mirage_kernels.check.device`.
        """
        target = check.device("device", device)
        check.dense("cameras", self._intrinsics, values=target.type != "meta")
        return self._map(lambda tensor: tensor.to(target))

    def rescale(self, size: tuple[int, int]) -> Cameras:
        """Return the same cameras over a grid of another size.

        Args:
            size: (h, w). fx and cx are multiplied by the ratio of the widths, fy and cy by that of the heights.

        Raises:
            TypeError, ValueError: ``size`` is not a grid size; see :func:`mirage_kernels.check.size`. ValueError also
                if it is so large or small that intrinsics would leave the range of float32.
        """
        return self._rescaled(check.size("size", size))

    def _rescaled(self, size: tuple[int, int]) -> Cameras:
        """Rescale to a size that has been checked."""
        if size == self._size:
            return self
        # In float64, rounded once.
        x, y = size[1] / self._size[1], size[0] / self._size[0]
        limits = _camera_values.rescale(self._limits, size, x, y)
        with outside_inference_mode():
            k = self._intrinsics.double()
            if k.is_cpu and not _camera_operators.is_recorded():
                k.mul_(_camera_values.row_factors(x, y))
            else:  # Python numbers, because copying a tensor of them from the host would wait for the device
                first, second, _ = k.unbind(1)
                first.mul_(x)
                second.mul_(y)
            return self._trusted(k.float(), self._cam2world, self._world2cam, size, limits)

    def crop(self, top: float, left: float, size: tuple[int, int]) -> Cameras:
        """Return the same cameras over a window of their grid.

        Args:
            top, left: row and column of the first cell of the window, -2^100 to 2^100; the window may extend beyond the
                grid.
            size: (h, w) of the window.

        Raises:
            TypeError, ValueError: ``top`` or ``left`` is no number in this range, or ``size`` is not a grid size.
        """
        size = check.size("size", size)
        y, x = (_camera_values.offset(name, value) for name, value in (("top", top), ("left", left)))
        limits = _camera_values.shift(self._limits, x, y)
        with outside_inference_mode():
            k = self._intrinsics.double()
            k[:, 0, 2].sub_(x)
            k[:, 1, 2].sub_(y)
            return self._trusted(k.float(), self._cam2world, self._world2cam, size, limits)

    def translate(self, offset: Sequence[float]) -> Cameras:
        """Return the same cameras, moved in the world. It does not wait for the device.

        Args:
            offset: (x, y, z) in world units, each within 1e30, added to the positions in float64 and rounded once.

        Raises:
            TypeError, ValueError: ``offset`` is not three finite numbers.
        """
        with outside_inference_mode():
            cam2world, world2cam = _camera_poses.translate(self._cam2world, self._world2cam, offset)
            return self._trusted(self._intrinsics, cam2world, world2cam, self._size, self._limits)

    def project(self, xyz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project points into all cameras.

        Args:
            xyz: (N, 3) float32 or float64, world units, on the device of the cameras; or (V, N, 3), points of each
                camera.

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
        shape = ("V", "N", 3) if isinstance(xyz, Tensor) and xyz.dim() == 3 else ("N", 3)
        check.tensor("xyz", xyz, shape, {"V": len(self)}, _camera_inputs.DTYPES, ("cameras", self._intrinsics))
        return project_points(xyz, self._intrinsics, self._world2cam, self._size)

    def flow(self, depth: Tensor, target: Cameras) -> Tensor:
        """Compute the optical flow of a static scene that the motion from these cameras to others causes.

        The center of each pixel is unprojected as by :func:`mirage_kernels.unproject` and projected into ``target``.
        Occlusion is ignored. The result has a gradient with respect to ``depth``.

        Args:
            depth: (V, H, W) float32 z-depth over the grid of these cameras, world units.
            target: V cameras, or one for all, over a grid of the same size.

        Returns:
            (V, H, W, 2) float32, the displacement (du, dv) in pixels, which may lead beyond the grid. NaN where depth
            is not valid, and where the point is not in front of its target: not at a depth above 1e-6.

        Raises:
            TypeError, ValueError: an argument has the wrong type, dtype, shape, size or device.

        Example:
            >>> import torch
            >>> from mirage_kernels import Cameras
            >>> camera = Cameras(torch.tensor([[64.0, 0, 40], [0, 64, 22], [0, 0, 1]]), torch.eye(4), size=(44, 80))
            >>> camera.flow(torch.full((1, 44, 80), 2.0), camera.translate((0.5, 0, 0)))[0, 20, 30].tolist()
            [-16.0, 0.0]
        """
        if not isinstance(target, Cameras):
            raise check.type_error("target", "Cameras", target)
        return _flow.flow(depth, self, target)

    @_memory.explains("cameras")
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
        check.tensor("times", times, ("T",), {}, _camera_inputs.DTYPES)
        key_frames = (_camera_values.on_cpu("cameras", t, t.dtype) for t in (self._intrinsics, self._cam2world))
        intrinsics, cam2world = _camera_operators.interpolate(*key_frames, _camera_values.on_cpu("times", times))
        return Cameras(intrinsics.to(self.device), cam2world.to(self.device), self._size)


def check_cameras(cameras: Any, like_name: str, like: Tensor) -> None:
    """Check that the argument ``cameras`` of an operation is ``Cameras`` on the device of the tensor ``like``.

    Raises:
        TypeError: it is not ``Cameras``.
        ValueError: it is on another device.
    """
    if not isinstance(cameras, Cameras):
        raise check.type_error("cameras", "Cameras", cameras)
    if cameras._intrinsics.device != like.device:
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
