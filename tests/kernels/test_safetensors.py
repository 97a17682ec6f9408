# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Our reader and writer of safetensors files against the library's, and files that change while they are read."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mirage_kernels import VoxelCache, load_tensors, read_safetensors, save_tensors
from mirage_kernels._safetensors import MAX_HEADER, SafetensorsReader
from mirage_kernels.testing import same_bits

DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.float8_e4m3fn, torch.float8_e5m2, torch.int16, torch.float16,
    torch.bfloat16, torch.int32, torch.float32, torch.complex64, torch.float64, torch.int64,
)  # fmt: skip


def some_tensors() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = ((), (0, 3), (5,), (2, 3, 2))
    return {
        f"{n}.{dtype}": torch.randint(0, 2, shape, generator=g).to(dtype)
        for n, shape in enumerate(shapes)
        for dtype in DTYPES
    }


def read_with_the_library(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    def bits(tensor: Tensor) -> Tensor:
        return tensor.contiguous().view(-1).view(torch.uint8)

    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype and a[n].shape == b[n].shape and torch.equal(bits(a[n]), bits(b[n])) for n in a
    )


def test_both_implementations_read_and_write_the_same(tmp_path: Path) -> None:
    ours, theirs, tensors = tmp_path / "ours", tmp_path / "theirs", some_tensors()
    save_tensors(ours, tensors, kind="k", version=1, settings={"text": 'é"\n'})
    save_file(tensors, theirs, {"text": "é"})
    assert same(read_with_the_library(ours), tensors)
    assert same(read_safetensors(ours)[0], tensors)
    assert same(read_safetensors(theirs)[0], tensors)
    assert read_safetensors(theirs)[1] == {"text": "é"}


def test_both_implementations_refuse_the_same(tmp_path: Path) -> None:
    path, pick = tmp_path / "file", random.Random(0)
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.int8)}, path, {"k": "v"})
    content, agreed = path.read_bytes(), 0
    length = 8 + int.from_bytes(content[:8], "little")
    for _ in range(150):
        at, data = pick.randrange(length), bytearray(content)
        if pick.random() < 0.7:
            data[at] = pick.choice(b'0123456789{}[]",:ab')
        else:
            del data[at : at + pick.randrange(1, 4)]
        path.write_bytes(data)
        results = []
        for read, errors in ((read_with_the_library, (SafetensorError, RuntimeError)), (all_tensors, ValueError)):
            try:
                results.append(read(path))
            except errors:
                results.append(None)
        theirs, mine = results
        assert theirs is not None or mine is None, bytes(data[:length])  # what we read, they read
        assert mine is None or same(theirs, mine)
        agreed += (theirs is None) == (mine is None)
    assert agreed == 150


def all_tensors(path: Path) -> dict[str, Tensor]:
    return read_safetensors(path)[0]


def test_a_file_that_is_replaced_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_tensors(path, {"a": torch.zeros(1000)}, kind="k", version=1, settings={})
    with SafetensorsReader(path) as reader:
        save_tensors(path, {"a": torch.ones(1000)}, kind="k", version=1, settings={})
        assert same_bits(reader.read()["a"], torch.zeros(1000))
    assert same_bits(read_safetensors(path)[0]["a"], torch.ones(1000))


def test_a_file_that_is_truncated_meanwhile_is_an_error(tmp_path: Path) -> None:
    """A mapped file would end the process."""
    path = tmp_path / "file"
    save_tensors(path, {"a": torch.zeros(1 << 16)}, kind="k", version=1, settings={})
    with SafetensorsReader(path) as reader:
        os.truncate(path, 1000)
        with pytest.raises(ValueError, match="a: the file ends early"):
            reader.read()


def raw(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def entry(dtype: Any = "F32", shape: Any = (1,), begin: Any = 0, end: Any = 4) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


DAMAGED = {
    "empty": b"",
    "a length beyond the file": raw({}, length=1 << 62),
    "a header that is too long": raw(b"{" + b" " * MAX_HEADER + b"}"),
    "nested": raw(b'{"a":' + b"[" * 100_000),
    "a huge number": raw(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', bytes(4)),
    "a list": raw([]),
    "no UTF-8": raw(b'{"\xff":1}'),
    "metadata": raw({"__metadata__": {"a": 1}}),
    "an unknown dtype": raw({"a": entry("F31")}, bytes(4)),
    "a dtype that is a list": raw({"a": entry([])}, bytes(4)),
    "a negative side": raw({"a": entry(shape=(-1,))}, bytes(4)),
    "a side that is no integer": raw({"a": entry(shape=(1.0,))}, bytes(4)),
    "more than the file has": raw({"a": entry(shape=(1 << 40,), end=1 << 42)}, bytes(4)),
    "sides that overflow": raw({"a": entry(shape=(0, 1 << 62, 1 << 62), end=0)}),
    "a gap": raw({"a": entry(begin=4, end=8)}, bytes(8)),
    "an overlap": raw({"a": entry(), "b": entry()}, bytes(4)),
    "bytes behind": raw({"a": entry()}, bytes(5)),
    "a name twice": raw(b'{"a":1,"a":' + json.dumps(entry()).encode() + b"}", bytes(4)),
    "a boolean of 2": raw({"a": entry("BOOL", end=1)}, b"\2"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_errors_of_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(ValueError, match=r"file: expected a safetensors file, got a damaged file \(") as error:
        read_safetensors(path)
    assert "\n" not in str(error.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ValueError, match="it is a folder or a device"):
            read_safetensors(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_safetensors(tmp_path / "missing")


@pytest.mark.parametrize(("error", "raised"), [
    (OSError(5, "Input/output error"), OSError), (OSError(24, "Too many open files"), OSError),
    (MemoryError(), torch.OutOfMemoryError), (RuntimeError("can't allocate memory"), torch.OutOfMemoryError),
    (ValueError("x: the file ends early"), ValueError),
])  # fmt: skip
@pytest.mark.parametrize("read", [
    read_safetensors, lambda path: load_tensors(path, kind="example", version=1), VoxelCache.load,
])  # fmt: skip
def test_a_file_that_could_not_be_read_is_not_called_damaged(
    read: Any, error: Exception, raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    if read == VoxelCache.load:
        VoxelCache(0.1, 2).save(path)
    else:
        save_tensors(path, {"x": torch.ones(2)}, kind="example", version=1, settings={})

    def fail(_: Any) -> None:
        raise error

    monkeypatch.setattr(SafetensorsReader, "read", fail)
    with pytest.raises(raised) as got:
        read(path)
    assert str(path) in str(got.value)
    assert ("damaged" in str(got.value)) == (raised is ValueError)
