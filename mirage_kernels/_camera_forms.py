# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Constructors of ``Cameras`` from the conventions of other libraries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from . import _camera_inputs, _camera_operators, _camera_values, _memory, check
from ._inference import outside_inference_mode

_Self = TypeVar("_Self", bound="CameraForms")


class CameraForms:
    """The constructors of ``Cameras`` besides ``Cameras(...)``, and what they take as attributes.

    They take ``intrinsics``, poses, ``size`` and ``integer_centers`` as ``Cameras`` does: tensors, arrays or nested
    lists, one for all cameras or one for each, with any leading dimensions.
    """

    def __init__(self, intrinsics: Any, cam2world: Any, size: Any, *, integer_centers: bool = False) -> None:
        raise NotImplementedError

    @classmethod
    def _trusted(
        cls: type[_Self],
        intrinsics: Tensor,
        cam2world: Tensor,
        world2cam: Tensor,
        size: tuple[int, int],
        limits: _camera_values.Limits,
    ) -> _Self:
        raise NotImplementedError

    @classmethod
    def from_world2cam(
        cls: type[_Self], intrinsics: Any, world2cam: Any, size: tuple[int, int], *, integer_centers: bool = False
    ) -> _Self:
        """Construct cameras from world-to-camera poses (extrinsics, view matrices; OpenCV axes).

        :attr:`Cameras.world2cam` keeps the given values, rounded to float32, so points are projected with them as they
        are. :attr:`Cameras.cam2world` is their inverse, the adjugate by the determinant, computed in float64 and
        rounded once, so that what is unprojected is projected into its own cell again.

        Args:
            intrinsics: as for :class:`Cameras`.
            world2cam: (..., 4, 4) or (..., 3, 4), float32 or float64, rigid.
            size: (h, w) of the grid.
            integer_centers: as for :class:`Cameras`.

        Raises:
            TypeError, ValueError: as :class:`Cameras` does.
        """
        k, m = _camera_inputs.matrices(intrinsics, "world2cam", world2cam, integer_centers)
        size = check.size("size", size)
        try:
            with outside_inference_mode():
                return cls._trusted(*_camera_operators.copy_inverted(k, m), size, _camera_values.LIMITS)
        except (RuntimeError, MemoryError) as error:
            _memory.raise_explained(error, "cameras", intrinsics=k, world2cam=m)

    @classmethod
    def from_viewmats(
        cls: type[_Self], viewmats: Any, Ks: Any, width: int, height: int, *, integer_centers: bool = False
    ) -> _Self:
        """Construct cameras from the arguments of gsplat's ``rasterization``.

        Args:
            viewmats: (..., 4, 4) world-to-camera poses.
            Ks: (..., 3, 3) intrinsics, pixel centers at +0.5.
            width, height: of the grid, in cells.
            integer_centers: as for :class:`Cameras`.

        Raises:
            TypeError, ValueError: as :class:`Cameras` does; ``viewmats`` are called world2cam, ``Ks`` intrinsics.

        Example:
            >>> from mirage_kernels import Cameras
            >>> Ks = torch.tensor([[[60.0, 0, 40], [0, 60, 22], [0, 0, 1]]])
            >>> cameras = Cameras.from_viewmats(torch.eye(4)[None], Ks, width=80, height=44)
            >>> cameras.size, cameras.viewmats.shape, cameras.Ks.shape
            ((44, 80), torch.Size([1, 4, 4]), torch.Size([1, 3, 3]))
        """
        size = (check.integer("height", height, 1, 1 << 24), check.integer("width", width, 1, 1 << 24))
        return cls.from_world2cam(Ks, viewmats, size, integer_centers=integer_centers)

    @classmethod
    def from_opengl(
        cls: type[_Self], intrinsics: Any, cam2world: Any, size: tuple[int, int], *, integer_centers: bool = False
    ) -> _Self:
        """Construct cameras from poses with the axes of OpenGL, Blender, NeRF and nerfstudio: y up, z backward.

        Args:
            intrinsics: as for :class:`Cameras`.
            cam2world: (..., 4, 4) or (..., 3, 4), float32 or float64, rigid. Its second and third columns change sign.
            size: (h, w) of the grid.
            integer_centers: as for :class:`Cameras`.

        Raises:
            TypeError, ValueError: as :class:`Cameras` does.

        Example:
            >>> from mirage_kernels import Cameras
            >>> camera = Cameras.from_opengl([60, 60, 40, 22], torch.eye(4), (44, 80))
            >>> camera.project(torch.tensor([[0.0, 0.5, -2.0]]))[0].tolist()  # in front and above: row 7 of 44
            [[[40.0, 7.0]]]
        """
        m = _camera_inputs.poses("cam2world", cam2world, intrinsics).clone()
        m[:, :3, 1:3].neg_()
        return cls(intrinsics, m, size, integer_centers=integer_centers)

    @classmethod
    def from_quaternion(
        cls: type[_Self],
        intrinsics: Any,
        quaternion: Any,
        translation: Any,
        size: tuple[int, int],
        *,
        order: Literal["wxyz", "xyzw"],
        pose: Literal["cam2world", "world2cam"],
        integer_centers: bool = False,
    ) -> _Self:
        """Construct cameras from quaternions and translations.

        COLMAP's ``qvec`` and ``tvec`` are ``order="wxyz", pose="world2cam"``; a line of a TUM trajectory is
        ``order="xyzw", pose="cam2world"``, as are ROS and SciPy.

        Args:
            intrinsics: as for :class:`Cameras`.
            quaternion: (..., 4) float32 or float64. It is normalized, in float64.
            translation: (..., 3) float32 or float64, last column of the pose.
            size: (h, w) of the grid.
            order: order of the entries of a quaternion.
            pose: what a quaternion and a translation describe.
            integer_centers: as for :class:`Cameras`.

        Raises:
            TypeError, ValueError: as :class:`Cameras` does; ValueError also for a quaternion of length 0.

        Example:
            >>> from mirage_kernels import Cameras
            >>> K, q, t = [60, 60, 40, 22], [0, 1, 0, 1], [1, 2, 3]  # a quarter turn to the right
            >>> tum = Cameras.from_quaternion(K, q, t, (44, 80), order="xyzw", pose="cam2world")
            >>> tum.centers.tolist(), [round(x) for x in tum.cam2world[0, :3, 2].tolist()]
            ([[1.0, 2.0, 3.0]], [1, 0, 0])
        """
        check.choice("order", order, ("wxyz", "xyzw"))
        make = cls if check.choice("pose", pose, ("cam2world", "world2cam")) == "cam2world" else cls.from_world2cam
        q = check.dense("quaternion", _camera_inputs.as_tensor("quaternion", quaternion, intrinsics), values=True)
        t = _camera_inputs.as_tensor("translation", translation, q)
        if t.device != q.device:
            raise check.value_error("translation", f"a tensor on {q.device} like quaternion", t.device)
        if q.shape[-1:] != (4,):
            raise check.value_error("quaternion", "(V, 4) or (4,)", tuple(q.shape))
        expected = (*q.shape[:-1], 3)
        if t.shape != expected:
            raise check.value_error("translation", f"{expected} like quaternion", tuple(t.shape))
        q, t = q.detach().reshape(-1, 4).double(), t.detach().reshape(-1, 3).double()
        m = _camera_operators.poses_of_quaternions(q if order == "wxyz" else q.roll(1, 1), t)
        return make(intrinsics, m, size, integer_centers=integer_centers)

    @classmethod
    def from_pytorch3d(cls: type[_Self], cameras: Any, size: tuple[int, int]) -> _Self:
        """Construct cameras from PyTorch3D's ``PerspectiveCameras`` or ``FoVPerspectiveCameras``.

        PyTorch3D projects row vectors, ``x_camera = x R + T``, with x to the left and y up; normalized coordinates are
        -1 to 1 along the shorter side of the image.

        Args:
            cameras: an object with ``R`` (V, 3, 3), ``T`` (V, 3), ``in_ndc()``, and either ``focal_length`` (V, 2),
                (V, 1) or (V,) and ``principal_point`` (V, 2), or ``fov`` (V,), ``degrees`` and ``aspect_ratio`` (V,).
            size: (h, w) of the image in which coordinates are normalized; also the grid of the result.

        Raises:
            TypeError: an attribute is missing, or has the wrong type.
            ValueError: as :class:`Cameras`.
        """
        h, w = check.size("size", size)
        if missing := [name for name in ("R", "T", "in_ndc") if not hasattr(cameras, name)]:
            raise check.type_error("cameras", f"PyTorch3D's cameras, with an attribute {missing[0]}", cameras)
        dims: check.Dims = {}
        r = _attribute(cameras, "R", None, ("V", 3, 3), dims)
        t = _attribute(cameras, "T", r, ("V", 3), dims)
        focal, center = _pinhole_of_pytorch3d(cameras, (h, w), t)
        m = torch.cat([r.mT, t[:, :, None]], 2)
        m[:, :2].neg_()
        k = torch.cat([focal.expand(len(m), 2), center.expand(len(m), 2)], 1)
        return cls.from_world2cam(k, m, (h, w))

    @classmethod
    def look_at(
        cls: type[_Self],
        eye: Tensor,
        target: Tensor,
        intrinsics: Any,
        size: tuple[int, int],
        up: Sequence[float] = (0.0, -1.0, 0.0),
    ) -> _Self:
        """Construct cameras from positions and the points they look at.

        The poses are computed on the CPU, so that they have the same bits on every device.

        Args:
            eye: (V, 3) float32 or float64, positions of the cameras, world units.
            target: (V, 3), or (3,) for all cameras, on the device of ``eye``; it is projected to the principal point.
            intrinsics: as for :class:`Cameras`.
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
        eye = _camera_inputs.as_tensor("eye", eye)
        target = _camera_inputs.as_tensor("target", target, eye)
        check.tensor("eye", eye, ("V", 3), dims, _camera_inputs.DTYPES)
        if target.dim() == 1:
            target = target.expand(dims["V"], -1)
        check.tensor("target", target, ("V", 3), dims, _camera_inputs.DTYPES, ("eye", eye))
        up = _camera_values.numbers("up", up, 3)
        cam2world = _camera_operators.look_at(
            _camera_values.on_cpu("eye", eye),
            _camera_values.on_cpu("target", target),
            torch.tensor(up, dtype=torch.float64, device="cpu"),
        )
        return cls(intrinsics, cam2world.to(eye.device), size)

    @classmethod
    def from_tensors(cls: type[_Self], tensors: dict[str, Any]) -> _Self:
        """Construct cameras from what :meth:`Cameras.tensors` returned, with the same bits.

        Args:
            tensors: the tensors; ``world2cam`` may be missing, and ``size`` be a tuple. Leading dimensions that a
                ``collate`` function of a data loader has added are flattened.

        Raises:
            TypeError, ValueError: an entry is missing, or as :class:`Cameras` does; ValueError also if the poses are
                not inverse to each other, or the sizes differ.
        """
        if not isinstance(tensors, dict):
            raise check.type_error("tensors", "a dict of tensors", tensors)
        if missing := [name for name in ("intrinsics", "cam2world", "size") if name not in tensors]:
            raise check.value_error("tensors", f"an entry {missing[0]!r}", f"only {', '.join(tensors) or 'none'}")
        made = cls(tensors["intrinsics"], tensors["cam2world"], _common_size(tensors["size"]))
        if tensors.get("world2cam") is not None:
            made._keep_world2cam(tensors["world2cam"])
        return made

    def _keep_world2cam(self, world2cam: Any) -> None:
        """Project with these poses (..., 3, 4), which must be the inverse of the present ones up to rounding."""
        raise NotImplementedError


def _common_size(sizes: Any) -> tuple[int, int]:
    """The size (h, w) that all cameras of a batch have: a pair of integers, or a tensor (..., 2)."""
    if not isinstance(sizes, Tensor):
        return check.size("size", sizes)
    if torch.compiler.is_compiling():
        raise check.type_error(
            "size", "two integers in a program that is recorded, where a tensor has no values", sizes
        )
    if sizes.shape[-1:] != (2,) or sizes.numel() == 0 or sizes.is_floating_point() or sizes.is_complex():
        got = f"{check.dtype_name(sizes.dtype)} {tuple(sizes.shape)}"
        raise check.value_error("size", "integers (h, w), or (V, 2)", got)
    rows = sizes.reshape(-1, 2).tolist()
    if any(row != rows[0] for row in rows):
        raise check.value_error("size", "(h, w), the same for all cameras", rows)
    return check.size("size", rows[0])


def _pinhole_of_pytorch3d(cameras: Any, size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return focal lengths and principal points (V, 2) float64 in cells, x and y."""
    h, w = size
    half = min(h, w) / 2
    middle = like.new_tensor([w / 2, h / 2])
    if hasattr(cameras, "fov"):
        angle, ratio = (_per_camera(cameras, name, like, 1)[:, 0] for name in ("fov", "aspect_ratio"))
        if not hasattr(cameras, "degrees"):
            raise check.type_error("cameras", "PyTorch3D's cameras, with an attribute degrees", cameras)
        scale = half / torch.tan((angle * (math.pi / 180) if cameras.degrees else angle) / 2)
        return torch.stack([scale / ratio, scale], 1), middle[None]
    focal, center = _per_camera(cameras, "focal_length", like, 2), _per_camera(cameras, "principal_point", like, 2)
    return (focal * half, middle - center * half) if cameras.in_ndc() else (focal, center)


def _per_camera(cameras: Any, name: str, like: Tensor, values: int) -> Tensor:
    """An attribute, one number or row for all cameras or one for each, as (V, values) float64."""
    given = getattr(cameras, name, None)
    value = _camera_inputs.as_tensor(f"cameras.{name}", [given] if isinstance(given, (int, float)) else given, like)
    value = value.detach().double()
    rows = value[:, None] if value.dim() == 1 else value
    if rows.dim() != 2 or rows.shape[0] not in (1, len(like)) or rows.shape[1] not in (1, values):
        expected = f"(V={len(like)}, {values}), or one of them for all cameras"
        raise check.value_error(f"cameras.{name}", expected, tuple(value.shape))
    return rows.expand(len(like), values)


def _attribute(cameras: Any, name: str, like: Tensor | None, shape: tuple[str | int, ...], dims: check.Dims) -> Tensor:
    """An attribute of PyTorch3D's cameras, in float64."""
    value = _camera_inputs.as_tensor(f"cameras.{name}", getattr(cameras, name), like).detach()
    check.tensor(f"cameras.{name}", value, shape, dims, _camera_inputs.DTYPES)
    return value.double()
