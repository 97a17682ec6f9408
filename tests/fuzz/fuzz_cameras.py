# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``Cameras``: constructors and methods, with arguments of any kind. What is accepted has usable values."""

from __future__ import annotations

import pickle
from typing import Any

import fuzz_values as values
import numpy as np
import torch
from fuzz_calls import FaultError, Refusal, compare, parts, run_on_both
from fuzz_input import Input
from torch import Tensor

from mirage_kernels import Cameras, testing

INDICES: tuple[Any, ...] = (
    0, -1, 1, 99, -99, np.int64(0), np.uint8(1), True, None, ..., slice(None), slice(None, None, -1), slice(2, 0),
    slice(0, 9, 2), slice(None, None, 0), slice(0.5), slice(True), slice(np.int64(1)), [0, 0], [], [0.5], [True],
    [None], [[0]], [-1], [99], (0,), (0, 0), range(2), range(0), range(9), "0", 0.0, 1 << 70, -(1 << 70), [1 << 70],
    np.array([0]), np.array([True]), np.array(0), np.array([0.5]), np.array([], int), np.array([[0]]), torch.tensor(0),
    torch.tensor([0]),    torch.tensor([99]), torch.tensor([-1]), torch.tensor([], dtype=torch.int64),
    torch.tensor([]), torch.tensor([True]),
    torch.tensor([0.5]), torch.tensor(True), torch.zeros(1, 1, dtype=torch.int64), torch.tensor([0], dtype=torch.uint8),
    torch.tensor([0], dtype=torch.int16), torch.tensor([0], device="meta"), torch.tensor([0], dtype=torch.uint64),
)  # fmt: skip


def matrices(data: Input, views: int) -> tuple[Any, Any]:
    """Return intrinsics and poses, mostly of cameras."""
    made = testing.random_cameras(data.generator(), views, (6, 9))
    intrinsics, cam2world = made.intrinsics, made.cam2world
    if data.byte() & 1:
        intrinsics, cam2world = intrinsics.double(), cam2world.double()
    if views == 1 and data.byte() & 1:
        cam2world = cam2world[0]
    if views and data.byte() & 1:
        intrinsics = intrinsics[0]
    for tensor in (intrinsics, cam2world):
        if data.rarely() and tensor.numel():
            at = data.integer(0, tensor.numel() - 1)
            value = data.choice((0.0, -1.0, 1e-30, 1e30, 3e38, 2.0**64, 2.0**-64, 1e300))
            tensor.reshape(-1)[at] = torch.tensor(value, dtype=torch.float64).to(tensor.dtype)
    return values.varied(data, intrinsics), values.varied(data, cam2world)


def fuzz_constructors(data: Input) -> None:
    views = data.choice(values.VIEWS)
    intrinsics, cam2world = matrices(data, views)
    size = values.size(data) if data.byte() & 1 else (6, 9)
    kind = data.integer(0, 3)
    if kind == 0:
        result = run_on_both(lambda: Cameras(intrinsics, cam2world, size), ("intrinsics", "cam2world", "size"))
    elif kind == 1:
        names = ("intrinsics", "world2cam", "cam2world", "size")
        plain = isinstance(cam2world, Tensor) and cam2world.layout == torch.strided and not cam2world.is_nested
        if plain and cam2world.dim() > 1 and data.byte() & 1:
            cam2world = cam2world[..., :3, :]
        result = run_on_both(lambda: Cameras.from_world2cam(intrinsics, cam2world, size), names)
    elif kind == 2:
        g = data.generator()
        eye = values.varied(data, torch.randn(views, 3, generator=g))
        target = values.varied(data, torch.randn((views, 3) if data.byte() & 1 else (3,), generator=g))
        up = [values.number(data, number) for number in (0.0, -1.0, 0.0)] if data.byte() & 1 else (0.0, -1.0, 0.0)
        up = data.choice(values.WRONG) if data.rarely() else up
        names = ("eye", "target", "intrinsics", "size", "up", "cam2world")
        result = run_on_both(lambda: Cameras.look_at(eye, target, intrinsics, size, up), names)
    else:
        count = data.integer(0, 3)
        some = [values.cameras(data, views, data.choice(((6, 9), (6, 9), (6, 9), (2, 2)))) for _ in range(count)]
        items: Any = data.choice(values.WRONG) if data.rarely() else some
        result = run_on_both(lambda: Cameras.cat(items), ("cameras",))
    check_usable(result)


def fuzz_forms(data: Input) -> None:
    """Constructors that take the forms of other libraries, and flow."""
    views = data.choice(values.VIEWS)
    intrinsics, pose = matrices(data, views)
    size = values.size(data) if data.byte() & 1 else (6, 9)
    centers = values.option(data, (False, True))
    kind = data.integer(0, 3)
    if kind == 0:
        names = ("intrinsics", "cam2world", "size", "integer_centers")
        result = run_on_both(lambda: Cameras.from_opengl(intrinsics, pose, size, integer_centers=centers), names)
    elif kind == 1:
        width, height = values.number(data, 9), values.number(data, 6)
        names = ("world2cam", "intrinsics", "width", "height", "size")
        result = run_on_both(lambda: Cameras.from_viewmats(pose, intrinsics, width, height), names)
    elif kind == 2:
        q, t = (values.varied(data, torch.randn(views, side, generator=data.generator())) for side in (4, 3))
        order, of = values.option(data, ("wxyz", "xyzw")), values.option(data, ("cam2world", "world2cam"))
        names = ("quaternion", "translation", "intrinsics", "size", "order", "pose", "cam2world", "world2cam")
        result = run_on_both(lambda: Cameras.from_quaternion(intrinsics, q, t, size, order=order, pose=of), names)
    else:
        cameras = testing.random_cameras(data.generator(), data.integer(1, 3), (6, 9))
        depth = values.varied(data, values.depth(data, len(cameras), 6, 9))
        target = values.cameras(data, len(cameras), (6, 9))
        result = run_on_both(lambda: cameras.flow(depth, target), ("depth", "target"), sums=True)
    check_usable(result)


def check_usable(cameras: Any) -> None:
    """Raise FaultError if accepted cameras have values that are not finite, or do not survive a pickle."""
    if not isinstance(cameras, Cameras) or cameras.device.type == "meta":
        return
    for name in ("intrinsics", "cam2world", "world2cam"):
        if not bool(getattr(cameras, name).isfinite().all()):
            raise FaultError(f"{name} of accepted cameras is not finite")
    compare("pickled cameras", plain_parts(cameras), plain_parts(pickle.loads(pickle.dumps(cameras))))


def plain_parts(cameras: Cameras) -> list[Any]:
    """Return all that cameras hold, as tensors of no type of one's own."""
    return [part.as_subclass(Tensor) if isinstance(part, Tensor) else part for part in parts(cameras)]


def fuzz_methods(data: Input) -> None:
    cameras = testing.random_cameras(data.generator(), data.integer(1, 3), (6, 9))
    for _ in range(data.integer(1, 4)):
        result = method(data, cameras)
        if isinstance(result, Refusal) or result is None:
            continue
        if isinstance(result, Cameras) and len(result) and result.device.type == "cpu":
            check_usable(result)
            cameras = result


def method(data: Input, cameras: Cameras) -> Any:
    kind = data.integer(0, 7)
    if kind == 0:
        index = data.choice(INDICES) if data.byte() & 3 else values.varied(data, torch.tensor([0, len(cameras) - 1]))
        return run_on_both(lambda: cameras[index], ("cameras",))
    if kind == 1:
        size = values.size(data)
        return run_on_both(lambda: cameras.rescale(size), ("size", "intrinsics"))
    if kind == 2:
        top, left, size = values.number(data, 1.5), values.number(data, -2), values.size(data)
        return run_on_both(lambda: cameras.crop(top, left, size), ("top", "left", "size", "intrinsics"))
    if kind == 3:
        offset = data.choice(values.WRONG) if data.rarely() else [values.number(data, 0.5) for _ in range(3)]
        return run_on_both(lambda: cameras.translate(offset), ("offset",))
    if kind == 4:
        n = data.choice(values.COUNTS)
        xyz = values.varied(data, values.points(data, n, data.choice(testing.POINT_KINDS)))
        return run_on_both(lambda: cameras.project(xyz), ("xyz",))
    if kind == 5:
        times = torch.rand(data.integer(0, 5), generator=data.generator()) * (len(cameras) - 1)
        times = values.varied(data, times)
        return run_on_both(lambda: cameras.interpolate(times), ("times", "intrinsics"))
    if kind == 6:
        device = data.choice(("cpu", "meta", "cuda", "cuda:9", "cpu:1", "gpu", *values.WRONG))
        return run_on_both(lambda: cameras.to(device), ("device",))
    return run_on_both(lambda: Cameras.cat([cameras, cameras]), ("cameras",))
