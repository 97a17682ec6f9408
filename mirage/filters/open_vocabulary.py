# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What moves by its nature, named by one network and found by another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..geometry.grids import grow
from ..io.images import to_pil
from . import networks
from .observation import Observation, Reason

if TYPE_CHECKING:
    from PIL import Image

NAMER, SEGMENTER = "Qwen/Qwen3-VL-4B-Instruct", "facebook/sam3"
QUESTION = (
    "Which things in this picture move or could move on their own, such as people, animals and vehicles? "
    "Answer with their names only, as short singular nouns separated by commas, or with: none."
)
MOST_NAMES = 16  # a network that repeats itself does not stop


@dataclass(frozen=True)
class OpenVocabularyFilter:
    """Marks what moves without a list of classes, as in the paper (arXiv 2606.09828): Qwen3-VL (2511.21631) names what
    can move, SAM 3 (2511.16719) segments every thing of that name.

    Attributes:
        namer, segmenter: folders of the weights; nothing is downloaded.
        names: things that are looked for in any case.
        question: what Qwen3-VL is asked of every frame; empty to look for ``names`` alone, without a namer.
        threshold: least score of a thing, 0 to 1.
        margin: pixels around things that are marked as well.

    Raises:
        DataError: when the filter is used, weights or packages are missing.
    """

    reason: ClassVar[Reason] = Reason.MOVING
    segmenter: str
    namer: str = ""
    names: tuple[str, ...] = ()
    question: str = QUESTION
    threshold: float = 0.5
    margin: int = 2
    max_masked: float = 0.0

    @torch.no_grad()
    def __call__(self, observation: Observation) -> Tensor:
        frame = observation.frame
        found = torch.zeros(observation.size, dtype=torch.bool, device=frame.device)
        picture = to_pil(frame)
        asked = self._ask(picture, frame.device) if self.question else []
        names = list(dict.fromkeys([*self.names, *asked]))
        if not names:
            return found
        network = networks.load("segmenter", self.segmenter, SEGMENTER, "Sam3Model", frame.device)
        seen = None
        for name in names:
            inputs = network.processor(images=picture, text=name, return_tensors="pt").to(frame.device)
            if seen is None:  # the picture is looked at once for all names
                seen = network.model.get_vision_features(pixel_values=inputs["pixel_values"])
            outputs = network.model(
                vision_embeds=seen, input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            )
            things = network.processor.post_process_instance_segmentation(
                outputs, threshold=self.threshold, target_sizes=[observation.size]
            )[0]
            if len(things["masks"]):  # else they have the network's size
                found |= things["masks"].bool().any(0)
        return grow(found, self.margin)

    def _ask(self, picture: Image.Image, device: torch.device) -> list[str]:
        network = networks.load("namer", self.namer, NAMER, "AutoModelForImageTextToText", device)
        content: list[dict[str, Any]] = [{"type": "image", "image": picture}, {"type": "text", "text": self.question}]
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
    """The names in an answer such as ``"person, dog"``, or a list with dashes or numbers; each once, in order."""
    names: list[str] = []
    for part in re.split(r"[,;\n]| and ", answer):
        name = re.sub(r"^[\s\-*\d.)]+|[\s.]+$", "", part).lower()
        if name and name != "none" and name not in names:
            names.append(name)
    return names[:MOST_NAMES]
