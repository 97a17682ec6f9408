# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Movable objects, named by a vision-language model and segmented by SAM 3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..geometry.grids import grow
from ..io.images import to_pil
from ..io.pretrained import check_folder
from . import networks
from .observation import Observation, Reason
from .settings import FRACTION, MAX_PIXELS, check_settings, check_texts

if TYPE_CHECKING:
    from PIL import Image

NAMER, SEGMENTER = "Qwen/Qwen3-VL-4B-Instruct", "facebook/sam3"
QUESTION = (
    "Which things in this image move or could move on their own, such as people, animals and vehicles? "
    "Answer with their names only, as short singular nouns separated by commas, or with: none."
)
MAX_NAMES = 16  # a limit for answers that repeat themselves


@dataclass(frozen=True)
class OpenVocabularyFilter:
    """Marks movable objects without a fixed list of classes, as in the paper (arXiv 2606.09828): Qwen3-VL (2511.21631)
    names the objects in a frame that can move, and SAM 3 (2511.16719) segments all objects of these names.

    Attributes:
        segmenter: folder with the weights of SAM 3; nothing is downloaded.
        namer: folder with the weights of Qwen3-VL; nothing is downloaded.
        names: names of objects to segment in every frame.
        question: the prompt for Qwen3-VL; empty to segment only ``names``, without Qwen3-VL.
        threshold: smallest score of a segmented object, 0 to 1.
        margin: the mask is dilated by this many pixels.

    Raises:
        DataError: a setting is out of range; or, when the filter is called, weights or packages are missing.
    """

    reason: ClassVar[Reason] = Reason.MOVING
    segmenter: str
    namer: str = ""
    names: tuple[str, ...] = ()
    question: str = QUESTION
    threshold: float = 0.5
    margin: int = 2
    max_masked: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, threshold=FRACTION, margin=(0, MAX_PIXELS))
        check_texts(self, "segmenter", "names")

    def check_files(self) -> None:
        """Check that the folders of the weights are there.

        Raises:
            DataError: one is not.
        """
        check_folder(self.segmenter, SEGMENTER, "segmenter")
        if self.question:
            check_folder(self.namer, NAMER, "namer")

    @torch.no_grad()
    def __call__(self, observation: Observation) -> Tensor:
        frame = observation.frame
        found = torch.zeros(observation.size, dtype=torch.bool, device=frame.device)
        image = to_pil(frame)
        answered = self._ask(image, frame.device) if self.question else []
        names = list(dict.fromkeys([*self.names, *answered]))
        if not names:
            return found
        network = networks.load("segmenter", self.segmenter, SEGMENTER, "Sam3Model", frame.device)
        vision_embeds = None
        for name in names:
            inputs = network.processor(images=image, text=name, return_tensors="pt").to(frame.device)
            if vision_embeds is None:  # the image is encoded once for all names
                vision_embeds = network.model.get_vision_features(pixel_values=inputs["pixel_values"])
            outputs = network.model(
                vision_embeds=vision_embeds, input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            )
            objects = network.processor.post_process_instance_segmentation(
                outputs, threshold=self.threshold, target_sizes=[observation.size]
            )[0]
            if len(objects["masks"]):  # an empty result has the network's resolution, not the frame's
                found |= objects["masks"].bool().any(0)
        return grow(found, self.margin)

    def _ask(self, image: Image.Image, device: torch.device) -> list[str]:
        network = networks.load("namer", self.namer, NAMER, "AutoModelForImageTextToText", device)
        content: list[dict[str, Any]] = [{"type": "image", "image": image}, {"type": "text", "text": self.question}]
        inputs = network.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(device)
        tokens = network.model.generate(**inputs, max_new_tokens=64, do_sample=False)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        return parse_names(network.processor.batch_decode(new, skip_special_tokens=True)[0])


def parse_names(answer: str) -> list[str]:
    """Parse the names in an answer of the vision-language model.

    Args:
        answer: such as ``"person, dog"``, or a list with dashes or numbers.

    Returns:
        The unique names in lowercase, in order; at most 16.
    """
    names: list[str] = []
    for part in re.split(r"[,;\n]| and ", answer):
        name = re.sub(r"^[\s\-*\d.)]+|[\s.]+$", "", part).lower()
        if name and name != "none" and name not in names:
            names.append(name)
    return names[:MAX_NAMES]
