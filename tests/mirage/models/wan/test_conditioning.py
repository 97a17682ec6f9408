# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What an adapter was trained with is saved with it, and the pipeline obeys it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pipeline import START, make_pipeline, run, train_adapter

from mirage.errors import DataError
from mirage.models.wan.conditioning import Conditioning
from mirage.models.wan.generator import WanChunkModel
from mirage.models.wan.pipeline import MiragePipeline
from mirage_kernels import load_tensors, save_tensors

OTHER = Conditioning(
    num_references=1, num_preceding=1, reference_threshold=0.3, reference_voxel_size=0.2, mask="holes",
    boundary="frame", references="frame", extent_scale=0.0, flow_shift=3.0, max_sequence_length=12,
    latents_mean=(0.5,) * 48, latents_std=(2.0,) * 48,
)  # fmt: skip


def watch(pipe: MiragePipeline, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[list[dict[str, Any]], Any]:
    """Run the pipeline, and return what the chunk model was given, and the output."""
    given: list[dict[str, Any]] = []
    call = WanChunkModel.__call__

    def watched(self: WanChunkModel, view: torch.Tensor, mask: torch.Tensor, **arguments: Any) -> torch.Tensor:
        given.append({"view": view, "mask": mask, "shift": self.scheduler.config.flow_shift, **arguments})
        return call(self, view, mask, **arguments)

    monkeypatch.setattr(WanChunkModel, "__call__", watched)
    output = run(pipe, **options)
    monkeypatch.undo()
    return given, output


def with_file(conditioning: Conditioning | None, path: Path, preset: Any = "paper", **load: Any) -> MiragePipeline:
    """A pipeline with the adapter of a file that another pipeline has written."""
    source = make_pipeline(preset)
    if conditioning is not None:
        source.conditioning = conditioning
    source.save_adapter_weights(path)
    pipe = make_pipeline(preset)
    pipe.load_adapter_weights(path, **load)
    return pipe


def test_none_of_references_and_preceding_latents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Conditioning(num_references=0, num_preceding=0)
    pipe = with_file(trained, tmp_path / "adapter.safetensors")
    given, _ = watch(pipe, monkeypatch)
    assert len(given) == 2
    assert all(part["references"].shape[1] == part["preceding"].shape[1] == 0 for part in given)
    plain, _ = watch(make_pipeline("paper"), monkeypatch)
    assert plain[1]["references"].shape[1] > 0
    assert plain[1]["preceding"].shape[1] == 2
    asked, _ = watch(pipe, monkeypatch, num_references=2, num_preceding=1)  # an argument is stronger
    assert asked[1]["references"].shape[1] > 0
    assert asked[1]["preceding"].shape[1] == 1


def test_the_other_polarity_of_the_mask(tmp_path: Path) -> None:
    view, mask = torch.randn(48, 3, 4, 6), torch.rand(3, 4, 6) > 0.5
    known = with_file(None, tmp_path / "known.safetensors")
    holes = with_file(Conditioning(mask="holes"), tmp_path / "holes.safetensors")
    of_known, of_holes = (pipe.make_chunk_model("a").control(view, mask)[0] for pipe in (known, holes))
    assert torch.equal(of_known[48], mask.float())
    assert torch.equal(of_holes[48], (~mask).float())
    assert torch.equal(of_known[:48], view)
    for pipe in (known, holes):  # the mask's weights are 0 before training
        weight = pipe.transformer.adapter.patch_embedding.weight
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    a, b = run(known).latents, run(holes).latents
    assert not torch.equal(a, b)
    known.conditioning = Conditioning(mask="holes")
    assert torch.equal(run(known).latents, b)


def test_every_value_reaches_session_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = with_file(OTHER, tmp_path / "adapter.safetensors")
    assert pipe.conditioning == OTHER
    given, output = watch(pipe, monkeypatch, output_type="np", max_sequence_length=None)
    memory = output.memory
    assert memory.cache.extent_scale == 0
    assert memory.history.voxel_size == 0.2
    assert given[0]["shift"] == 3
    assert given[1]["preceding"].shape[1] == 1
    session = pipe.start_session(torch.rand(3, 64, 96), "a", START, depth=torch.ones(64, 96))
    assert (session.boundary, session.references) == ("frame", "frame")
    assert (session._num_references, session._num_preceding, session._threshold) == (1, 1, 0.3)
    assert len(session.model.encode_prompt("a")[0][0]) == 12


def test_normalized_latents() -> None:
    pipe = make_pipeline("paper")
    pipe.conditioning = dataclasses.replace(OTHER, mask="known")
    latents = torch.randn(48, 2, 4, 6)
    assert torch.allclose(pipe.conditioning.denormalize(pipe.conditioning.normalize(latents)), latents, atol=1e-6)
    mask = torch.rand(2, 4, 6) > 0.5
    control = pipe.make_chunk_model("a").control(torch.where(mask, latents, 0), mask)[0]
    assert torch.equal(control[:48], torch.where(mask, (latents - 0.5) / 2, 0))
    with pytest.raises(ValueError, match="latents: expected 48 channels, got 3"):
        pipe.conditioning.normalize(torch.zeros(3, 1, 2, 2))
    release = make_pipeline("release")
    white = release.codec.white_latents(2, 4, 6)
    release.conditioning = Conditioning(latents_mean=(0.5,) * 48, latents_std=(2.0,) * 48)
    assert torch.allclose(release.make_chunk_model("a").control(latents, mask)[0, 48:], (white - 0.5) / 2)


def test_a_file_without_it_leaves_the_pipelines(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    make_pipeline("paper").save_adapter_weights(path)
    tensors, settings = load_tensors(path, kind="adapter", version=1)
    del settings["conditioning"]
    save_tensors(path, tensors, kind="adapter", version=1, settings=settings)
    pipe = make_pipeline("paper")
    pipe.conditioning = OTHER
    pipe.load_adapter_weights(path)
    assert pipe.conditioning == OTHER
    pipe.load_adapter_weights(path, Conditioning(num_preceding=0))
    assert pipe.conditioning == Conditioning(num_preceding=0)


def test_it_is_saved_with_the_pipeline(tmp_path: Path) -> None:
    pipe = make_pipeline("paper")
    pipe.conditioning = OTHER
    pipe.save_pretrained(tmp_path)
    again = train_adapter(MiragePipeline.from_pretrained(tmp_path))
    assert again.conditioning == OTHER


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_references": -1}, "num_references: expected 0 to 64, got -1"),
        ({"mask": "both"}, "mask: expected 'known' or 'holes', got 'both'"),
        ({"sequence": "targets references"}, "sequence: expected 'references targets preceding'"),
        ({"flow_shift": 0}, "flow_shift: expected a number above 0"),
        ({"latents_mean": [1.0]}, "latents_std: expected a number for each channel, or none"),
        ({"latents_mean": [1.0], "latents_std": [0.0]}, "latents_std: expected at least"),
        ({"num_refs": 1}, "conditioning: expected some of num_references, .* got 'num_refs'"),
    ],
)
def test_wrong_values_in_a_file(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conditioning.from_dict(values)
    path = tmp_path / "adapter.safetensors"
    make_pipeline("paper").save_adapter_weights(path)
    tensors, settings = load_tensors(path, kind="adapter", version=1)
    settings["conditioning"] = values
    save_tensors(path, tensors, kind="adapter", version=1, settings=settings)
    pipe = make_pipeline("paper")
    with pytest.raises(DataError, match=f"adapter.safetensors: conditioning: {message}"):
        pipe.load_adapter_weights(path)
