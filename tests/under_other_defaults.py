# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A program that runs the public operations and the memory, and saves every result.

``python under_other_defaults.py FILE`` sets another default dtype and another default device of torch before it imports
anything of this project; ``results()`` is also called without them, and the test compares bits.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CPU: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}


def tensors(value: Any) -> Iterator[Tensor]:
    """Iterate over the tensors in nested results; numbers become float64 tensors."""
    if isinstance(value, Tensor):
        yield value.detach().clone()
    elif isinstance(value, (int, float)):
        yield torch.tensor(value, dtype=torch.float64, device="cpu")
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)
    elif type(value).__name__ == "Cameras":
        yield from (value.intrinsics, value.cam2world, value.world2cam)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator("cpu").manual_seed(seed), **CPU)


def of_cameras() -> Iterator[Any]:
    from mirage_kernels import Cameras, testing

    k = torch.tensor([[60, 0, 40], [0, 60, 22], [0, 0, 1]], **CPU)
    c = testing.random_cameras(torch.Generator("cpu").manual_seed(0), 4, (44, 80))
    yield [c, Cameras(k, c.cam2world, c.size), Cameras.from_world2cam(k, c.world2cam, c.size)]
    yield Cameras.look_at(noise(3, 3), torch.tensor([0, 0, 9], **CPU), k, (44, 80))
    yield [c.interpolate(3 * noise(5)), c.rescale((4, 7)), c.crop(1, 2, (3, 4)), c[[0, -1]], c[::-1], c.to("cpu")]
    yield [c[[True, False, False, True]], Cameras.cat([c, c[1]]), c.project(noise(9, 3)), c.centers]


def of_kernels() -> Iterator[Any]:
    import mirage_kernels as mk
    from mirage_kernels import testing

    for mode, options in (
        ("nearest", {}),
        ("nearest", {"extent": "each"}),
        ("nearest", {"radius": 1.5}),
        ("bilinear", {}),
    ):
        case = testing.splat_case(0, valid=True, **options)
        case = case._replace(xyz=case.xyz.requires_grad_(), features=case.features.requires_grad_())
        view = case.run(mk.splat, mode=mode)
        (view.features.sum() + view.depth[view.mask].sum()).backward()
        yield [view, case.xyz.grad, case.features.grad]
    for pooling in ("median", "nearest", "min", "bilinear"):
        case = testing.unproject_case(0, mask=True, pooling=pooling)
        depth, features = case.depth.requires_grad_(), case.features.requires_grad_()
        points = case.run(mk.unproject)
        (points.xyz.sum() + points.features.sum()).backward()
        yield [points, depth.grad, features.grad, mk.pool_depth(case.depth, (3, 5), pooling=pooling)]
    for groups in (None, 70):
        bits = testing.visible_case(0, num_groups=groups, valid=True).run(mk.visible)
        yield [bits, mk.overlap(bits, bits)]
    yield [mk.group_voxels(noise(99, 3) * scale, 0.3) for scale in (3, 1e9)]


def of_cache() -> Iterator[Any]:
    from mirage_kernels import VoxelCache, testing

    g = torch.Generator("cpu").manual_seed(0)
    xyz, cameras = testing.random_points(g, "room", 300), testing.random_cameras(g, 2, (6, 9))
    for size, options in ((0.2, {}), ("auto", {}), (0.2, {"storage": "int8"}), (0.2, {"fusion": "mean"})):
        cache = VoxelCache(size, 5, max_rows=400, eviction="untouched", **options)
        yield cache.insert(xyz, noise(300, 5), 0.1 + noise(300), stamp=1)
        yield cache.insert(xyz + 0.1, noise(300, 5, seed=1), 0.1 + noise(300), stamp=2)
        cache.touch(torch.arange(9, dtype=torch.int64, device="cpu"), 5)
        yield [cache.splat(cameras), cache.features()]
        yield cache.carve(torch.full((2, 6, 9), 1.5, **CPU), cameras)
        yield cache.evict(max_rows=40, eviction="farthest", position=torch.zeros(3, **CPU))
        with tempfile.TemporaryDirectory() as folder:
            cache.save(Path(folder) / "cache.safetensors")
            yield VoxelCache.load(Path(folder) / "cache.safetensors").splat(cameras)


def of_rollout() -> Iterator[Any]:
    from mirage import cameras as paths
    from mirage.filters import ConsistencyFilter, EdgeFilter, FarFilter, Filters, MotionFilter, SkyFilter
    from mirage.memory import LatentSpatialMemory
    from mirage.models.embedded import DctCodec, FillModel
    from mirage.rollout import rollout
    from mirage_kernels import Cameras

    start = Cameras(paths.intrinsics_from_fov(60, (48, 64)), torch.eye(4, **CPU), (48, 64))
    along = paths.out_and_back(17)
    moves = [paths.pan(start, along, 20), paths.dolly(start, along, 0.5), paths.truck(start, along, 0.5)]
    moves += [paths.orbit(start, along, 30, 2), paths.spiral(start, along, 0.5, 3), paths.through(moves[0], along)]
    moves += [paths.rebase(moves[1], start), paths.worldscore_path(start, ["pan_left", "push_in"], 5)]
    moves += [paths.CameraController(start).go("w*3 w+l*2 i")]
    yield moves
    memory, codec = LatentSpatialMemory(48), DctCodec(8)
    filters = Filters([SkyFilter(), MotionFilter(), ConsistencyFilter(), EdgeFilter(), FarFilter(2.9)])
    depth = 2 + noise(48, 64)
    options: dict[str, Any] = {"memory": memory, "codec": codec, "model": FillModel(), "chunk": 9, "filters": filters}
    for chunk in rollout(noise(3, 48, 64), depth, moves[0], **options):
        yield [chunk.frames, chunk.latents, chunk.view, chunk.written]
    yield memory.retrieve(moves[1][:2], k=3)
    yield [
        memory.write(noise(48, 1, 6, 8), start, depth[None], fill_depth=True),
        memory.carve(depth + 1, start, (6, 8)),
    ]
    with tempfile.TemporaryDirectory() as folder:
        memory.save(Path(folder) / "memory.safetensors")
        yield LatentSpatialMemory.load(Path(folder) / "memory.safetensors").read(start.rescale((6, 8)))


def results() -> dict[str, Tensor]:
    """Run everything on every backend that the CPU has, the rollout on the first one."""
    import mirage_kernels as mk

    found: dict[str, Tensor] = {}
    for backend in [name for name in ("cpp", "reference") if mk.backends()[name] is None]:
        with mk.use_backend(backend):  # type: ignore[arg-type]
            for part in (of_cameras, of_kernels, of_cache) if found else (of_rollout, of_cameras, of_kernels, of_cache):
                for step, value in enumerate(part()):
                    for i, tensor in enumerate(tensors(value)):
                        found[f"{backend} {part.__name__} {step} {i}"] = tensor
    return found


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.save(results(), sys.argv[1])
