# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a memory adapter was trained to be conditioned on. It is saved with the adapter, and the pipeline obeys it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mirage_kernels import check
from mirage_kernels.compat.placement import PLACEMENTS, Placement

from ...rollout import Source
from ...rollout.loop import PRECEDING, REFERENCES
from .prediction import Prediction

__all__ = ["Conditioning", "MaskPolarity"]

MaskPolarity = Literal["known", "holes"]
SEQUENCE = "references targets preceding"
MAX_COUNT = 64  # of references and of preceding latents
MAX_WORDS = 4096
MAX_TARGETS = 4096
MAX_NAME = 200


@dataclass(frozen=True)
class Conditioning:
    """The inputs that a memory adapter and its LoRA were trained with.

    Attributes:
        num_references: largest number R of retrieved latents; 0 for none.
        num_preceding: largest number P of latents before the chunk.
        reference_threshold: minimum overlap of the views of a retrieved latent and of the chunk, 0 to 1.
        reference_voxel_size: size in world units of the voxels by which that overlap is measured.
        mask: with one control channel more than the memory's view has: what its mask is 1 for, ``"known"`` cells or
            ``"holes"``, as in the released code. Other adapters have the latents of a white video there.
        keep_known: whether cells that the memory shows stay as they are shown, and the model generates the others only.
            The full-size model generates all cells; a small one can spend what it has on the holes.
        sequence: order of the transformer's sequence; there is one.
        boundary: where the first latent of a chunk comes from, see :class:`mirage.rollout.RolloutSession`.
        references: what is retrieved, see :class:`mirage.rollout.RolloutSession`.
        extent_scale: half-size of the squares that the memory is rendered with, in footprints; 0 for points.
        placement: where in its cell a point of the memory lies, see :class:`mirage.memory.LatentSpatialMemory`.
        flow_shift: shift of the noise levels; None for that of the scheduler.
        max_sequence_length: tokens that prompts are padded to.
        codec: name of the codec of the latents; empty if it is not known.
        temporal_stride: of the codec, frames from one latent to the next; 0 if it is not known.
        num_targets: latents T of a chunk in training, the first one included; 0 if it is not known.
        prediction: what the transformer's output is: the ``"flow"``, as that of Wan2.2, or the ``"sample"``, which is
            better for small backbones; see :func:`mirage.models.wan.prediction.flow_of_sample`.
        latents_mean, latents_std: of each channel of the codec's latents; the model computes with normalized ones.
            Empty for a codec whose latents are normalized, such as that of Wan2.2.

    Raises:
        TypeError, ValueError: a value has the wrong type or is out of range.
    """

    num_references: int = REFERENCES
    num_preceding: int = PRECEDING
    reference_threshold: float = 0.1
    reference_voxel_size: float = 0.1
    mask: MaskPolarity = "known"
    keep_known: bool = False
    sequence: str = SEQUENCE
    boundary: Source = "latent"
    references: Source = "latent"
    extent_scale: float = 0.65
    placement: Placement = "exact"
    flow_shift: float | None = None
    max_sequence_length: int = 512
    codec: str = ""
    temporal_stride: int = 0
    num_targets: int = 0
    prediction: Prediction = "flow"
    latents_mean: tuple[float, ...] = ()
    latents_std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check.integer("num_references", self.num_references, 0, MAX_COUNT)
        check.integer("num_preceding", self.num_preceding, 0, MAX_COUNT)
        check.number("reference_threshold", self.reference_threshold, 0.0, 1.0)
        check.positive("reference_voxel_size", self.reference_voxel_size)
        check.choice("mask", self.mask, get_args(MaskPolarity))
        check.flag("keep_known", self.keep_known)
        check.choice("sequence", self.sequence, (SEQUENCE,))
        for name in ("boundary", "references"):
            check.choice(name, getattr(self, name), get_args(Source))
        check.number("extent_scale", self.extent_scale, 0.0, 1e6)
        check.choice("placement", self.placement, PLACEMENTS)
        if self.flow_shift is not None:
            check.positive("flow_shift", self.flow_shift)
        check.integer("max_sequence_length", self.max_sequence_length, 1, MAX_WORDS)
        check.integer("temporal_stride", self.temporal_stride, 0, MAX_COUNT)
        check.integer("num_targets", self.num_targets, 0, MAX_TARGETS)
        check.choice("prediction", self.prediction, get_args(Prediction))
        if not isinstance(self.codec, str) or len(self.codec) > MAX_NAME:
            raise check.value_error("codec", f"a name of at most {MAX_NAME} characters", repr(self.codec)[:60])
        for name in ("latents_mean", "latents_std"):
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or len(values) != len(self.latents_mean):
                raise check.value_error(name, "a number for each channel, or none", repr(values)[:60])
            numbers = (check.number(name, value, None if name == "latents_mean" else 1e-6) for value in values)
            object.__setattr__(self, name, tuple(numbers))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Conditioning:
        """Make one of the values of a file.

        Args:
            values: by name; those that are missing have their defaults.

        Raises:
            TypeError, ValueError: a name is unknown, or a value has the wrong type or is out of range.
        """
        if not isinstance(values, Mapping):
            raise check.type_error("conditioning", "an object", values)
        names = [field.name for field in dataclasses.fields(cls)]
        unknown = next((name for name in values if name not in names), None)
        if unknown is not None:
            raise check.value_error("conditioning", f"some of {', '.join(names)}", repr(unknown)[:60])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, for JSON."""
        return dataclasses.asdict(self)

    def check_codec(self, name: str, temporal_stride: int | None = None) -> None:
        """Check that latents are of the codec that the adapter was trained with.

        Args:
            name: of the codec.
            temporal_stride: of the codec, if it is known.

        Raises:
            ValueError: they are not.
        """
        reason = "with whose latents the adapter was trained"
        if self.codec and self.codec != name:
            raise ValueError(f"codec: expected {self.codec!r}, {reason}, got {name!r}")
        if self.temporal_stride and temporal_stride not in (None, self.temporal_stride):
            expected = f"a temporal stride of {self.temporal_stride}"
            raise ValueError(f"codec: expected {expected}, {reason}, got {temporal_stride}")

    def session_options(self, **given: Any) -> dict[str, Any]:
        """Return the arguments of :class:`mirage.rollout.RolloutSession` that follow from it.

        Args:
            given: arguments that are used instead, where they are not None.
        """
        names = ("num_references", "num_preceding", "reference_threshold", "boundary", "references")
        options = {name: getattr(self, name) for name in names}
        return options | {name: value for name, value in given.items() if value is not None}

    def memory_options(self) -> dict[str, Any]:
        """Return the arguments of :class:`mirage.memory.LatentSpatialMemory` that follow from it."""
        names = ("extent_scale", "placement", "reference_voxel_size")
        return {name: getattr(self, name) for name in names}

    def normalize(self, latents: Tensor) -> Tensor:
        """Normalize latents (..., C, T, h, w) of the codec for the model.

        Raises:
            ValueError: the number of channels is another one.
        """
        if not self.latents_mean:
            return latents
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def denormalize(self, latents: Tensor) -> Tensor:
        """Invert :meth:`normalize`."""
        if not self.latents_mean:
            return latents
        mean, std = self._statistics(latents)
        return latents * std + mean

    def normalize_view(self, view: Tensor, mask: Tensor) -> Tensor:
        """Normalize a memory's view (..., C, T, h, w); its holes, where ``mask`` (..., T, h, w) is False, are zeros."""
        return view if not self.latents_mean else torch.where(mask.unsqueeze(-4), self.normalize(view), 0)

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        if latents.shape[-4] != len(self.latents_mean):
            raise ValueError(f"latents: expected {len(self.latents_mean)} channels, got {latents.shape[-4]}")
        mean, std = (
            torch.tensor(values, dtype=latents.dtype, device=latents.device).reshape(-1, 1, 1, 1)
            for values in (self.latents_mean, self.latents_std)
        )
        return mean, std

    def control(self, view: Tensor, mask: Tensor, white: Tensor | None) -> Tensor:
        """Make the control input of an adapter.

        Args:
            view: (..., C, T, h, w), the memory's view, normalized; zeros in holes.
            mask: (..., T, h, w) bool, False in holes.
            white: (channels, T, h, w), the first latent channels of a white video, normalized, or None for a mask
                instead.

        Returns:
            (..., C + channels or C + 1, T, h, w) in the dtype of ``view``.
        """
        if white is None:
            extra = (mask if self.mask == "known" else ~mask).unsqueeze(-4)
        else:
            extra = white.expand(*view.shape[:-4], *white.shape)
        return torch.cat([view, extra.to(view)], -4)
