# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The training data of a folder of shards: samples, embeddings of their captions, and the split for validation."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import load_tensors

from ..errors import DataError
from ..io.files import read_json
from .build import DATASET, TEXT_KIND, VERSION, WHITE, WHITE_KIND, caption_key
from .shards import Sample, ShardReader

__all__ = ["TrainingData"]

_NEEDED: dict[str, type] = {
    "codec": str, "temporal_stride": int, "spatial_stride": int, "channels": int, "size": list, "samples": dict,
    "clips": int, "clips_per_shard": int,
}  # fmt: skip
_OF_SAMPLES = (
    "targets", "num_references", "num_preceding", "reference_threshold", "reference_voxel_size", "extent_scales",
)  # fmt: skip


class TrainingData:
    """Samples of a folder that ``mirage data build`` has filled.

    Args:
        folder: of the shards.
        held_out: fraction of the clips that is kept for validation. Which ones depends on their names alone.

    Attributes:
        settings: what the shards were made with.
        reader: the samples.
        training, validation: numbers of the samples.

    Raises:
        DataError: the folder has no shards, or is damaged.
    """

    def __init__(self, folder: str | Path, held_out: float = 0.0) -> None:
        self.folder = Path(folder)
        self.reader = ShardReader(folder)
        path = self.folder / DATASET
        self.settings: dict[str, Any] = read_json(path, "the settings of shards")
        if not isinstance(self.settings, dict) or self.settings.get("version") != VERSION:
            got = self.settings.get("version") if isinstance(self.settings, dict) else type(self.settings).__name__
            raise DataError(f"{path}: expected the settings of shards of version {VERSION}, got {str(got)[:60]}")
        self._check_settings(path)
        self._check_complete()
        clips = {str(sample["clip"]) for sample in self.reader.listed}
        ranked = sorted(clips, key=lambda name: hashlib.sha256(name.encode()).digest())
        kept = set(ranked[: math.ceil(held_out * len(ranked))]) if len(ranked) > 1 else set()
        self.validation = [n for n, sample in enumerate(self.reader.listed) if sample["clip"] in kept]
        self.training = [n for n, sample in enumerate(self.reader.listed) if sample["clip"] not in kept]
        if not self.training:
            raise DataError(f"{folder}: expected clips besides those that are held out, got {len(ranked)} clips in all")
        self._texts: dict[Path, dict[str, Tensor]] = {}

    def _check_settings(self, path: Path) -> None:
        for name, kind in _NEEDED.items():
            value = self.settings.get(name)
            if not isinstance(value, kind) or (isinstance(value, int) and not 0 < value < 1 << 31):
                raise DataError(f"{path}: {name}: expected {kind.__name__}, got {str(value)[:60]!r}")
        missing = next((name for name in _OF_SAMPLES if name not in self.settings["samples"]), None)
        if missing is not None or not self.settings["samples"]["extent_scales"]:
            raise DataError(f"{path}: samples: expected {', '.join(_OF_SAMPLES)}, got no {missing or 'extent_scales'}")

    def _check_complete(self) -> None:
        """Check that the build is finished: which samples a step has depends on all of them."""
        expected = -(-self.settings["clips"] // self.settings["clips_per_shard"])
        if len(self.reader.reports) != expected:
            got = f"{len(self.reader.reports)}; let mirage data build finish"
            raise DataError(f"{self.folder}: expected {expected} shards, got {got}")
        texts = len(list(self.folder.glob("[0-9]*.text.safetensors")))
        if texts not in (0, expected):
            got = f"{texts}; let mirage data build --text finish"
            raise DataError(f"{self.folder}: expected embeddings of captions for all {expected} shards, got {got}")

    def summary(self) -> str:
        """What the data is, in a line."""
        held = sorted({str(self.reader.listed[n]["clip"]) for n in self.validation})
        names = ", ".join(held[:3]) + (f" and {len(held) - 3} more" if len(held) > 3 else "")
        kept = f"{len(self.validation)} of {names} for validation" if held else "which are those for validation too"
        texts = "with" if self.has_texts else "without"
        return f"{self.folder}: {len(self.training)} samples, {kept}, {texts} embeddings of captions"

    @property
    def fingerprint(self) -> str:
        """A hash of the settings and the samples."""
        samples = [(sample["key"], sample["clip"]) for sample in self.reader.listed]
        sizes = [report["filesize"] for report in self.reader.reports]
        return hashlib.sha256(json.dumps([self.settings, samples, sizes, self.has_texts]).encode()).hexdigest()[:16]

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the latents."""
        height, width = self.settings["size"]
        stride = self.settings["spatial_stride"]
        return height // stride, width // stride

    @property
    def has_texts(self) -> bool:
        """Whether embeddings of captions are stored."""
        return next(self.folder.glob("[0-9]*.text.safetensors"), None) is not None

    def white_latents(self) -> Tensor:
        """Read the latents of a white video, (C, T + P, h, w) float32.

        Raises:
            DataError: the file is missing or damaged.
        """
        path, samples = self.folder / WHITE, self.settings["samples"]
        white = _load(path, WHITE_KIND).get("white")
        shape = (self.settings["channels"], samples["targets"] + samples["num_preceding"], *self.grid)
        if white is None or tuple(white.shape) != shape:
            raise DataError(f"{path}: expected white {shape}, got {None if white is None else tuple(white.shape)}")
        return white.float()

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel of the targets, of all clips."""
        try:
            moments = [report["moments"] for report in self.reader.reports]
            count = sum(part["count"] for part in moments)
            total, squares = (
                torch.tensor([part[name] for part in moments], dtype=torch.float64, device="cpu").sum(0)
                for name in ("sum", "squares")
            )
            if total.shape != (self.settings["channels"],) or squares.shape != total.shape or not count > 0:
                raise ValueError("other shapes")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.folder}: expected moments of every channel in the indexes, got {error}") from None
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=1e-12).sqrt()
        return tuple(mean.tolist()), tuple(std.tolist())

    def sample(self, number: int) -> Sample:
        """Read a sample; see :meth:`.ShardReader.__getitem__`."""
        return self.reader[number]

    def text(self, number: int, *, empty: bool = False) -> Tensor | None:
        """Return the embedding of a sample's caption.

        Args:
            number: of the sample.
            empty: whether to return that of the empty caption instead.

        Returns:
            (words, dim), without padding; None if no embeddings are stored.

        Raises:
            DataError: the file is damaged, or has no embedding of the caption.
        """
        path = self.reader.path(number).with_suffix(".text.safetensors")
        if path not in self._texts:
            if not path.exists():
                return None
            self._texts[path] = _load(path, TEXT_KIND)
        caption = "" if empty else str(self.reader.listed[number]["caption"])
        embedding = self._texts[path].get(caption_key(caption))
        if embedding is None or embedding.ndim != 2:
            raise DataError(f"{path}: expected an embedding (words, dim) of {caption[:60]!r}, got none")
        return embedding


def _load(path: Path, kind: str) -> dict[str, Tensor]:
    try:
        return load_tensors(path, kind=kind, version=VERSION)[0]
    except (ValueError, OSError) as error:
        raise DataError(str(error)) from None


def pad_text(text: Tensor | None, words: int, dim: int) -> Tensor:
    """Pad an embedding with zeros, as :class:`diffusers.WanPipeline` does.

    Args:
        text: (words, dim), or None for zeros alone.
        words: of the result.
        dim: of the result.

    Returns:
        (words, dim) float32.

    Raises:
        DataError: the embedding has another dim.
    """
    result = torch.zeros(words, dim, dtype=torch.float32, device="cpu")
    if text is not None:
        if text.shape[1] != dim:
            raise DataError(f"text: expected embeddings of dim {dim}, as the model takes, got {text.shape[1]}")
        result[: len(text)] = text[:words]
    return result
