# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters with networks: tiny random models of the real classes, with their real processors."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

import tiny_segmenters

from mirage.errors import DataError
from mirage.filters import Filters, Observation, OpenVocabularyFilter, Reason, SemanticFilter
from mirage.filters.open_vocabulary import parse_names
from mirage_kernels import Cameras

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers'


def observation(height: int = 80, width: int = 112) -> Observation:
    frame = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    frame[:, :, : width // 2] = 0.1 * frame[:, :, : width // 2]
    return Observation(frame, Cameras(torch.eye(3), torch.eye(4), (height, width)), (height // 16, width // 16))


@pytest.fixture(scope="module", params=sorted(tiny_segmenters.SAVE))
def semantic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp(request.param)
    tiny_segmenters.SAVE[request.param](folder)
    return str(folder)


def test_classes_are_found_by_name(semantic: str) -> None:
    """Each pixel has exactly one class."""
    masks = [SemanticFilter(semantic, (name,), margin=0)(observation()) for name in ("wall", "individual", "sky")]
    assert all(mask.shape == (80, 112) and mask.dtype == torch.bool for mask in masks)
    assert bool((torch.stack(masks).sum(0) == 1).all())
    several = SemanticFilter(semantic, ("wall", "person"), margin=0)(observation())
    assert torch.equal(several, masks[0] | masks[1])
    assert sum(bool(mask.any()) for mask in masks) > 1, "a network that predicts one class everywhere tests nothing"


def test_a_segmentation_equals_that_of_transformers(semantic: str) -> None:
    """Compared with the classes of transformers."""
    from PIL import Image
    from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation, AutoProcessor

    from mirage.io.images import to_bytes

    processor = AutoProcessor.from_pretrained(semantic)
    words = {"task_inputs": ["semantic"]} if "oneformer" in semantic else {}
    auto = AutoModelForSemanticSegmentation if "segformer" in semantic else AutoModelForUniversalSegmentation
    inputs = processor(images=Image.fromarray(to_bytes(observation().frame)), return_tensors="pt", **words)
    with torch.no_grad():
        outputs = auto.from_pretrained(semantic).eval()(**inputs)
    expected = processor.post_process_semantic_segmentation(outputs, target_sizes=[(80, 112)])[0]
    for number, name in enumerate(("wall", "person", "sky")):
        assert torch.equal(SemanticFilter(semantic, (name,), margin=0)(observation()), expected == number)


def test_the_category_sets_the_reason(semantic: str) -> None:
    result = Filters([SemanticFilter(semantic, ("sky", "wall", "person"), category="sky")])(observation())
    assert bool((result.reason == Reason.SKY).all())
    with pytest.raises(DataError, match=r"category: expected 'moving' or 'sky', got 'far'"):
        SemanticFilter(semantic, ("sky",), category="far")


def test_the_error_for_an_unknown_class_lists_the_classes(semantic: str) -> None:
    with pytest.raises(DataError, match=r"classes\[1\]: expected one of wall, person, individual, Sky, got 'cow'"):
        SemanticFilter(semantic, ("sky", "cow"))(observation())


def test_the_error_for_missing_weights_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"model: expected a folder with config.json, got .*hf download facebook/mask2"):
        SemanticFilter(str(tmp_path), ("person",))(observation())
    with pytest.raises(DataError, match=r"segmenter: expected a folder with config.json, .*hf download facebook/sam3"):
        OpenVocabularyFilter(str(tmp_path), names=("person",), question="")(observation())
    with pytest.raises(DataError, match=r"namer: expected a folder with config.json, got ''; .*hf download Qwen/Qwen3"):
        OpenVocabularyFilter(str(tmp_path))(observation())
    tiny_segmenters.save_segformer(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model: expected weights and a processor in .*hf download nvidia/segf"):
        SemanticFilter(str(tmp_path), ("person",))(observation())


def test_other_networks_are_rejected(tmp_path: Path) -> None:
    from transformers import ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"model: expected one of mask2former, oneformer, segformer, got vit in "):
        SemanticFilter(str(tmp_path), ("person",))(observation())


def test_the_error_for_missing_packages_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        DataError, match=r"model: needs transformers; install it with pip install 'mirage-kernels\[filters\]' \("
    ):
        SemanticFilter(str(tmp_path), ("person",))(observation())
    with pytest.raises(
        DataError, match=r"segmenter: needs transformers; install it with pip install 'mirage-kernels\[filters\]' \("
    ):
        OpenVocabularyFilter(str(tmp_path), names=("person",), question="")(observation())


@pytest.fixture(scope="module")
def open_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> OpenVocabularyFilter:
    folder = tmp_path_factory.mktemp("open_vocabulary")
    tiny_segmenters.save_sam3(folder / "sam3")
    tiny_segmenters.save_qwen3_vl(folder / "qwen3_vl")
    return OpenVocabularyFilter(str(folder / "sam3"), str(folder / "qwen3_vl"), threshold=0.0, margin=0)


def test_sam3_segments_the_names(open_vocabulary: OpenVocabularyFilter) -> None:
    """The union of all objects; compared with the classes of transformers."""
    from PIL import Image
    from transformers import Sam3Model, Sam3Processor

    from mirage.io.images import to_bytes

    named = dataclasses.replace(open_vocabulary, names=("person", "dog"), question="")
    model = Sam3Model.from_pretrained(named.segmenter).eval()
    processor = Sam3Processor.from_pretrained(named.segmenter)
    image = Image.fromarray(to_bytes(observation().frame))
    expected = torch.zeros(80, 112, dtype=torch.bool)
    for name in named.names:
        inputs = processor(images=image, text=name, return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        found = processor.post_process_instance_segmentation(outputs, threshold=0.0, target_sizes=[(80, 112)])[0]
        expected |= found["masks"].bool().any(0)
    assert torch.equal(named(observation()), expected)
    assert expected.any()
    assert not dataclasses.replace(named, threshold=1.0)(observation()).any()
    assert not dataclasses.replace(named, names=())(observation()).any()


def test_qwen3_vl_names_what_sam3_segments(
    open_vocabulary: OpenVocabularyFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network and its answer are random; the parsed answer must be passed to SAM 3."""
    answers: list[str] = []

    def parse(answer: str) -> list[str]:
        answers.append(answer)
        return ["person"]

    monkeypatch.setattr("mirage.filters.open_vocabulary.parse_names", parse)
    mask = open_vocabulary(observation())
    assert len(answers) == 1
    assert isinstance(answers[0], str)
    assert torch.equal(mask, dataclasses.replace(open_vocabulary, names=("person",), question="")(observation()))


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("person, dog", ["person", "dog"]),
        ("Person, person, None.", ["person"]),
        ("1. A cow\n2. car;\n- traffic light and bicycle.", ["a cow", "car", "traffic light", "bicycle"]),
        ("none", []),
        ("", []),
        (", ".join(f"thing {n}" for n in "abcdefghijklmnopqrstuvwxyz"), [f"thing {n}" for n in "abcdefghijklmnop"]),
    ],
)
def test_answers_are_parsed(answer: str, names: list[str]) -> None:
    assert parse_names(answer) == names
