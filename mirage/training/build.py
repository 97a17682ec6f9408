# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Building of training shards from clips. It can be stopped at any time and started again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import atomic_write, save_tensors

from ..errors import MAX_REASON, DataError
from ..io.files import read_json
from ..rollout import Codec
from .clips import ClipSource
from .fingerprints import sample_weights
from .samples import SampleSettings, make_samples
from .shards import Sample, write_shard

__all__ = ["DATASET", "INDEXED", "TEXT_KIND", "WHITE", "BuildReport", "build_shards", "caption_key"]

DATASET, WHITE, REPORT = "dataset.json", "white.safetensors", "report.json"
WHITE_KIND, TEXT_KIND = "white video", "text embeddings"
VERSION = 1
INDEXED = ("caption", "clip", "references", "preceding", "known")
MAX_KEY = 60  # characters of a clip's name in a key: a member of a tar file has at most 100

EncodeText = Callable[[str], Tensor]


class BuildReport(NamedTuple):
    """What a folder of shards holds.

    Attributes:
        clips: clips that samples were made of.
        samples: samples in all shards.
        refused: name of each clip that was refused, and why.
        missing: shards that other processes still have to write.
        known: mean fraction of the targets' cells that the memory shows.
    """

    clips: int
    samples: int
    refused: dict[str, str]
    missing: int
    known: float


class _Clip(NamedTuple):
    """A clip, with a name that no other source has."""

    number: int
    name: str
    own_name: str
    source: ClipSource


def build_shards(
    sources: Sequence[ClipSource],
    out: Path,
    codec: Codec,
    size: tuple[int, int],
    settings: SampleSettings,
    *,
    clips_per_shard: int = 16,
    part: tuple[int, int] = (0, 1),
    encode_text: EncodeText | None = None,
    options: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    on_clip: Callable[[str], None] = lambda _: None,
) -> BuildReport:
    """Make the samples of clips and write them to shards.

    Shards that are finished are skipped; one that was interrupted is made again, with the same bytes. A clip that
    cannot be read is left out and reported. Several processes, on one machine or many, can each build a part.

    Args:
        sources: the clips.
        out: folder of the shards.
        codec: encodes the frames.
        size: (H, W) of the frames.
        settings: how samples are made.
        clips_per_shard: clips of a shard.
        part: (i, n): this process builds every n-th shard, beginning with the i-th.
        encode_text: returns the embedding (words, dim) of a caption, without padding; None stores no embeddings.
        options: what else the samples depend on, as JSON values: all shards of a folder have the same.
        device: of the memory.
        on_clip: called with the name of each clip when it is done, skipped or refused.

    Returns:
        What the folder holds now.

    Raises:
        ValueError: the size is not a multiple of the codec's cells and patches.
        DataError: two clips of a source have the same name, or the folder holds shards of other clips or settings.
        OSError: a file cannot be written.
    """
    clips = _number_clips(sources)
    names = [clip.name for clip in clips]
    step = codec.spatial_stride * settings.patch
    if any(side % step or side < step for side in size):
        raise ValueError(f"size: expected multiples of {step}, got {size}")
    out.mkdir(parents=True, exist_ok=True)
    described = _describe(sources, names, codec, size, settings, clips_per_shard)
    _write_settings(out, described | {"options": dict(options or {})})
    _write_white(out, codec, size, settings)
    shards = [clips[first : first + clips_per_shard] for first in range(0, len(clips), clips_per_shard)]
    for number in range(part[0], len(shards), part[1]):
        path = out / f"{number:05d}.tar"
        if _is_finished(path):
            for clip in shards[number]:
                on_clip(clip.name)
        else:
            zeros = [0.0] * codec.channels
            report: dict[str, Any] = {
                "clips": [],
                "refused": {},
                "moments": {"count": 0, "sum": zeros, "squares": zeros},
            }
            samples = _make_shard(shards[number], codec, settings, device, report, on_clip)
            write_shard(path, samples, report, INDEXED)
        if encode_text is not None:
            _write_texts(path, encode_text)
    return _write_report(out, len(shards))


def _number_clips(sources: Sequence[ClipSource]) -> list[_Clip]:
    """All clips; those of a later source with the name of an earlier clip get a number."""
    used: set[str] = set()
    clips: list[_Clip] = []
    for at, source in enumerate(sources):
        for own_name in source.names:
            name = own_name if own_name not in used else f"{own_name}-{at}"
            if name in used:
                raise DataError(f"SOURCE: expected each clip once, got {own_name} twice")
            used.add(name)
            clips.append(_Clip(len(clips), name, own_name, source))
    return clips


def _describe(
    sources: Sequence[ClipSource],
    names: Sequence[str],
    codec: Codec,
    size: tuple[int, int],
    settings: SampleSettings,
    clips_per_shard: int,
) -> dict[str, Any]:
    """What determines the content of all shards."""
    return {
        "version": VERSION,
        "codec": codec.name,
        "temporal_stride": codec.temporal_stride,
        "spatial_stride": codec.spatial_stride,
        "channels": codec.channels,
        "size": list(size),
        "clips_per_shard": clips_per_shard,
        "samples": settings.to_dict(),
        "sources": [getattr(source, "described", source.origin) for source in sources],
        "weights": sample_weights(getattr(codec, "vae", None)),
        "clips": len(names),
        "clip_names": hashlib.sha256("\n".join(names).encode()).hexdigest(),
    }


def _write_settings(out: Path, described: dict[str, Any]) -> None:
    """Write what the shards are made of, or check it against what is there.

    Raises:
        DataError: the folder was made of something else.
    """
    path = out / DATASET
    if path.exists():
        stored = read_json(path, "the settings of shards")
        for name, value in described.items():
            got = stored.get(name) if isinstance(stored, dict) else None
            if got != value:
                raise DataError(
                    f"{path}: expected shards of the same clips and settings, got {name} {str(got)[:80]} instead of "
                    f"{str(value)[:80]}; use another folder"
                )
        return
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(described, indent=1) + "\n")


def _write_white(out: Path, codec: Codec, size: tuple[int, int], settings: SampleSettings) -> None:
    """Write the latents of a white video, as long as the longest sequence of targets and preceding latents."""
    path = out / WHITE
    if path.exists():
        return
    frames = codec.temporal_stride * (settings.targets + settings.num_preceding - 1) + 1
    white = codec.encode(torch.ones(1, 3, frames, *size, dtype=torch.float32, device="cpu"))[0].cpu()
    save_tensors(path, {"white": white.contiguous()}, kind=WHITE_KIND, version=VERSION, settings={})


def _is_finished(path: Path) -> bool:
    """Whether a shard and its index are there. They are written together, the index last."""
    index = path.with_suffix(".json")
    if not path.is_file() or not index.is_file():
        return False
    try:
        content = read_json(index, "an index")
    except DataError:
        return False
    return isinstance(content, dict) and content.get("filesize") == path.stat().st_size


def _make_shard(
    clips: Sequence[_Clip],
    codec: Codec,
    settings: SampleSettings,
    device: torch.device | str,
    report: dict[str, Any],
    on_clip: Callable[[str], None],
) -> Iterator[Sample]:
    """Make the samples of clips; ``report`` gets the names of the clips, the reasons of those that are refused, and
    moments of the targets."""
    for clip in clips:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", clip.name)[:MAX_KEY]
        try:
            samples = list(make_samples(clip.source.read(clip.own_name), codec, settings, clip.name, device))
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a reader raises for a damaged clip, the others go on
            kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
            report["refused"][clip.name] = f"{kind}{' '.join(str(error).split())[:MAX_REASON]}"
        else:
            report["clips"].append(clip.name)
            for number, (tensors, info) in enumerate(samples):
                origin = {"source": clip.source.origin}
                _add_moments(report["moments"], tensors["targets"])
                yield Sample(f"{clip.number:06d}-{stem}-{number:03d}", tensors, info | origin)
        on_clip(clip.name)


def _add_moments(moments: dict[str, Any], targets: Tensor) -> None:
    """Add latents (C, T, h, w) to the moments of a shard."""
    values = targets.double().flatten(1)
    moments["count"] += values.shape[1]
    for name, added in (("sum", values.sum(1)), ("squares", values.square().sum(1))):
        moments[name] = [a + b for a, b in zip(moments[name], added.tolist(), strict=True)]


def caption_key(caption: str) -> str:
    """Name of a caption's embedding in a file."""
    return hashlib.sha256(caption.encode()).hexdigest()[:32]


def _write_texts(path: Path, encode_text: EncodeText) -> None:
    """Write the embeddings of a shard's captions, and of the empty one, beside it."""
    file = path.with_suffix(".text.safetensors")
    if file.exists():
        return
    captions = {"", *(sample["caption"] for sample in read_json(path.with_suffix(".json"), "an index")["samples"])}
    embeddings = {caption_key(caption): encode_text(caption).cpu().contiguous() for caption in sorted(captions)}
    save_tensors(file, embeddings, kind=TEXT_KIND, version=VERSION, settings={})


def _write_report(out: Path, shards: int) -> BuildReport:
    """Summarize the indexes of all shards that are there, also in ``report.json``."""
    clips, samples, missing, known = 0, 0, 0, 0.0
    refused: dict[str, str] = {}
    for number in range(shards):
        path = out / f"{number:05d}.tar"
        if not _is_finished(path):
            missing += 1
            continue
        index = read_json(path.with_suffix(".json"), "an index")
        clips, samples = clips + len(index["clips"]), samples + len(index["samples"])
        refused |= index["refused"]
        known += sum(sample["known"] for sample in index["samples"])
    report = BuildReport(clips, samples, refused, missing, round(known / max(samples, 1), 4))
    with atomic_write(out / REPORT) as partial:
        partial.write_text(json.dumps(report._asdict(), indent=1) + "\n")
    return report
