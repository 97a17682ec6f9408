# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Saved files whose tensors or settings were changed and that have a checksum over the changed content: each is refused
in one line that names the file and the field, or loads to a state that can be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
import torch
from reader_files import CAMERA, SIZE, some_cache, some_memory
from stopped_runs import stopped_after_a_chunk
from torch import Tensor

from mirage.cameras import read_cameras_json, write_cameras
from mirage.cli.generate import resume
from mirage.cli.main import build_parser, main
from mirage.errors import DataError
from mirage.memory import LatentSpatialMemory
from mirage_kernels import VoxelCache, read_safetensors, save_tensors

# The shape is kept by the first ones.
TENSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "NaN": lambda t: first(t, torch.nan),
    "infinite": lambda t: first(t, torch.inf),
    "negative": lambda t: first(t, -1),
    "most negative": lambda t: first(t, "min"),
    "largest": lambda t: first(t, "max"),
    "zeros": torch.zeros_like,
    "ones": torch.ones_like,
    "of another order": lambda t: t.flip(0) if t.dim() else t,
    "shorter": lambda t: t[:-1] if t.dim() else t,
    "empty": lambda t: t[:0] if t.dim() else t,
    "of more dimensions": lambda t: t[None],
    "of another dtype": lambda t: t.to(torch.float64 if t.dtype != torch.float64 else torch.float32),
    "integers": lambda t: t.to(torch.int32),
}
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 3, 2.5, float("nan"), float("inf"), 1e300, 10**30, "", "../../x", "x" * 10_000, [], {}, [1],
)  # fmt: skip


def first(tensor: Tensor, value: Any) -> Tensor:
    """Change the first number."""
    changed = tensor.clone()
    if isinstance(value, str):
        if tensor.dtype == torch.bool:
            return ~tensor
        info = torch.finfo(tensor.dtype) if tensor.is_floating_point() else torch.iinfo(tensor.dtype)
        value = getattr(info, value)
    if changed.numel() and (tensor.is_floating_point() or not isinstance(value, float)):
        changed.view(-1)[0] = value
    return changed


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in JSON."""
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths_of(item, (*path, key))


def with_value(settings: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of JSON with another value at a place."""
    if not path:
        return value
    copy = json.loads(json.dumps(settings))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


class Content:
    """The tensors and settings of a file that :func:`mirage_kernels.save_tensors` wrote."""

    def __init__(self, path: Path) -> None:
        self.tensors, metadata = read_safetensors(path)
        header = json.loads(metadata["mirage"])
        self.kind, self.version, self.settings = (header[name] for name in ("kind", "version", "settings"))

    def save(self, path: Path, tensors: dict[str, Tensor] | None = None, settings: Any = ()) -> None:
        settings = self.settings if settings == () else settings
        tensors = self.tensors if tensors is None else tensors
        save_tensors(path, tensors, kind=self.kind, version=self.version, settings=settings)


Change = tuple[str, "dict[str, Tensor]", Any]  # in words, the tensors, and the settings


def changes_of(content: Content) -> Iterator[Change]:
    """The content with each tensor and each setting changed."""
    tensors, settings = content.tensors, content.settings
    for name, tensor in tensors.items():
        for what, change in TENSORS.items():
            yield f"{name}: {what}", {**tensors, name: change(tensor)}, settings
        yield f"{name}: missing", {other: t for other, t in tensors.items() if other != name}, settings
    yield "another tensor", {**tensors, "another": torch.zeros(2)}, settings
    for place in paths_of(settings):
        for value in VALUES:
            yield f"{'.'.join(map(str, place))} = {str(value)[:20]}", tensors, with_value(settings, place, value)


@pytest.fixture(params=[pytest.param(23, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
def every(request: pytest.FixtureRequest) -> int:
    """Of how many changes one is tried."""
    return int(request.param)


def outcomes(
    path: Path, every: int, load: Callable[[Path], Any], use: Callable[[Any], None]
) -> tuple[list[str], list[str]]:
    """What was refused, and what was loaded and used."""
    refused, loaded = [], []
    content = Content(path)
    for what, tensors, settings in islice(changes_of(content), 0, None, every):
        content.save(path, tensors, settings)
        try:
            state = load(path)
        except ValueError as error:  # DataError is one
            text = str(error)
            assert str(path) in text, (what, text)
            assert "\n" not in text, (what, text)
            assert len(text) < 600, (what, text)
            refused.append(what)
        else:
            use(state)
            loaded.append(what)
    return refused, loaded


def check_cache(cache: VoxelCache) -> None:
    """Rows are in their voxels and finite; reading and inserting the same points again change nothing."""
    rows, features = len(cache), cache.features()
    assert bool(features.isfinite().all())
    assert bool(cache.xyz.isfinite().all())
    assert bool(cache.footprint.isfinite().all())
    if rows and cache.channels == 2:
        assert cache.insert(cache.xyz.clone(), features, valid=cache.footprint > 0).added == 0
    cache.splat(CAMERA)
    assert len(cache) == rows


@pytest.mark.parametrize("options", [{}, {"storage": "int8", "max_rows": 50}, {"fusion": "mean"}], ids=str)
def test_a_tampered_cache(tmp_path: Path, options: dict[str, Any], every: int) -> None:
    path = tmp_path / "cache.safetensors"
    cache = some_cache(**options)
    cache.touch(torch.arange(3), 1)
    cache.save(path)
    refused, loaded = outcomes(path, every, VoxelCache.load, check_cache)
    assert len(refused) > 150 // every
    assert not [what for what in loaded if what.startswith(("keys: o", "keys: z", "xyz: o", "xyz: z"))]
    if every > 1:
        return
    for name in ("keys", "xyz", "footprint"):
        assert {f"{name}: {what}" for what in ("negative", "shorter", "of another dtype")} <= set(refused)
    assert {"xyz: NaN", "footprint: NaN", "features: NaN", "keys: of another order", "xyz: of another order"} <= {
        *refused, *([] if "storage" not in options else ["features: NaN"])
    }  # fmt: skip


def check_memory(memory: LatentSpatialMemory) -> None:
    """It can be read, written to and searched."""
    check_cache(memory.cache)
    assert bool(memory.read(CAMERA[0].rescale((3, 4))).latents.isfinite().all())
    memory.retrieve(CAMERA[0].rescale((3, 4)))
    memory.write(torch.ones(2, 1, 3, 4), CAMERA[1], torch.full((1, *SIZE), 3.0), stamps=[4])


@pytest.mark.filterwarnings(
    "ignore:memory. .* cells were not written:UserWarning"
)  # with another voxel size, all are far
def test_a_tampered_memory(tmp_path: Path, every: int) -> None:
    path = tmp_path / "memory.safetensors"
    some_memory().save(path)
    refused, loaded = outcomes(path, every, LatentSpatialMemory.load, check_memory)
    assert len(refused) > 200 // every
    for name in ("latents", "surface", "intrinsics", "cam2world"):
        assert every > 1 or f"history.{name}: NaN" in refused
    assert not [what for what in loaded if what.startswith(("history.surface: n", "history.cam2world: i"))]


def test_tampered_cameras(tmp_path: Path, every: int) -> None:
    path, messages = tmp_path / "cameras.json", []
    write_cameras(path, CAMERA)
    content = json.loads(path.read_text())
    for place, value in islice(product(paths_of(content), VALUES), 0, None, every):
        path.write_text(json.dumps(with_value(content, place, value)))
        try:
            cameras = read_cameras_json(path, SIZE)
        except DataError as error:
            messages.append(str(error))
        else:
            assert bool(cameras.world2cam.isfinite().all())
    assert all(message.startswith(str(path)) and "\n" not in message for message in messages)
    assert len(messages) > 500 // every


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests write thousands of files, and none has to survive."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was interrupted after its first chunk."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "k.txt").write_text("40 40 24 16")
    from PIL import Image

    Image.fromarray(torch.randint(0, 255, (32, 48, 3), dtype=torch.uint8).numpy()).save(folder / "image.png")
    argv = ["generate", "--image", str(folder / "image.png"), "--intrinsics", str(folder / "k.txt"), "--block", "8",
            "--frames", "9", "--chunk", "5", "--out", str(folder / "out")]  # fmt: skip
    with stopped_after_a_chunk():
        assert main(argv) == 130
    return folder / "out"


class LoadedError(Exception):
    """The state of a run was loaded."""


@pytest.mark.parametrize("part", ["state", "fixed"])
def test_a_tampered_run(unfinished: Path, monkeypatch: pytest.MonkeyPatch, part: str, every: int) -> None:
    """All of what is loaded goes on until the next chunk would be generated."""
    (path,) = (unfinished / "resume").glob(f"{part}-*.safetensors")
    before, content = path.read_bytes(), Content(path)
    info = json.loads(content.settings["info"]) if part == "state" else None
    refused = loaded = 0

    def done(*_: Any) -> None:
        raise LoadedError

    monkeypatch.setattr("mirage.rollout.RolloutSession.step", done)
    monkeypatch.setattr("mirage.cli.output_folder.OutputFolder._save_unfinished", lambda *_: None)

    def changes() -> Iterator[Change]:
        tensors, settings = content.tensors, content.settings
        for place in [] if part == "fixed" else [place for place in paths_of(info) if len(place) < 3]:
            for value in VALUES[::2]:
                text = json.dumps(with_value(info, place, value))
                yield f"info.{'.'.join(map(str, place))} = {str(value)[:20]}", tensors, {**settings, "info": text}
        for name in [name for name in tensors if not name.startswith("memory:")]:
            for what, change in list(TENSORS.items())[::3]:
                yield f"{name}: {what}", {**tensors, name: change(tensors[name])}, settings
        for name in settings:
            for value in VALUES:
                yield f"{name} = {str(value)[:20]}", tensors, {**settings, name: value}

    for what, tensors, settings in islice(changes(), 0, None, every):
        content.save(path, tensors, settings)
        try:
            resume(build_parser().parse_args(["generate", "--resume", str(unfinished)]))
        except DataError as error:
            text = str(error)
            # Values of options are refused as on the command line.
            assert str(unfinished) in text or what.startswith("info.options"), (what, text)
            assert "\n" not in text, (what, text)
            refused += 1
        except LoadedError:
            loaded += 1
        finally:
            path.write_bytes(before)
    assert refused > (150 if part == "state" else 5) // every
    assert loaded
    with pytest.raises(LoadedError):
        resume(build_parser().parse_args(["generate", "--resume", str(unfinished)]))
