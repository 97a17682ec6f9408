# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training samples in tar files of the WebDataset format, with an index for random access.

A sample is two members of a tar file: ``KEY.safetensors`` with its tensors and ``KEY.json`` with what is known about
them. Beside ``00000.tar``, ``00000.json`` has the offset and the length of every member and its checksum, in the layout
of ``hfutils.index``, and what the trainer needs to know about each sample before it reads it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from torch import Tensor

from mirage_kernels import atomic_writes

from ..errors import MAX_REASON, DataError, check_file, first_line
from ..io.files import read_json

__all__ = ["Sample", "ShardReader", "write_shard"]


class Sample(NamedTuple):
    """A sample of a shard.

    Attributes:
        key: name that is unique in the dataset, without dots.
        tensors: tensors by name.
        info: JSON values.
    """

    key: str
    tensors: dict[str, Tensor]
    info: dict[str, Any]


def write_shard(path: Path, samples: Iterator[Sample], report: dict[str, Any], index_names: Sequence[str]) -> None:
    """Write a shard and its index. Both are complete or absent, and the same samples always give the same bytes.

    Args:
        path: the tar file; the index has the suffix ``.json``.
        samples: they are written as they come.
        report: JSON values for the index. It is read after the last sample.
        index_names: values of :attr:`Sample.info` that are copied to the index.

    Raises:
        OSError: a file cannot be written.
    """
    files: dict[str, dict[str, Any]] = {}
    listed = []
    with atomic_writes([path, path.with_suffix(".json")]) as (tar_file, index_file):
        with tarfile.open(tar_file, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                tensors = {name: tensor.contiguous() for name, tensor in sample.tensors.items()}
                text = json.dumps(sample.info, sort_keys=True)
                for suffix, data in (("safetensors", safetensors.torch.save(tensors)), ("json", text.encode())):
                    member = tarfile.TarInfo(f"{sample.key}.{suffix}")
                    member.size = len(data)
                    offset = tar.fileobj.tell() + tarfile.BLOCKSIZE
                    tar.addfile(member, io.BytesIO(data))
                    digest = hashlib.sha256(data).hexdigest()
                    files[member.name] = {"offset": offset, "size": len(data), "sha256": digest}
                listed.append({"key": sample.key, **{name: sample.info[name] for name in index_names}})
        index = {"filesize": tar_file.stat().st_size, "files": files, "samples": listed, **report}
        index_file.write_text(json.dumps(index, sort_keys=True) + "\n")


class _Part(NamedTuple):
    """Where a member of a shard is."""

    offset: int
    size: int
    sha256: str


class _Location(NamedTuple):
    """Where a sample is."""

    shard: int
    key: str
    tensors: _Part
    info: _Part


class ShardReader:
    """Reads samples of a folder of shards by their number. The time does not depend on the number.

    Args:
        folder: with ``00000.tar``, ``00000.json`` and so on.

    Attributes:
        listed: what the index says of each sample.
        reports: what the index of each shard says besides its samples.

    Raises:
        DataError: there are no shards, or an index is damaged or does not fit its shard.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.listed: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self._paths: list[Path] = []
        self._locations: list[_Location] = []
        self._keys: set[str] = set()
        if not self.folder.is_dir():
            got = "a file" if self.folder.exists() else "no such folder"
            raise DataError(f"{folder}: expected a folder of shards, got {got}")
        for path in sorted(self.folder.glob("[0-9]*.tar")):
            self._add(path)
        if not self._locations:
            raise DataError(f"{folder}: expected shards with samples (00000.tar), got none")

    def _add(self, path: Path) -> None:
        index = read_json(path.with_suffix(".json"), "the index of a shard")
        try:
            files, samples = index.pop("files"), index.pop("samples")
            if index["filesize"] != path.stat().st_size:
                raise ValueError(f"a shard of {index['filesize']} bytes, got {path.stat().st_size}")
            for sample in samples:
                self._locations.append(self._locate(sample, files, index["filesize"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"an index with {error}" if isinstance(error, KeyError) else first_line(error)
            raise DataError(f"{path.with_suffix('.json')}: expected {reason[:MAX_REASON]}") from None
        self.listed += samples
        self.reports.append(index)
        self._paths.append(path)

    def _locate(self, sample: dict[str, Any], files: dict[str, Any], size: int) -> _Location:
        """Find a sample in its shard, and check what the index says of it."""
        for name, kind in (("key", str), ("clip", str), ("caption", str), ("references", int), ("preceding", int)):
            if not isinstance(sample[name], kind) or (kind is int and sample[name] < 0):
                raise ValueError(f"{name} of {kind.__name__}, got {sample[name]!r}")
        if sample["key"] in self._keys:
            raise ValueError(f"each sample once, got {sample['key']} twice")
        self._keys.add(sample["key"])
        members = [files[f"{sample['key']}.{suffix}"] for suffix in ("safetensors", "json")]
        parts = [_Part(int(m["offset"]), int(m["size"]), str(m["sha256"])) for m in members]
        for part in parts:
            if part.offset < 0 or part.size < 0 or part.offset + part.size > size:
                raise ValueError(f"members within {size} bytes, got {part.size} bytes at {part.offset}")
        return _Location(len(self._paths), sample["key"], parts[0], parts[1])

    def path(self, number: int) -> Path:
        """Return the shard that has a sample."""
        return self._paths[self._locations[number].shard]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._locations)

    def __getitem__(self, number: int) -> Sample:
        """Read a sample.

        Args:
            number: from 0.

        Raises:
            DataError: the shard is missing or damaged.
            IndexError: there is no such sample.
        """
        location, path = self._locations[number], self.path(number)
        check_file(path, "a shard")
        with path.open("rb") as file:
            parts = [_read(file, part.offset, part.size) for part in (location.tensors, location.info)]
        try:
            for data, part in zip(parts, (location.tensors, location.info), strict=True):
                if hashlib.sha256(data).hexdigest() != part.sha256:
                    raise ValueError("its checksum is another one")
            return Sample(location.key, safetensors.torch.load(parts[0]), json.loads(parts[1]))
        except Exception as error:  # of safetensors, for damaged data
            reason = first_line(error)[:MAX_REASON]
            raise DataError(f"{path}: expected sample {location.key}, got a damaged one ({reason})") from None


def _read(file: Any, offset: int, size: int) -> bytes:
    file.seek(offset)
    data: bytes = file.read(size)
    return data
