# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a semantic segmentation names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError
from ..geometry.grids import grow
from ..io.images import to_pil
from ..io.pretrained import check_folder
from . import networks
from .observation import Observation, Reason

# model_type of the configuration: transformers' class for it, and weights of that kind
KINDS = {
    "mask2former": ("AutoModelForUniversalSegmentation", "facebook/mask2former-swin-large-ade-semantic"),
    "oneformer": ("AutoModelForUniversalSegmentation", "shi-labs/oneformer_ade20k_swin_large"),
    "segformer": ("AutoModelForSemanticSegmentation", "nvidia/segformer-b5-finetuned-ade-640-640"),
}


@dataclass(frozen=True)
class SemanticFilter:
    """Marks the pixels of some classes of a semantic segmentation by Mask2Former (arXiv 2112.01527), OneFormer
    (2211.06220) or SegFormer (2105.15203).

    Attributes:
        model: folder of the weights; nothing is downloaded.
        classes: their names, of those the network was trained on. Where it knows one by several names ("person,
            individual, someone"), any of them.
        because: ``"moving"`` or ``"sky"``: what the classes are.
        margin: pixels around them that are marked as well.

    Raises:
        DataError: ``because`` is neither; when the filter is used, the weights cannot be, or do not know a class.
    """

    model: str
    classes: tuple[str, ...]
    because: str = "moving"
    margin: int = 2
    max_masked: float = 0.0

    def __post_init__(self) -> None:
        if self.because not in ("moving", "sky"):
            raise DataError(f"because: expected 'moving' or 'sky', got {self.because!r}")

    @property
    def reason(self) -> Reason:
        return Reason.MOVING if self.because == "moving" else Reason.SKY

    @torch.no_grad()
    def __call__(self, observation: Observation) -> Tensor:
        frame = observation.frame
        network = self._network(frame.device)
        numbers = find_classes(network.model.config.id2label, self.classes)
        picture = to_pil(frame)
        words = {"task_inputs": ["semantic"]} if network.kind == "oneformer" else {}
        inputs = network.processor(images=picture, return_tensors="pt", **words).to(frame.device)
        outputs = network.model(**inputs)
        segmented = network.processor.post_process_semantic_segmentation(outputs, target_sizes=[observation.size])[0]
        return grow(torch.isin(segmented, torch.tensor(numbers, device=segmented.device)), self.margin)

    def _network(self, device: torch.device) -> networks.Network:
        any_weights = KINDS["mask2former"][1]
        check_folder(self.model, any_weights, "model")
        kind = _kind(self.model)
        if kind not in KINDS:
            raise DataError(f"model: expected one of {', '.join(KINDS)}, got {kind} in {self.model}")
        auto_class, weights = KINDS[kind]
        return networks.load("model", self.model, weights, auto_class, device)


def _kind(folder: str) -> str:
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise DataError(f"model: needs transformers (pip install 'mirage-kernels[filters]'): {error}") from None
    try:
        return str(AutoConfig.from_pretrained(folder, local_files_only=True).model_type)
    except (OSError, ValueError) as error:
        raise DataError(f"model: expected a configuration of transformers in {folder}: {error}") from None


def find_classes(labels: Mapping[int, str], names: tuple[str, ...]) -> list[int]:
    """The numbers of classes by name.

    Raises:
        DataError: a name is not among them.
    """
    numbers: list[int] = []
    for name in names:
        found = [
            number
            for number, label in labels.items()
            if name.strip().lower() in (label.lower(), *(part.strip() for part in label.lower().split(",")))
        ]
        if not found:
            raise DataError(f"classes: expected names among {', '.join(labels.values())}, got {name!r}")
        numbers += found
    return numbers
