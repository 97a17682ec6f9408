# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of a cache: complete files are loaded, damaged ones raise an error."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cache_steps import snapshot
from torch import Tensor

from mirage_kernels import VoxelCache, load_tensors, save_tensors
from mirage_kernels.testing import random_points, same_bits

CAUSES = 200  # damaged files in all


def some_cache(seed: int, n: int = 2000, **options: Any) -> VoxelCache:
    g = torch.Generator().manual_seed(seed)
    cache = VoxelCache(**({"voxel_size": 0.05, "channels": 16} | options))
    features = torch.randn(n, 16, generator=g).to(cache.dtype)
    cache.insert(random_points(g, "room", n), features, torch.rand(n, generator=g) / 10, stamp=seed)
    return cache


def same_rows(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(same_bits(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": torch.bfloat16, "storage": "int8", "max_rows": 5000, "extent_scale": 0.5},
        {"dtype": torch.float16, "fusion": "mean"},
        {"voxel_size": "auto", "fusion": "latest", "eviction": "untouched", "max_bytes": 1 << 20, "auto_scale": 0.25},
    ],
)
def test_save_and_load(tmp_path: Path, options: dict[str, Any]) -> None:
    cache = some_cache(3, **options)
    cache.touch(torch.arange(9), 12)
    cache.save(tmp_path / "cache.safetensors")
    loaded = VoxelCache.load(tmp_path / "cache.safetensors")
    assert same_rows(loaded.state_dict(), cache.state_dict())
    assert loaded.settings == cache.settings
    assert loaded.dtype == cache.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["cache.safetensors"]
    more = some_cache(4, **options)
    points = (more.xyz, more.features(), more.footprint)
    assert loaded.insert(*points)[:4] == cache.insert(*points)[:4]


def test_equal_caches_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        some_cache(1).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_save_and_load_of_an_empty_cache(tmp_path: Path) -> None:
    VoxelCache("auto", 4).save(tmp_path / "cache")
    loaded = VoxelCache.load(tmp_path / "cache")
    assert len(loaded) == 0
    assert loaded.voxel_size is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_save_keeps_the_old_file(tmp_path: Path) -> None:
    program = [sys.executable, str(Path(__file__).with_name("save_and_kill.py")), str(tmp_path / "cache.safetensors")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def damaged(path: Path) -> list[tuple[str, bytes]]:
    """Return truncated files and files with one flipped bit."""
    content, pick = path.read_bytes(), random.Random(0)
    lengths = (0, 1, 7, 8, 9, *(pick.randrange(len(content)) for _ in range(45)))
    found = [(f"cut at {at}", content[:at]) for at in lengths]
    for _ in range(130):
        # half of them in the header, which is short
        at = pick.randrange(600 if pick.random() < 0.5 else len(content))
        bit = pick.randrange(8)
        found.append((f"bit {bit} of byte {at}", content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]))
    return found


def changed(tensors: dict[str, Tensor], settings: dict[str, Any]) -> list[tuple[str, dict[str, Tensor], Any, Any, int]]:
    """Yield undamaged files with wrong content: description, tensors, settings, kind, version."""
    good = ("voxel_cache", 1)
    wrong: list[tuple[str, dict[str, Tensor], Any, Any, int]] = [
        ("version", tensors, settings, "voxel_cache", 2),
        ("kind", tensors, settings, "memory", 1),
        ("settings", tensors, [], *good),
        ("another tensor", tensors | {"extra": torch.zeros(3)}, settings, *good),
        ("a negative key", tensors | {"keys": -tensors["keys"]}, settings, *good),
        ("a key twice", tensors | {"keys": tensors["keys"][:1].repeat(len(tensors["keys"]))}, settings, *good),
    ]
    for name, tensor in tensors.items():
        rest = {other: t for other, t in tensors.items() if other != name}
        wrong.append((f"no {name}", rest, settings, *good))
        wrong.append((f"short {name}", tensors | {name: tensor[:-1]}, settings, *good))
        wrong.append((f"{name} as float16", tensors | {name: tensor.half()}, settings, *good))
    for name, value in (("channels", 4), ("voxel_size", -1), ("fusion", "worst"), ("dtype", "int3"), ("max_rows", 3)):
        wrong.append((name, tensors, settings | {name: value}, *good))
    return wrong


def test_damaged_files_raise_and_change_nothing(tmp_path: Path) -> None:
    path, other = tmp_path / "cache.safetensors", tmp_path / "other.safetensors"
    cache = some_cache(0, 200)
    before = snapshot(cache)
    cache.save(path)
    count = 0
    for what, content in damaged(path):
        other.write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.safetensors: expected ") as error:
            VoxelCache.load(other)
        assert "\n" not in str(error.value), what
        count += 1
    tensors, settings = load_tensors(path, kind="voxel_cache", version=1)
    for what, new, new_settings, kind, version in changed(tensors, settings):
        save_tensors(other, new, kind=kind, version=version, settings=new_settings)
        with pytest.raises(ValueError, match=r"other\.safetensors: expected "):
            VoxelCache.load(other)
        if new is not tensors:
            with pytest.raises((ValueError, TypeError)):
                cache.load_state_dict(new)
        assert same_rows(snapshot(cache), before), what
        count += 1
    assert count >= CAUSES
    with pytest.raises(FileNotFoundError, match="no such file"):
        VoxelCache.load(tmp_path / "nothing")


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path, file_limit: Callable[[int], Any]) -> None:
    path = tmp_path / "cache.safetensors"
    some_cache(0, 100).save(path)
    before = path.read_bytes()
    large = some_cache(1)
    for write in (large.save, large.export_ply):
        with file_limit(1 << 15), pytest.raises(OSError, match=r"cache\.safetensors") as error:
            write(path)
        assert "\n" not in str(error.value)
        assert error.value.errno == errno.EFBIG  # what the limit gives instead of ENOSPC
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_ply_format(tmp_path: Path) -> None:
    cache = some_cache(0, 50)
    rows = len(cache)
    cache.export_ply(tmp_path / "cache.ply", torch.arange(3 * rows, dtype=torch.uint8).reshape(rows, 3))
    header, body = (tmp_path / "cache.ply").read_bytes().split(b"end_header\n", 1)
    assert f"element vertex {rows}\nproperty float x\n".encode() in header
    record = 3 * 4 + 4 + 8 + 3
    assert len(body) == rows * record
    values = torch.frombuffer(bytearray(body), dtype=torch.uint8).reshape(rows, record)
    assert same_bits(values[:, :12].contiguous().view(torch.float32), cache.xyz)
    assert values[:, 16:24].contiguous().view(torch.float64)[:, 0].tolist() == cache.stamp.tolist()
    assert values[1, 24:].tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match="colors: expected"):
        cache.export_ply(tmp_path / "cache.ply", torch.zeros(3, 3, dtype=torch.uint8))
