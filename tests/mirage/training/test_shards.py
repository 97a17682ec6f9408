# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Shards: the same bytes however often they were interrupted, and read back as they were."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import webdataset
from small_training import SIZE, TableClips, build, build_both
from training_processes import start

from mirage.errors import DataError
from mirage.models.embedded import DctCodec
from mirage.recordings import read_recording
from mirage.training import shards as shard_module
from mirage.training.build import build_shards
from mirage.training.clips import ClipSource, ProceduralClips, RecordingClips, TrainingClip, parse_seeds
from mirage.training.dataset import TrainingData
from mirage.training.samples import SampleSettings
from mirage.training.shards import ShardReader


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def check_latents(source: ClipSource, folder: Path, size: tuple[int, int]) -> None:
    """The targets decode to the clip's frames, up to what the codec drops and 16 bits round."""
    codec, reader = DctCodec(16), ShardReader(folder)
    clips: dict[str, torch.Tensor] = {}
    assert len(reader)
    for number in range(len(reader)):
        sample = reader[number]
        name = sample.info["clip"]
        if name not in source.names:
            continue
        if name not in clips:
            clips = {name: source.read(name).frames}
        count = sample.tensors["targets"].shape[1]
        frames = clips[name][sample.info["first_frame"] :][: 4 * (count - 1) + 1 : 4].movedim(1, 0).float() / 255
        expected = DctCodec(16, temporal_stride=1).encode(frames[None])[0]
        error = (sample.tensors["targets"].float() - expected).abs()
        assert (error <= expected.abs() * 2**-10 + 1e-4).all()
        shown = codec.decode(sample.tensors["targets"].float()[None])[0, :, ::4]
        kept = DctCodec(16, temporal_stride=1).decode(expected[None])[0]
        assert (shown - kept).abs().max() < 0.02
        assert shown.shape[2:] == size


def test_targets_are_the_latents_of_the_clip(shards: Path) -> None:
    check_latents(ProceduralClips(range(8), 29, SIZE), shards, SIZE)


def test_targets_of_a_recording(data: Path, tmp_path: Path) -> None:
    size = (96, 128)
    clips = RecordingClips(read_recording(data / "hololens_dev"), 37, size, "a kitchen")
    settings = SampleSettings(targets=3, per_clip=3)
    report = build_shards([clips], tmp_path, DctCodec(16), size, settings)
    assert (report.clips, report.samples, report.refused) == (2, 6, {})
    check_latents(clips, tmp_path, size)
    samples = [ShardReader(tmp_path)[n] for n in range(6)]
    assert {sample.info["caption"] for sample in samples} == {"a kitchen"}
    assert all(sample.tensors["mask"].any() for sample in samples)


def test_interrupted_shards_have_the_same_bytes(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop_after(count: int) -> Callable[[str], None]:
        left = iter(range(count))

        def on_clip(_: str) -> None:
            if next(left, None) is None:
                raise StoppedError

        return on_clip

    clips, stopped, whole = [TableClips(8)], tmp_path / "stopped", tmp_path / "whole"
    for count in (2, 5, 7):
        with pytest.raises(StoppedError):
            build(stopped, clips, on_clip=stop_after(count))
    assert not (stopped / "report.json").exists()
    build(stopped, clips)
    build(whole, clips)
    assert contents(stopped) == contents(whole)
    build(stopped, clips)  # nothing is left to do
    assert contents(stopped) == contents(whole)


def test_parts_make_the_same_shards(tmp_path: Path) -> None:
    clips, parts, whole = [TableClips(8)], tmp_path / "parts", tmp_path / "whole"
    report = build(parts, clips, part=(1, 2))
    assert (report.missing, report.clips) == (2, 3)
    report = build(parts, clips, part=(0, 2))
    assert (report.missing, report.clips) == (0, 8)
    build(whole, clips)
    assert contents(parts) == contents(whole)


def test_a_damaged_clip_is_refused_by_name(tmp_path: Path) -> None:
    report = build(tmp_path, [TableClips(4, broken=["wall.1"])], clips_per_shard=2)
    assert report.refused == {"wall.1": "wall.1: expected an image, got a damaged file"}
    assert (report.clips, report.samples) == (3, 6)
    assert json.loads((tmp_path / "report.json").read_text())["refused"] == report.refused
    assert {sample["clip"] for sample in ShardReader(tmp_path).listed} == {"wall.0", "wall.2", "wall.3"}
    short = build(tmp_path / "short", [TableClips(2, frames=8)])
    assert short.refused["wall.0"] == "expected a clip of at least 9 frames, got 8"
    with pytest.raises(DataError, match="expected shards with samples"):
        TrainingData(tmp_path / "short")


def test_a_damaged_frame_of_a_recording(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for entry in (data / "hololens_dev").iterdir():
        if entry.is_dir():
            (copy / entry.name).mkdir()
            for file in entry.iterdir():
                (copy / entry.name / file.name).symlink_to(file)
        else:
            (copy / entry.name).symlink_to(entry)
    image = sorted((copy / "images").iterdir())[20]
    image.unlink()
    image.write_bytes(b"not an image")
    report = build(tmp_path / "out", [RecordingClips(read_recording(copy), 18, SIZE)])
    assert list(report.refused) == ["copy-000018", "copy-000072"]  # of the last one, a single frame is left
    assert image.name in report.refused["copy-000018"]
    assert report.clips == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves files open
def test_webdataset_reads_the_shards(shards: Path) -> None:
    paths = [str(path) for path in sorted(shards.glob("*.tar"))]
    read = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
    reader = ShardReader(shards)
    assert [item["__key__"] for item in read] == [reader[n].key for n in range(len(reader))]
    for number, item in enumerate(read):
        sample = reader[number]
        assert json.loads(item["json"]) == sample.info
        for name, tensor in safetensors.torch.load(item["safetensors"]).items():
            assert torch.equal(tensor, sample.tensors[name])


def test_the_index_has_the_place_of_every_member(shards: Path) -> None:
    for path in shards.glob("*.tar"):
        index = json.loads(path.with_suffix(".json").read_text())
        with tarfile.open(path) as tar:
            members = {m.name: (m.offset_data, m.size, m.mtime, m.uid) for m in tar}
        assert members == {name: (place["offset"], place["size"], 0, 0) for name, place in index["files"].items()}
        assert index["filesize"] == path.stat().st_size


def test_any_sample_takes_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of reading sample 10,000 is that of reading sample 0: the bytes of its two members."""
    build(tmp_path, [TableClips(1)], SampleSettings(targets=2, per_clip=1))
    shard, index = tmp_path / "00000.tar", json.loads((tmp_path / "00000.json").read_text())
    names = list(index["files"])
    (key,) = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    copies = 10_001
    data = shard.read_bytes()
    index["filesize"] = len(data) * copies
    files, samples = {}, []
    with shard.open("wb") as file:
        for copy in range(copies):
            for name in names:
                place = index["files"][name]
                files[name.replace(key, f"{copy}")] = {**place, "offset": place["offset"] + copy * len(data)}
            samples.append({**index["samples"][0], "key": f"{copy}"})
            if copy in (0, copies - 1):
                file.seek(copy * len(data))
                file.write(data)
    (tmp_path / "00000.json").write_text(json.dumps({**index, "files": files, "samples": samples}))
    reader = ShardReader(tmp_path)
    read: list[tuple[int, int]] = []
    original = shard_module._read

    def counted(file: Any, offset: int, size: int) -> bytes:
        read.append((offset % len(data), size))
        return original(file, offset, size)

    monkeypatch.setattr(shard_module, "_read", counted)
    first, last = reader[0], reader[copies - 1]
    assert len(read) == 4
    assert read[:2] == read[2:]
    assert torch.equal(first.tensors["targets"], last.tensors["targets"])


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    build(tmp_path, [TableClips(1)])
    path = tmp_path / "00000.tar"
    data = path.read_bytes()
    path.write_bytes(b"\xff" * len(data))
    with pytest.raises(DataError, match=r"00000.tar: expected sample 000000-wall-0-000, got a damaged one"):
        ShardReader(tmp_path)[0]
    path.write_bytes(data[:-512])
    with pytest.raises(DataError, match=r"00000.json: expected a shard of \d+ bytes, got \d+"):
        ShardReader(tmp_path)
    (tmp_path / "00000.json").write_text("{}")
    with pytest.raises(DataError, match=r"00000.json"):
        ShardReader(tmp_path)
    (tmp_path / "00000.json").write_text("{")
    with pytest.raises(DataError, match="expected the index of a shard, got damaged JSON"):
        ShardReader(tmp_path)
    with pytest.raises(DataError, match="expected a folder of shards, got no such folder"):
        ShardReader(tmp_path / "none")


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    build(tmp_path, [TableClips(1)])
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"dataset.json: expected shards of the same clips and settings, got samples"):
        build(tmp_path, [TableClips(1)], SampleSettings(targets=3, per_clip=3))
    with pytest.raises(DataError, match="got clips 1 instead of 2"):
        build(tmp_path, [TableClips(2)])
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match=r"size: expected multiples of 32, got \(64, 80\)"):
        build_shards([TableClips(1)], tmp_path / "other", DctCodec(16), (64, 80), SampleSettings())


def test_clips_of_the_same_name_get_a_number(tmp_path: Path) -> None:
    report = build(tmp_path, [TableClips(2), TableClips(2)])
    assert report.clips == 4
    assert {sample["clip"] for sample in ShardReader(tmp_path).listed} == {"wall.0", "wall.1", "wall.0-1", "wall.1-1"}


def test_whatever_a_reader_raises_refuses_its_clip(tmp_path: Path) -> None:
    class Odd(TableClips):
        def read(self, name: str) -> TrainingClip:
            if name == "wall.1":
                raise IndexError("index 3 is out of bounds")
            return super().read(name)

    report = build(tmp_path, [Odd(3)])
    assert report.refused == {"wall.1": "IndexError: index 3 is out of bounds"}
    assert report.clips == 2


def test_other_frames_or_captions_need_another_folder(tmp_path: Path) -> None:
    build(tmp_path, [ProceduralClips(range(1), 17, SIZE)])
    for other in (ProceduralClips(range(1), 21, SIZE), ProceduralClips(range(1), 17, SIZE, "a room")):
        with pytest.raises(DataError, match="expected shards of the same clips and settings, got sources"):
            build(tmp_path, [other])
    with pytest.raises(DataError, match="got options"):
        build(tmp_path, [ProceduralClips(range(1), 17, SIZE)], options={"text": [12]})


def test_clips_that_are_held_out(shards: Path) -> None:
    data = TrainingData(shards, held_out=0.25)
    kept = {data.reader.listed[n]["clip"] for n in data.validation}
    assert len(kept) == 2
    assert not kept & {data.reader.listed[n]["clip"] for n in data.training}
    assert sorted(data.validation + data.training) == list(range(16))
    assert TrainingData(shards, held_out=0.25).validation == data.validation
    assert not TrainingData(shards).validation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": 1}, "targets: expected 2 to"),
        ({"dtype": "int8"}, "dtype: expected 'float16', 'bfloat16' or 'float32'"),
        ({"extent_scales": ()}, "extent_scales: expected a tuple of one number or more"),
        ({"extent_scales": (-1.0,)}, "extent_scales: expected at least 0"),
        ({"reference_threshold": 2.0}, "reference_threshold: expected at most 1"),
    ],
)
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleSettings(**change)


def test_seeds() -> None:
    assert parse_seeds("procedural:3") == range(3, 4)
    for text in ("procedural:", "procedural:5-3", "procedural:-1", "procedural:0-99999999999"):
        with pytest.raises(DataError, match="SOURCE: expected procedural:FIRST-LAST"):
            parse_seeds(text)


@pytest.mark.long
def test_fifty_procedural_clips_and_a_recording_after_kills(
    data: Path, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """Kills at random times; the shards are those of a build that was not disturbed."""
    rng, killed, plain, stopped = random.Random(0), 0, tmp_path / "plain", tmp_path / "stopped"
    while killed < 8:
        process = start(build_both, data, stopped, quiet=True)
        process.join(rng.uniform(0.5, 4))
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        killed += 1
    for folder in (stopped, plain):
        process = start(build_both, data, folder)
        process.join(600)
        assert process.exitcode == 0
    assert contents(stopped) == contents(plain)
    reader = ShardReader(plain)
    figures(f"{len(reader)} samples, the same bytes after {killed} kills")
    check_latents(ProceduralClips(range(50), 29, SIZE), plain, SIZE)
    check_latents(RecordingClips(read_recording(data / "hololens_dev"), 37, SIZE), plain, SIZE)
