# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras, and the one convention of this project.

* **Axes** are OpenCV's: x right, y down, z forward.
* **Pose** is ``cam2world``, a rigid (4, 4) matrix.
* **Depth** is z-depth in the pose's unit (metres where the data is metric), not ray length. It is invalid where it is
  not finite or not positive.
* **Pixel and cell centres lie at +0.5.** Cell (row i, column j) covers [j, j + 1) x [i, i + 1), and a point lands in
  cell (floor v, floor u). Rescaling a grid by (sx, sy) multiplies fx and cx by sx, fy and cy by sy; there is no other
  rescaling rule. Calibrations in the OpenCV habit put pixel centres on integers: add 0.5 to cx and cy, once, where such
  data is read.
* **Layouts**: points ``xyz`` (N, 3) float32; point features (N, C); feature maps (V, C, h, w).

Which cell a point lands in, and which point of a cell is nearest, are integers that every backend must agree on bit for
bit. So that arithmetic is float32 with one rounding per operation, in the order written in :func:`project` (and, for
the native kernels, in ``csrc/common/camera.h``)::

    X = ((r00 x + r01 y) + r02 z) + t0, Y and Z alike;  inv = 1 / Z;  u = (X inv) fx + cx;  v = (Y inv) fy + cy
    inside where near < Z < inf (near = 1e-6), 0 <= u < w and 0 <= v < h
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from . import backend, camera_values, check

NEAR = 1e-6
_GEOMETRY_DTYPES = (torch.float32, torch.float64)


def project(xyz: Tensor, world2cam: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Project points into views; the arithmetic of the module's docstring, in ``xyz``'s dtype.

    Args:
        xyz: (N, 3).
        world2cam: (V, 3, 4).
        intrinsics: (V, 3, 3).

    Returns:
        ``u``, ``v`` (cells), ``depth`` (world units) and ``1 / depth``, each (V, N).
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
    """Whether a projection lies in front of its camera and on its grid; False for NaN."""
    h, w = size
    return (depth > NEAR) & (depth < math.inf) & (u >= 0) & (u < w) & (v >= 0) & (v < h)


class Cameras:
    """V pinhole cameras over one grid size.

    Everything about the values is checked here, once; operations that take cameras look at shapes only. Build cameras
    outside of compiled functions. Treat the tensors as read-only.

    Args:
        intrinsics: (V, 3, 3), or (3, 3) for all of them, float32 or float64, in cells of this grid:
            ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]``.
        cam2world: (V, 4, 4), or (4, 4) for one, float32 or float64, rigid: ``max |R R^T - 1| <= 1e-3``, not mirrored.
        size: (h, w) of the grid.

    Attributes:
        intrinsics: (V, 3, 3) float32.
        cam2world: (V, 4, 4) float32.
        world2cam: (V, 3, 4) float32: ``R^T`` and ``-R^T t``, worked out in float64 from ``cam2world`` and rounded
            once, on the CPU, so that every device holds the same bits.
        size: (h, w).

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``, naming the camera where a value is wrong.
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
        world2cam, ok = backend.host_operation("prepare_cameras")(k, m)
        if not ok:
            camera_values.explain_intrinsics(k.double())
            camera_values.explain_poses("cam2world", m.double())
        self.world2cam = world2cam.to(self.cam2world.device)

    @classmethod
    def _trusted(cls, intrinsics: Tensor, cam2world: Tensor, world2cam: Tensor, size: tuple[int, int]) -> Cameras:
        """Cameras made of parts of cameras that have been checked."""
        self = cls.__new__(cls)
        self.intrinsics, self.cam2world, self.world2cam, self.size = intrinsics, cam2world, world2cam, size
        return self

    @classmethod
    def from_world2cam(cls, intrinsics: Tensor, world2cam: Tensor, size: tuple[int, int]) -> Cameras:
        """Cameras from world-to-camera poses, (V, 4, 4), (V, 3, 4) or one of them without V."""
        if not isinstance(world2cam, Tensor):
            raise check.type_error("world2cam", "a tensor", world2cam)
        if world2cam.dim() == 2:
            world2cam = world2cam[None]
        if world2cam.dim() != 3 or world2cam.shape[1] not in (3, 4):
            raise check.value_error("world2cam", "(V, 4, 4) or (V, 3, 4)", tuple(world2cam.shape))
        check.tensor("world2cam", world2cam, ("V", world2cam.shape[1], 4), {}, _GEOMETRY_DTYPES)
        pose = torch.eye(4, dtype=torch.float64, device="cpu").repeat(world2cam.shape[0], 1, 1)
        pose[:, : world2cam.shape[1]] = world2cam.detach().to("cpu", torch.float64)
        camera_values.check_poses("world2cam", pose)
        pose[:, :3] = camera_values.invert_rigid(pose)
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
        """Cameras at ``eye`` (V, 3) that look at ``target`` (V, 3) or (3,), with ``up`` upwards in the picture.

        ``intrinsics`` are (V, 3, 3), or (3, 3) for all. The default ``up`` is that of a world whose axes are a
        camera's. The poses are computed on the CPU, so that every device holds the same bits.
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
        if not bool((lengths > 1e-12).all()):
            raise check.value_error("target", "a direction that is neither zero nor parallel to up", target.tolist())
        forward, right = forward / lengths[0, :, None], right / lengths[1, :, None]
        cam2world = torch.eye(4, dtype=torch.float64, device="cpu").repeat(eye.shape[0], 1, 1)
        cam2world[:, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward, eye], 2)
        return cls(intrinsics, cam2world.to(device), size)

    @classmethod
    def cat(cls, cameras: Iterable[Cameras]) -> Cameras:
        """All cameras of several over the same grid, in order."""
        parts = list(cameras)
        if not parts:
            raise check.value_error("cameras", "at least one", "none")
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

    def __getitem__(self, at: int | slice | Tensor | Sequence[int]) -> Cameras:
        """Some of the cameras, always as ``Cameras``."""
        if isinstance(at, int):
            if not -len(self) <= at < len(self):
                raise IndexError(f"camera {at} of {len(self)}")
            at = slice(at, at + 1 or None)
        return self._trusted(self.intrinsics[at], self.cam2world[at], self.world2cam[at], self.size)

    def __repr__(self) -> str:
        return f"Cameras({len(self)} of {self.size[0]}x{self.size[1]}, {self.device})"

    @property
    def device(self) -> torch.device:
        return self.intrinsics.device

    @property
    def centres(self) -> Tensor:
        """Camera positions, (V, 3) float32."""
        return self.cam2world[:, :3, 3]

    def to(self, device: torch.device | str) -> Cameras:
        return self._trusted(
            self.intrinsics.to(device), self.cam2world.to(device), self.world2cam.to(device), self.size
        )

    def rescale(self, size: tuple[int, int]) -> Cameras:
        """The same cameras over a grid of another size (h, w)."""
        h, w = size = check.size("size", size)
        if size == self.size:
            return self
        # fx, cx by w / W and fy, cy by h / H, in float64, rounded once. By numbers: a tensor of them would be copied to
        # the device, which waits for it.
        k = self.intrinsics.double()
        first, second, _ = k.unbind(1)
        first.mul_(w / self.size[1])
        second.mul_(h / self.size[0])
        return self._trusted(k.float(), self.cam2world, self.world2cam, size)

    def crop(self, top: int, left: int, size: tuple[int, int]) -> Cameras:
        """The same cameras over the window of ``size`` (h, w) whose first cell is (top, left)."""
        size = check.size("size", size)
        k = self.intrinsics.double()
        k[:, 0, 2].sub_(float(left))
        k[:, 1, 2].sub_(float(top))
        return self._trusted(k.float(), self.cam2world, self.world2cam, size)

    def project(self, xyz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project points (N, 3): cells ``uv`` (V, N, 2), ``depth`` (V, N), and whether each is ``inside`` (V, N)."""
        check.tensor("xyz", xyz, ("N", 3), {}, _GEOMETRY_DTYPES, ("cameras", self.intrinsics))
        u, v, depth, _ = project(xyz, self.world2cam, self.intrinsics)
        return torch.stack([u, v], -1), depth, inside(u, v, depth, self.size)

    def interpolate(self, times: Tensor) -> Cameras:
        """Cameras between these, taken as key frames at times 0, 1, ..., V - 1.

        Positions and intrinsics are interpolated linearly, rotations along the shortest arc (slerp; Shoemake 1985).
        At a whole time the key frame itself comes back, bit for bit.

        Args:
            times: (T,), each within 0 and V - 1.
        """
        check.tensor("times", times, ("T",), {}, _GEOMETRY_DTYPES)
        at = times.detach().to("cpu", torch.float64)
        if at.numel() and not bool(((at >= 0) & (at <= len(self) - 1)).all()):
            raise check.value_error("times", f"0 to {len(self) - 1}", f"{at.min().item():g} to {at.max().item():g}")
        first = at.floor().clamp(max=max(len(self) - 2, 0)).long()
        second = (first + 1).clamp(max=len(self) - 1)
        part = at - first
        k, m = self.intrinsics.to("cpu", torch.float64), self.cam2world.to("cpu", torch.float64)
        weight = part[:, None, None]
        intrinsics = torch.lerp(k[first], k[second], weight)
        cam2world = torch.lerp(m[first], m[second], weight)
        cam2world[:, :3, :3] = _slerp(m[first, :3, :3], m[second, :3, :3], part)
        for key, here in ((first, part == 0), (second, part == 1)):
            intrinsics[here], cam2world[here] = k[key[here]], m[key[here]]
        return Cameras(intrinsics.to(self.device), cam2world.to(self.device), self.size)


def _slerp(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
    """Rotations (T, 3, 3) a fraction ``part`` (T,) of the way from a to b, by axis and angle of ``a^T b``."""
    turn = a.transpose(1, 2) @ b
    w = torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], 1)
    sine, cosine = w.norm(dim=1) / 2, (turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    angle = torch.atan2(sine, cosine)
    # Half a turn leaves w at 0: its axis is then the column of (turn + 1) that is longest.
    symmetric = turn + torch.eye(3, dtype=turn.dtype)
    longest = symmetric.norm(dim=1).argmax(1)
    fallback = symmetric[torch.arange(len(turn)), :, longest]
    axis = torch.where((sine > 1e-9)[:, None], w, torch.where((cosine < 0)[:, None], fallback, torch.zeros_like(w)))
    axis = axis / axis.norm(dim=1, keepdim=True).clamp(min=1e-300)
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    theta = (part * angle)[:, None, None]
    step = torch.eye(3, dtype=turn.dtype) + theta.sin() * k + (1 - theta.cos()) * (k @ k)  # Rodrigues
    return a @ step
