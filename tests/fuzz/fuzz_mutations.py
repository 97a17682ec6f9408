# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Mutations of files with a checksum or compression, which stop changes of single bytes: the content is changed, and
the file is written again around it."""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from reader_files import mutate, mutate_text

from mirage.io.packet_log import _CHUNK, _MARK
from mirage_kernels import read_safetensors, save_tensors

Mutation = Callable[[bytes, random.Random], bytes]
_PNG = b"\x89PNG\r\n\x1a\n"


def mutate_png(data: bytes, pick: random.Random) -> bytes:
    """Change a chunk of a PNG, its pixels or text before compression, and give it the right checksum."""
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return mutate(data, pick)
    number = pick.randrange(len(chunks))
    name, body = chunks[number]
    if name == b"IDAT":
        body = zlib.compress(mutate(zlib.decompress(body), pick))
    elif pick.random() < 0.2:
        name = pick.choice([b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL"])
    elif body:
        body = mutate(body, pick)
    chunks[number : number + 1] = [(name, body)] * pick.choice([1, 1, 1, 0, 2])
    return _PNG + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def mutate_npz(data: bytes, pick: random.Random) -> bytes:
    """Change an array of an archive, or its name, and write the archive again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = pick.choice(list(members))
    if pick.random() < 0.1:
        members[pick.choice([*members, "depth.npy", "K.npy", "", "a/../b.npy", "x" * 999])] = members.pop(name)
    else:
        members[name] = mutate(members[name], pick) if members[name] else b"\x93NUMPY"
    out = io.BytesIO()
    method = pick.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def mutate_tensors(data: bytes, pick: random.Random) -> bytes:
    """Change the settings or a tensor of a file of ours, and write it with the right checksum."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(data)
        tensors, metadata = read_safetensors(path)
        content = json.loads(metadata["mirage"])
        if pick.random() < 0.5 or not tensors:
            content["settings"] = json.loads(mutate_text(json.dumps(content["settings"]).encode(), pick))
        else:
            name = pick.choice(list(tensors))
            tensors[name] = _mutate_tensor(tensors[name], pick)
        fields = {name: content[name] for name in ("kind", "version", "settings")}
        save_tensors(path, tensors, **fields)
        return path.read_bytes()


def _mutate_tensor(tensor: torch.Tensor, pick: random.Random) -> torch.Tensor:
    """Change the bytes of a tensor, or its shape or dtype."""
    kind = pick.randrange(6)
    if kind < 4 and tensor.numel():
        raw = bytearray(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        width = tensor.element_size()
        at = pick.randrange(len(raw) // width) * width
        special = [0.0, -1.0, 1.0, float("nan"), float("inf"), -float("inf"), 3e38, 1e-45, 127.0, 1e9]
        if tensor.is_floating_point() and kind < 2:
            value = torch.tensor([pick.choice(special)]).to(tensor.dtype).view(torch.uint8).numpy().tobytes()
        else:
            value = pick.choice([b"\0" * width, b"\xff" * width, b"\x01" + b"\0" * (width - 1), pick.randbytes(width)])
        raw[at : at + width] = value
        if tensor.dtype == torch.bool:
            raw = bytearray(byte & 1 for byte in raw)
        return torch.frombuffer(raw, dtype=tensor.dtype).view(tensor.shape)
    if kind == 4:
        return tensor.to(pick.choice([torch.float64, torch.float16, torch.int32, torch.int64, torch.uint8, torch.bool]))
    return pick.choice([tensor[None], tensor.flatten(), tensor[:0], tensor[:-1], torch.cat([tensor, tensor])])


def mutate_packets(data: bytes, pick: random.Random) -> bytes:
    """Change a chunk of packets, and give it the right checksum."""
    body = mutate(data[_CHUNK.size :] or b"\0" * 13, pick)
    size, number = len(body), pick.choice([1, 1, 1, 0, 2, 2**32 - 1])
    return data[: pick.choice([0, 0, len(data)])] + _CHUNK.pack(_MARK, number, size, zlib.crc32(body)) + body


def for_file(name: str) -> Mutation | None:
    """Return the mutation for a file of this name, None if changes of bytes are enough."""
    ends = {".png": mutate_png, ".npz": mutate_npz, ".safetensors": mutate_tensors, ".packets": mutate_packets}
    return ends.get(Path(name).suffix)
