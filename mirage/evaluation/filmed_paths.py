# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Videos of procedural rooms along the camera files of RealEstate10K, with the true depth: a data set in which all is
known, in the layout that the evaluation of RealEstate10K reads.

``python -m mirage.evaluation.filmed_paths CAMERAS OUT`` writes a folder for each camera file: a PNG image and a depth
map for each of its frames, named after its time in microseconds. A path is brought to a size that fits the room; depth
is in the unit of the file.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras, atomic_write

from ..cameras.realestate10k import read_realestate10k, read_realestate10k_times
from ..data.procedural import ProceduralScene
from ..io.images import to_pil
from .closed_loop import FIRST_SEED, SIZE

__all__ = ["film", "place_path"]

EXTENT = 1.0  # meters, from the first camera to the farthest
ROOM = 0.25  # meters that must be free around every camera
TRIES = 200  # scenes
AROUND = 16  # pixels of the views by which it is checked


def place_path(cameras: Cameras, first_seed: int) -> tuple[ProceduralScene, Cameras, float]:
    """Find a procedural room in which a path fits.

    Args:
        cameras: F cameras of a path, the first one with the identity pose.
        first_seed: of the rooms that are tried.

    Returns:
        The scene; the cameras in it; and meters per unit of the path.

    Raises:
        ValueError: it fits into none.
    """
    span = float(cameras.centers.norm(dim=1).max())
    meters = EXTENT / span if span > 0 else 1.0
    for seed in range(first_seed, first_seed + TRIES):
        scene = ProceduralScene(seed, frames=2)
        start = scene.cameras(2, cameras.size, "on")[:1].cam2world[0].double()
        poses = cameras.cam2world.double().clone()
        poses[:, :3, 3] *= meters
        placed = Cameras(cameras.intrinsics, (start @ poses).float(), cameras.size)
        if all(_room(scene, pose) >= ROOM for pose in placed.cam2world[:: max(len(placed) // 8, 1)]):
            return scene, placed, meters
    raise ValueError(f"cameras: expected a path that fits into one of {TRIES} rooms, got none that does")


def _room(scene: ProceduralScene, pose: Tensor) -> float:
    """Meters to the nearest thing around a camera, on four sides; 0 outside of the rooms."""
    k = torch.tensor([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]], dtype=torch.float32, device="cpu") * AROUND
    k[2, 2] = 1
    nearest = math.inf
    for quarter in range(4):
        turn = torch.eye(4, dtype=torch.float32, device="cpu")
        c, s = math.cos(quarter * math.pi / 2), math.sin(quarter * math.pi / 2)
        turn[0, 0], turn[0, 2], turn[2, 0], turn[2, 2] = c, s, -s, c
        depth = scene.draw(Cameras(k, pose @ turn, (AROUND, AROUND)), 0)[1]
        if not depth.any():
            return 0.0
        nearest = min(nearest, float(depth[depth > 0].min()))
    return nearest


def film(file: Path, folder: Path, *, size: tuple[int, int] = SIZE, first_seed: int = FIRST_SEED) -> int:
    """Film a procedural room along a camera file.

    Args:
        file: of RealEstate10K.
        folder: for images and depth maps.
        size: (H, W) of the images.
        first_seed: of the rooms that are tried.

    Returns:
        The seed of the room.

    Raises:
        DataError: the file is missing or damaged.
        ValueError: its path fits into no room.
    """
    scene, cameras, meters = place_path(read_realestate10k(file, size), first_seed)
    folder.mkdir(parents=True, exist_ok=True)
    for t, seconds in enumerate(read_realestate10k_times(file)):
        image, depth, _ = scene.draw(cameras[t], 0)
        name = f"{round(seconds * 1e6)}"
        with atomic_write(folder / f"{name}.png") as partial:
            to_pil(image.float() / 255).save(partial, format="PNG")
        with atomic_write(folder / f"{name}.npy") as partial, partial.open("wb") as stream:
            np.save(stream, (depth / meters).numpy())
    return scene.seed


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m mirage.evaluation.filmed_paths", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("cameras", type=Path, help="folder of camera files")
    parser.add_argument("out", type=Path, help="folder for the videos")
    for name, default in zip(("height", "width"), SIZE, strict=True):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="PIXELS", help="(default: %(default)s)")
    args = parser.parse_args()
    files = sorted(file for file in args.cameras.glob("*.txt") if file.stem.isalnum() and file.name != "SOURCE.txt")
    for n, file in enumerate(tqdm(files, unit="video")):
        film(file, args.out / file.stem, size=(args.height, args.width), first_seed=FIRST_SEED + TRIES * n)


if __name__ == "__main__":
    main()
