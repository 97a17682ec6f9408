# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A small valid file of every kind that is read, the function that reads it, and mutations of files.

For the tests of damaged files, and for fuzzing.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from mirage.cameras import read_cameras, read_intrinsics, write_cameras
from mirage.cameras.colmap_files import read_depth_map, read_model, read_points
from mirage.cli.run_checks import check_stored
from mirage.cli.run_store import VIDEOS, RunStore
from mirage.data.geometry import Geometry, read_geometry, write_geometry
from mirage.filters import EdgeFilter, Filters, MotionFilter, read_filters
from mirage.io.files import read_depth, read_image, read_mask, read_matrix
from mirage.io.packet_log import Packet
from mirage.io.photos import read_photo_info
from mirage.memory import LatentSpatialMemory
from mirage.recordings import read_recording
from mirage_kernels import Cameras, VoxelCache, read_safetensors

SIZE = (6, 8)
CAMERA = Cameras(torch.tensor([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]]), torch.eye(4).repeat(2, 1, 1), SIZE)
POSE = "1 0 0 {} 0 1 0 0 0 0 1 0\n"


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        file: its name, in a folder of its own.
        make: writes a valid one, and what else belongs to it in the folder.
        read: reads it.
        errors: what it may raise for a damaged one.
    """

    file: str
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    errors: tuple[type[Exception], ...] = ()


def pixels(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 250, shape).astype(dtype)


def make_photo(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif.get_ifd(0x8769)[0xA405] = 6, 26
    exif.get_ifd(0x8769)[0x920A] = IFDRational(26, 1)
    Image.fromarray(pixels(*SIZE, 3)).save(path, exif=exif)


def image(mode: str | None = None, *shape: int, dtype: str = "uint8") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        made = Image.fromarray(pixels(*SIZE, *shape, dtype=dtype))
        (made.convert(mode) if mode else made).save(path)

    return make


def make_exr(path: Path) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File([OpenEXR.Part(header, {"Z": np.ones(SIZE, np.float32)}, "part")]) as file:
        file.write(str(path))


def some_geometry(path: Path) -> None:
    frames = torch.from_numpy(pixels(2, 3, *SIZE))
    write_geometry(path, Geometry(1 + torch.rand(2, *SIZE), CAMERA, frames, torch.ones(2, *SIZE, dtype=torch.bool)))


def make_frames(folder: Path) -> None:
    """Images and depth maps for the recordings."""
    for part in ("images", "depth"):
        (folder / part).mkdir(exist_ok=True)
    for number in range(2):
        Image.fromarray(pixels(*SIZE, 3)).save(folder / "images" / f"{number}.png")
        np.save(folder / "depth" / f"{number}.npy", np.full(SIZE, 2.0))


def make_transforms(path: Path) -> None:
    make_frames(path.parent)
    frames = [
        {"file_path": f"images/{n}.png", "depth_file_path": f"depth/{n}.npy", "transform_matrix": np.eye(4).tolist()}
        for n in range(2)
    ]
    shared = {"fl_x": 8.0, "fl_y": 8.0, "cx": 4.0, "cy": 3.0, "w": 8, "h": 6, "k1": 0.01, "frames": frames}
    path.write_text(json.dumps(shared))


def make_posed(path: Path) -> None:
    make_frames(path.parent)
    (path.parent / "K.txt").write_text("8 8 4 3")
    (path.parent / "poses.txt").write_text(POSE.format(0) + POSE.format(0.1))


def make_tum(path: Path) -> None:
    make_frames(path.parent)
    (path.parent / "rgb.txt").write_text("0.0 images/0.png\n0.1 images/1.png\n")
    (path.parent / "depth.txt").write_text("0.0 depth/0.npy\n0.1 depth/1.npy\n")
    (path.parent / "groundtruth.txt").write_text("0.0 0 0 0 0 0 0 1\n0.1 0 0 0 0 0 0 1\n")
    (path.parent / "K.json").write_text(json.dumps({"fx": 8, "cx": 4, "cy": 3}))


def make_colmap(path: Path) -> None:
    folder = path.parent
    if path.suffix == ".bin":
        (folder / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, 1, 1, 8, 6, 8, 8, 4, 3))
        (folder / "images.bin").write_bytes(
            struct.pack("<Qi7di", 1, 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"0.png\0" + struct.pack("<Q2dq", 1, 3, 3, 7)
        )
        (folder / "points3D.bin").write_bytes(struct.pack("<QQ3d3BdQii", 1, 7, 0, 0, 2, 1, 2, 3, 0.5, 1, 1, 0))
    else:
        (folder / "cameras.txt").write_text("# cameras\n1 PINHOLE 8 6 8 8 4 3\n")
        (folder / "images.txt").write_text("1 1 0 0 0 0 0 0 1 0.png\n3 3 7\n")
        (folder / "points3D.txt").write_text("7 0 0 2 1 2 3 0.5 1 0\n")


def some_cache(**options: Any) -> VoxelCache:
    cache = VoxelCache(**({"voxel_size": 0.1, "channels": 2} | options))
    g = torch.Generator().manual_seed(0)
    cache.insert(torch.rand(9, 3, generator=g) * 3, torch.rand(9, 2, generator=g), torch.rand(9, generator=g) + 0.1)
    return cache


def some_memory() -> LatentSpatialMemory:
    memory = LatentSpatialMemory(channels=2, codec="dct-2")
    memory.write(torch.ones(2, 1, 3, 4), CAMERA[0], torch.full((1, *SIZE), 2.0), stamps=[0])
    return memory


def make_packets(path: Path) -> None:
    for name in VIDEOS:
        RunStore(path.parent).logs[name].append(1, [Packet(0, True, b"data")])


def read_first_frame(path: Path) -> Any:
    return read_recording(path.parent if path.suffix in (".txt", ".bin") else path)[0]


def read_tum(path: Path) -> Any:
    return read_recording(path.parent, intrinsics=path.parent / "K.json")[0]


def read_run(path: Path) -> Any:
    stored = RunStore(path.parent).load()
    if stored is not None:
        check_stored(stored)


def cameras(path: Path) -> Any:
    return read_cameras(path, SIZE, intrinsics=CAMERA.intrinsics[0])


def worldscore(path: Path) -> None:
    poses = [np.diag([-1.0, 1, -1, 1]).tolist()] * 2
    path.write_text(json.dumps({"focal_length": 500, "cameras_interp": poses}))


def own_cameras(path: Path) -> Any:
    """Cameras with the intrinsics of the file."""
    return read_cameras(path, SIZE)


REALESTATE = "http://video\n" + "".join(f"{n} 0.9 1.2 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n" for n in range(2))
KINDS = {
    "photo": Kind("photo.jpg", make_photo, lambda path: (read_photo_info(path), read_image(path))),
    "png": Kind("image.png", image(None, 3), read_image),
    "palette": Kind("image.png", image("P", 3), read_image),
    "gif": Kind("image.gif", image("P", 3), read_image),
    "bmp": Kind("image.bmp", image(None, 3), read_image),
    "tga": Kind("image.tga", image(None, 3), read_image),
    "webp": Kind("image.webp", image(None, 4), lambda path: read_image(path, at_least=(2, 2))),
    "mask": Kind("mask.png", image(), read_mask),
    "16 bits": Kind("depth.png", image(dtype="uint16"), read_depth),
    "pgm": Kind("depth.pgm", image(dtype="uint16"), read_depth),
    "tiff": Kind("depth.tif", image(dtype="float32"), read_depth),
    "pfm": Kind("depth.pfm", lambda path: path.write_bytes(b"Pf\n8 6\n-1.0\n" + bytes(192)), read_depth),
    "exr": Kind("depth.exr", make_exr, read_depth),
    "npy": Kind(
        "depth.npy", lambda path: np.save(path, np.ones(SIZE)), lambda path: (read_depth(path), read_mask(path))
    ),
    "npz": Kind("depth.npz", lambda path: np.savez_compressed(path, depth=np.ones(SIZE)), read_depth),
    "geometry": Kind("geometry.npz", some_geometry, read_geometry),
    "geometry recording": Kind("geometry.npz", some_geometry, read_first_frame),
    "matrix": Kind("matrix.txt", lambda path: path.write_text("1 2 3\n4 5 6\n"), lambda path: read_matrix(path, 3)),
    "intrinsics": Kind(
        "k.txt", lambda path: path.write_text("8 0 4\n0 8 3\n0 0 1"), lambda p: read_intrinsics(p, SIZE)
    ),
    "intrinsics as JSON": Kind(
        "k.json",
        lambda path: path.write_text('{"fl_x": 8, "cx": 4, "w": 8, "h": 6}'),
        lambda p: read_intrinsics(p, SIZE),
    ),
    "poses": Kind("poses.txt", lambda path: path.write_text(POSE.format(0) + str(np.eye(4).tolist())), cameras),
    "RealEstate10K": Kind("cameras.txt", lambda path: path.write_text(REALESTATE), cameras),
    "WorldScore": Kind("cameras.json", worldscore, cameras),
    "cameras": Kind("cameras.json", lambda path: write_cameras(path, CAMERA), cameras),
    "COLMAP model": Kind("images.bin", make_colmap, own_cameras),
    "COLMAP model as text": Kind("images.txt", make_colmap, own_cameras),
    "COLMAP cameras as text": Kind("cameras.txt", make_colmap, lambda path: own_cameras(path.parent)),
    "transforms": Kind("transforms.json", make_transforms, own_cameras),
    "TUM trajectory": Kind("groundtruth.txt", make_tum, cameras),
    "nerfstudio": Kind("transforms.json", make_transforms, read_first_frame),
    "folder": Kind("poses.txt", make_posed, read_first_frame),
    "TUM images": Kind("rgb.txt", make_tum, read_tum),
    "TUM poses": Kind("groundtruth.txt", make_tum, read_tum),
    "COLMAP cameras": Kind("cameras.bin", make_colmap, lambda path: read_model(path.parent)),
    "COLMAP images": Kind("images.bin", make_colmap, lambda path: read_model(path.parent)),
    "COLMAP points": Kind("points3D.bin", make_colmap, lambda path: read_points(path.parent)),
    "COLMAP text": Kind("images.txt", make_colmap, lambda path: read_model(path.parent)),
    "COLMAP depth": Kind("depth.bin", lambda path: path.write_bytes(b"8&6&1&" + bytes(192)), read_depth_map),
    "filters": Kind(
        "f.json", lambda path: path.write_text(Filters([EdgeFilter(), MotionFilter()]).to_json()), read_filters
    ),
    "cache": Kind("cache.safetensors", lambda path: some_cache().save(path), VoxelCache.load, (ValueError,)),
    "tensors": Kind("any.safetensors", lambda path: some_cache().save(path), read_safetensors, (ValueError,)),
    "memory": Kind("memory.safetensors", lambda path: some_memory().save(path), LatentSpatialMemory.load),
    "packets": Kind("result.packets", make_packets, read_run),
}

NUMBERS = ["nan", "inf", "-inf", "1e400", "-1e400", "1e-400", "0x10", "9" * 5000, "", "1e39", "null", "-1", "0", "--1",
           "1e", "1,5", "\x00", "true", "[]", "{}", '""', str(2**63), str(2**31), "1" + "0" * 400]  # fmt: skip


def mutate_bytes(data: bytes, pick: random.Random) -> bytes:
    """Change bytes anywhere, or an integer in the first 600 bytes."""
    changed, length = bytearray(data), len(data)
    at, size = pick.randrange(length), pick.choice([1, 4, 8, 64, 1024])
    head = pick.randrange(min(length, 600))
    kind = pick.randrange(8)
    if kind == 0:
        changed[at] ^= 1 << pick.randrange(8)
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        del changed[at : at + size]
    elif kind == 3:
        changed[at:at] = changed[at : at + size]
    elif kind == 4:
        changed[at : at + size] = pick.randbytes(len(changed[at : at + size]))
    elif kind == 5:
        changed[head] ^= 1 << pick.randrange(8)
    elif kind == 6:
        width = pick.choice([1, 2, 4, 8])
        value = pick.choice([0, (1 << 8 * width) - 1, 1 << 8 * width - 1, (1 << 8 * width - 1) - 1, 1 << 4 * width])
        changed[head : head + width] = value.to_bytes(width, pick.choice(["little", "big"]))
    else:
        changed += pick.randbytes(pick.choice([1, 8, 5000]))
    return bytes(changed)


def mutate_text(data: bytes, pick: random.Random) -> bytes:
    """Change a number, a line, or how deeply the text nests."""
    text = data.decode()
    numbers = list(re.finditer(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?", text))
    kind = pick.randrange(8)
    if kind < 4 and numbers:
        found = pick.choice(numbers)
        value = pick.choice([*NUMBERS, str(pick.uniform(-1e3, 1e3))])
        return (text[: found.start()] + value + text[found.end() :]).encode()
    if kind == 4:
        lines = text.split("\n")
        lines.insert(pick.randrange(len(lines)), lines[pick.randrange(len(lines))])
        return "\n".join(lines).encode()
    if kind == 5:
        at, depth = pick.choice([0, pick.randrange(len(text))]), pick.choice([10, 1000, 100_000])
        return (text[:at] + pick.choice(["[", '{"a":', "("]) * depth + text[at:]).encode()
    if kind == 6:
        return (pick.choice(["\ufeff", "\r\n", "\x00", "#", "\u2028", "\x0c"]) + text).encode()
    return mutate_bytes(data, pick)


def mutate(data: bytes, pick: random.Random) -> bytes:
    """Change a file once, or several times."""
    for _ in range(pick.choice([1, 1, 1, 2, 5])):
        try:
            data.decode()
        except UnicodeDecodeError:
            data = mutate_bytes(data, pick)
        else:
            data = (mutate_text if pick.random() < 0.7 else mutate_bytes)(data, pick)
        if not data:
            break
    return data
