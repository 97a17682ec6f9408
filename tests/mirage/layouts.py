# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The same recording written in every layout that :func:`mirage.recordings.read_recording` reads."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from mirage.data.geometry import Geometry, write_geometry
from mirage_kernels import Cameras


class Frames(NamedTuple):
    """T frames: (T, H, W, 3) uint8, depth (T, H, W) uint16 in millimeters, (3, 3) intrinsics with pixel centers on
    integers, (T, 4, 4) camera-to-world poses."""

    images: np.ndarray
    depth: np.ndarray
    k: np.ndarray
    poses: np.ndarray


def make_frames(count: int = 4, size: tuple[int, int] = (48, 64)) -> Frames:
    """A tilted wall with a hole in its depth, seen by a camera that moves and turns."""
    rng = np.random.default_rng(0)
    h, w = size
    images = rng.integers(0, 256, (count, h // 8, w // 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    depth = np.broadcast_to(np.linspace(1500, 2500, w), (count, h, w)).astype(np.uint16)
    depth[:, : h // 4, : w // 4] = 0
    poses = np.tile(np.eye(4), (count, 1, 1))
    for n in range(count):
        angle = 0.1 * n
        poses[n, :3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        poses[n, :3, 3] = [0.2 * n, 0.05 * n, 0.1]
    k = np.array([[60.0, 0, w / 2 - 0.5], [0, 61.0, h / 2 - 0.25], [0, 0, 1]])
    return Frames(images, depth, k, poses)


def quaternion(rotation: np.ndarray) -> list[float]:
    """x, y, z, w of a rotation: the eigenvector of a symmetric matrix (Bar-Itzhack 2000), good for every angle."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    symmetric = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    vector: list[float] = np.linalg.eigh(symmetric / 3)[1][:, -1].tolist()
    return vector


def read_hololens(folder: Path, count: int) -> Frames:
    """The first frames of the recording ``hololens_dev``."""
    images, depth = [], []
    for path in sorted((folder / "images").glob("*.png"))[:count]:
        with Image.open(path) as image, Image.open(folder / "depth" / path.name) as values:
            images.append(np.asarray(image.convert("RGB")))
            depth.append(np.asarray(values).astype(np.uint16))
    poses = np.loadtxt(folder / "poses.txt")[:count].reshape(-1, 4, 4)
    return Frames(np.stack(images), np.stack(depth), np.loadtxt(folder / "K.txt"), poses)


def text(values: object) -> str:
    return " ".join(repr(float(v)) for v in np.ravel(values))


def save_images(folder: Path, name: str, frames: Frames) -> list[str]:
    (folder / name).mkdir(parents=True)
    names = [f"{n:03}.png" for n in range(len(frames.images))]
    for image, file in zip(frames.images, names, strict=True):
        Image.fromarray(image).save(folder / name / file)
    return names


def save_depth(folder: Path, frames: Frames, unit: int = 1) -> None:
    (folder / "depth").mkdir(parents=True)
    for n, depth in enumerate(frames.depth):
        Image.fromarray((depth.astype(np.uint32) * unit).astype(np.uint16)).save(folder / "depth" / f"{n:03}.png")


def write_folder(folder: Path, frames: Frames) -> Path:
    save_images(folder, "images", frames)
    save_depth(folder, frames)
    (folder / "K.txt").write_text("\n".join(text(row) for row in frames.k))
    (folder / "poses.txt").write_text("\n".join(text(pose) for pose in frames.poses))
    return folder


def write_slambook(folder: Path, frames: Frames) -> Path:
    save_images(folder, "color", frames)
    save_depth(folder, frames)
    (folder / "intrinsics.txt").write_text("\n".join(text(row) for row in frames.k))
    lines = [f"{text(pose[:3, 3])} {text(quaternion(pose[:3, :3]))}" for pose in frames.poses]
    (folder / "pose.txt").write_text("\n".join(lines))
    return folder


def write_tum(folder: Path, frames: Frames) -> Path:
    """Depth and poses are 4 and 8 ms later than images; every pose is doubled by a wrong one that is farther away."""
    names = save_images(folder, "rgb", frames)
    save_depth(folder, frames, unit=5)
    times = [100 + n / 30 for n in range(len(names))]
    lists = {"rgb": (0.0, "rgb"), "depth": (0.004, "depth")}
    for name, (shift, part) in lists.items():
        rows = [f"{time + shift:.6f} {part}/{file}" for time, file in zip(times, names, strict=True)]
        (folder / f"{name}.txt").write_text("\n".join(["# timestamp filename", *rows]))
    rows = []
    for time, pose in zip(times, frames.poses, strict=True):
        rows.append(f"{time + 0.008:.6f} {text(pose[:3, 3])} {text(quaternion(pose[:3, :3]))}")
        rows.append(f"{time + 0.015:.6f} 9 9 9 0 0 0 1")
    (folder / "groundtruth.txt").write_text("\n".join(rows))
    (folder / "K.txt").write_text("\n".join(text(row) for row in frames.k))  # for --intrinsics
    return folder


def write_transforms(folder: Path, frames: Frames) -> Path:
    """In an order that is not that of the file names."""
    names = save_images(folder, "images", frames)
    save_depth(folder, frames)
    h, w = frames.depth.shape[1:]
    entries = [
        {
            "file_path": f"images/{name}",
            "depth_file_path": f"depth/{name}",
            "transform_matrix": (pose @ np.diag([1.0, -1, -1, 1])).tolist(),
        }
        for name, pose in zip(names, frames.poses, strict=True)
    ]
    shared = {"fl_x": frames.k[0, 0], "fl_y": frames.k[1, 1], "cx": frames.k[0, 2] + 0.5, "cy": frames.k[1, 2] + 0.5}
    (folder / "transforms.json").write_text(json.dumps({**shared, "w": w, "h": h, "frames": entries[::-1]}))
    return folder


def world2cam(pose: np.ndarray) -> tuple[list[float], list[float]]:
    """Quaternion (w, x, y, z) and translation, as COLMAP has them."""
    rotation = pose[:3, :3].T
    x, y, z, w = quaternion(rotation)
    return [w, x, y, z], (-rotation @ pose[:3, 3]).tolist()


def write_colmap(folder: Path, frames: Frames, *, binary: bool = False, depth: str = "png") -> Path:
    """A model with one point per frame and one observation; ``depth``: png, dense (COLMAP's maps) or none (points)."""
    names = save_images(folder, "images", frames)
    if depth == "png":
        save_depth(folder, frames)
    elif depth == "dense":
        (folder / "stereo" / "depth_maps").mkdir(parents=True)
        for name, values in zip(names, frames.depth, strict=True):
            h, w = values.shape
            data = f"{w}&{h}&1&".encode() + (values / 1000).astype(np.float32).tobytes()
            (folder / "stereo" / "depth_maps" / f"{name}.geometric.bin").write_bytes(data)
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    (write_colmap_binary if binary else write_colmap_text)(model, names, frames)
    return folder


def colmap_points(frames: Frames) -> list[list[float]]:
    """The point that each frame shows in the middle of its right half."""
    points = []
    for depth, pose in zip(frames.depth, frames.poses, strict=True):
        v, u = depth.shape[0] // 2, depth.shape[1] * 3 // 4
        ray = np.array([(u - frames.k[0, 2]) / frames.k[0, 0], (v - frames.k[1, 2]) / frames.k[1, 1], 1.0])
        points.append((pose[:3, :3] @ (ray * depth[v, u] / 1000) + pose[:3, 3]).tolist())
    return points


def write_colmap_text(model: Path, names: list[str], frames: Frames) -> None:
    h, w = frames.depth.shape[1:]
    k = [frames.k[0, 0], frames.k[1, 1], frames.k[0, 2] + 0.5, frames.k[1, 2] + 0.5]
    (model / "cameras.txt").write_text(f"# Camera list\n1 PINHOLE {w} {h} {text(k)}\n")
    lines = ["# Image list"]
    for n, (name, pose) in enumerate(zip(names, frames.poses, strict=True)):
        q, t = world2cam(pose)
        lines += [f"{n + 1} {text(q)} {text(t)} 1 {name}", f"48.5 24.5 {n + 10} 1.0 1.0 -1" if n != 1 else ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{n + 10} {text(xyz)} 1 2 3 0.5 {n + 1} 0" for n, xyz in enumerate(colmap_points(frames))]
    (model / "points3D.txt").write_text("\n".join(rows) + "\n")


def write_colmap_binary(model: Path, names: list[str], frames: Frames) -> None:
    h, w = frames.depth.shape[1:]
    k = (frames.k[0, 0], frames.k[1, 1], frames.k[0, 2] + 0.5, frames.k[1, 2] + 0.5)
    (model / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, 1, 1, w, h, *k))
    data = struct.pack("<Q", len(names))
    for n, (name, pose) in enumerate(zip(names, frames.poses, strict=True)):
        q, t = world2cam(pose)
        data += struct.pack("<i7di", n + 1, *q, *t, 1) + name.encode() + b"\0"
        data += struct.pack("<Qddqddq", 2, 48.5, 24.5, n + 10, 1.0, 1.0, -1) if n != 1 else struct.pack("<Q", 0)
    (model / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(names))
    for n, xyz in enumerate(colmap_points(frames)):
        data += struct.pack("<Q3d3BdQii", n + 10, *xyz, 1, 2, 3, 0.5, 1, n + 1, 0)
    (model / "points3D.bin").write_bytes(data)


def write_npz(folder: Path, frames: Frames) -> Path:
    folder.mkdir(parents=True)
    k = torch.from_numpy(frames.k).clone()
    k[:2, 2] += 0.5
    cameras = Cameras(k, torch.from_numpy(frames.poses), frames.depth.shape[1:])
    depth = torch.from_numpy(frames.depth.astype(np.float32)) / 1000
    images = torch.from_numpy(frames.images).movedim(3, 1)
    write_geometry(folder / "geometry.npz", Geometry(depth, cameras, images))
    return folder / "geometry.npz"


LAYOUTS: dict[str, Callable[[Path, Frames], Path]] = {
    "folder": write_folder,
    "slambook": write_slambook,
    "tum": write_tum,
    "transforms": write_transforms,
    "colmap-text": write_colmap,
    "colmap-binary": lambda folder, frames: write_colmap(folder, frames, binary=True),
    "colmap-dense": lambda folder, frames: write_colmap(folder, frames, binary=True, depth="dense"),
    "npz": write_npz,
}


def write_layout(name: str, folder: Path, frames: Frames) -> tuple[Path, Path | None]:
    """Write a recording, and return its path and the file for ``--intrinsics``, if the layout has none."""
    path = LAYOUTS[name](folder, frames)
    return path, path / "K.txt" if name == "tum" else None
