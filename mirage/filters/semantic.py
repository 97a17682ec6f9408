# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Classes of a semantic segmentation network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import DataError, first_line
from ..geometry.grids import grow
from ..io.images import to_pil
from ..io.pretrained import IMPORT_ERRORS, check_folder, missing_transformers
from . import networks
from .observation import Observation, Reason
from .settings import MAX_PIXELS, check_settings, check_texts

Category = Literal["moving", "sky"]

# model_type of the configuration -> auto class of transformers, and weights on the Hub
KINDS = {
    "mask2former": ("AutoModelForUniversalSegmentation", "facebook/mask2former-swin-large-ade-semantic"),
    "oneformer": ("AutoModelForUniversalSegmentation", "shi-labs/oneformer_ade20k_swin_large"),
    "segformer": ("AutoModelForSemanticSegmentation", "nvidia/segformer-b5-finetuned-ade-640-640"),
}


@dataclass(frozen=True)
class SemanticFilter:
    """Marks the pixels of given classes, as segmented by Mask2Former (arXiv 2112.01527), OneFormer (2211.06220) or
    SegFormer (2105.15203).

    Attributes:
        model: folder with the weights; nothing is downloaded.
        classes: class names of the network. If a class has several names ("person, individual, someone"), any of them
            selects it.
        category: ``"moving"`` or ``"sky"``; sets the :class:`Reason` of marked cells.
        margin: the mask is dilated by this many pixels.

    Raises:
        DataError: a setting is out of range; or, when the filter is called, weights or packages are missing, or the
            network has no such class.
    """

    model: str
    classes: tuple[str, ...]
    category: Category = "moving"
    margin: int = 2
    max_masked: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, margin=(0, MAX_PIXELS))
        check_texts(self, "model", "classes")
        if not self.classes:
            raise DataError("classes: expected at least one, got none")
        if self.category not in get_args(Category):
            raise DataError(f"category: expected 'moving' or 'sky', got {self.category!r}")

    @property
    def reason(self) -> Reason:
        return Reason.MOVING if self.category == "moving" else Reason.SKY

    def check_files(self) -> None:
        """Check that the folder of the weights is there.

        Raises:
            DataError: it is not, or holds a network of another kind.
        """
        self._find_kind()

    @torch.no_grad()
    def __call__(self, observation: Observation) -> Tensor:
        frame = observation.frame
        network = self._network(frame.device)
        indices = find_classes(network.model.config.id2label, self.classes)
        image = to_pil(frame)
        task = {"task_inputs": ["semantic"]} if network.kind == "oneformer" else {}
        inputs = network.processor(images=image, return_tensors="pt", **task).to(frame.device)
        outputs = network.model(**inputs)
        labels = network.processor.post_process_semantic_segmentation(outputs, target_sizes=[observation.size])[0]
        return grow(torch.isin(labels, torch.tensor(indices, device=labels.device, dtype=torch.int64)), self.margin)

    def _find_kind(self) -> str:
        any_weights = KINDS["mask2former"][1]
        check_folder(self.model, any_weights, "model")
        kind = _kind(self.model)
        if kind not in KINDS:
            raise DataError(f"model: expected one of {', '.join(KINDS)}, got {kind} in {self.model}")
        return kind

    def _network(self, device: torch.device) -> networks.Network:
        auto_class, weights = KINDS[self._find_kind()]
        return networks.load("model", self.model, weights, auto_class, device)


def _kind(folder: str) -> str:
    try:
        from transformers import AutoConfig
    except IMPORT_ERRORS as error:
        raise missing_transformers("model", "filters", error) from None
    try:
        return str(AutoConfig.from_pretrained(folder, local_files_only=True).model_type)
    except (OSError, ValueError) as error:
        raise DataError(
            f"model: expected a config.json of transformers in {folder}, got an unreadable one ({first_line(error)})"
        ) from None


def find_classes(labels: Mapping[int, str], names: tuple[str, ...]) -> list[int]:
    """Find classes by name.

    Args:
        labels: class index -> label; a label may hold several names, separated by commas.
        names: names to find; upper and lower case are the same.

    Returns:
        The class indices.

    Raises:
        DataError: no label has one of the names.
    """
    indices: list[int] = []
    for position, name in enumerate(names):
        found = [
            index
            for index, label in labels.items()
            if name.strip().lower() in (label.lower(), *(part.strip() for part in label.lower().split(",")))
        ]
        if not found:
            raise DataError(f"classes[{position}]: expected one of {', '.join(labels.values())}, got {name!r}")
        indices += found
    return indices
