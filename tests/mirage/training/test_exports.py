# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What training leaves: files for the pipeline, for peft alone, and in the released layout."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import WanTransformer3DModel
from peft import PeftModel
from safetensors.torch import load_file, save_file
from small_training import build, recipe
from tiny_pipeline import START, run

from mirage.cli.main import main
from mirage.models.wan.conditioning import Conditioning
from mirage.models.wan.export import write_released
from mirage.models.wan.pipeline import MiragePipeline
from mirage.models.wan.transformer import MirageTransformer3DModel
from mirage.training.dataset import TrainingData
from mirage.training.run import find_conditioning, train

VALUES = ("stages=['base','adapter','lora']", "backbone.num_layers=4", f"backbone.text_dim={tiny.TEXT_DIM}",
          "max_sequence_length=12", "adapter.references=[0,0]", "adapter.preceding=[0,1]", "lora.references=[0,0]",
          "lora.preceding=[0,1]", "lora.learning_rate=0.1", "mask=holes")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shards; they need not be those of the tiny autoencoder, which has as many channels."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    build(folder)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of all stages."""
    out = tmp_path_factory.mktemp("run")
    train(recipe(*VALUES), data, out)
    return out


def backbone(trained: Path) -> Any:
    return WanTransformer3DModel.from_pretrained(trained / "base" / "transformer")


def pipeline(trained: Path) -> MiragePipeline:
    parts = tiny.wan().components
    del parts["transformer_2"]
    pipe = MiragePipeline(**parts | {"transformer": backbone(trained)}, preset="paper")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_pipeline_loads_them_and_obeys(data: Path, trained: Path) -> None:
    pipe = pipeline(trained)
    assert pipe.adapter_is_untrained
    pipe.load_adapter_weights(trained / "adapter" / "adapter.safetensors")
    assert not pipe.adapter_is_untrained
    expected = find_conditioning(recipe(*VALUES), TrainingData(data, 0.2))
    assert pipe.conditioning == expected
    assert (expected.num_references, expected.num_preceding, expected.mask) == (0, 1, "holes")
    assert (expected.flow_shift, expected.max_sequence_length, len(expected.latents_std)) == (5.0, 12, 48)
    with pytest.raises(ValueError, match=r"codec: expected 'dct-16', with whose latents .* got 'wan"):
        run(pipe)
    pipe.conditioning = dataclasses.replace(expected, codec="")
    before = run(pipe).latents
    pipe.load_lora_weights(trained / "lora" / "pytorch_lora_weights.safetensors")
    assert not torch.equal(run(pipe).latents, before)
    session = pipe.start_session(torch.rand(3, 64, 96), "a room", START, depth=torch.ones(64, 96))
    assert (session._num_references, session._num_preceding) == (0, 1)


def flow(model: Any, **more: Any) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    inputs = {
        "hidden_states": torch.randn(1, 48, 3, 4, 6, generator=g),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(1, 12, tiny.TEXT_DIM, generator=g),
    }
    with torch.no_grad():
        sample: torch.Tensor = model(**inputs, return_dict=False, **more)[0]
    return sample


def test_peft_alone_loads_lora(trained: Path) -> None:
    plain = flow(backbone(trained))
    with_peft = flow(PeftModel.from_pretrained(backbone(trained), trained / "lora" / "peft"))
    pipe = pipeline(trained)
    pipe.load_lora_weights(trained / "lora")
    assert not torch.allclose(with_peft, plain)
    torch.testing.assert_close(with_peft, flow(pipe.transformer))


def test_released_layout_and_back(trained: Path, tmp_path: Path) -> None:
    ours = MirageTransformer3DModel.from_wan(backbone(trained), "paper")
    ours.load_adapter(trained / "adapter" / "adapter.safetensors")
    names = write_released(trained / "adapter" / "adapter.safetensors", tmp_path / "released.safetensors")
    assert all(name.startswith("vace_") for name in names)
    again = MirageTransformer3DModel.from_wan(backbone(trained), "paper")
    again.load_adapter(tmp_path / "released.safetensors", ours.conditioning)
    assert again.conditioning == ours.conditioning
    for name, tensor in ours.adapter.state_dict().items():
        assert torch.equal(again.adapter.state_dict()[name], tensor)
    pipes = [pipeline(trained), pipeline(trained)]
    for pipe, file in zip(pipes, ("lora_released.safetensors", "pytorch_lora_weights.safetensors"), strict=True):
        pipe.load_lora_weights(trained / "lora" / file)
    torch.testing.assert_close(flow(pipes[0].transformer), flow(pipes[1].transformer))
    assert all(name.startswith("pipe.dit.") for name in load_file(trained / "lora" / "lora_released.safetensors"))


def test_the_average_is_exported(trained: Path, data: Path, tmp_path: Path) -> None:
    plain = recipe("stages=['adapter']", *VALUES[1:], "adapter.ema=0")
    train(plain, data, tmp_path, model=trained / "base" / "transformer")
    averaged, last = (load_file(folder / "adapter" / "adapter.safetensors") for folder in (trained, tmp_path))
    assert any(not torch.equal(averaged[name], tensor) for name, tensor in last.items())


def test_conditioning_of_a_foreign_file(trained: Path) -> None:
    pipe = pipeline(trained)
    pipe.load_adapter_weights(trained / "adapter" / "adapter.safetensors", Conditioning(num_references=2))
    assert pipe.conditioning == Conditioning(num_references=2)


def test_export_by_the_command(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter, lora = trained / "adapter" / "adapter.safetensors", trained / "lora" / "pytorch_lora_weights.safetensors"
    assert main(["export", str(adapter), "--out", str(tmp_path / "a.safetensors"), "--dtype=bfloat16"]) == 0
    assert {t.dtype for t in load_file(tmp_path / "a.safetensors").values()} == {torch.bfloat16}
    assert main(["export", str(lora), "--out", str(tmp_path / "b.safetensors")]) == 0
    released = load_file(trained / "lora" / "lora_released.safetensors")
    assert all(torch.equal(t, released[name]) for name, t in load_file(tmp_path / "b.safetensors").items())
    capsys.readouterr()
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    for arguments, message in (
        ([str(adapter), "--out", str(tmp_path / "a.safetensors")], "exists; pass --overwrite"),
        ([str(adapter), "--out", str(tmp_path / "a.pt")], "--out: expected a name that ends in .safetensors"),
        ([str(tmp_path / "none"), "--out", str(tmp_path / "c.safetensors")], "none: no such file"),
        ([str(tmp_path / "x.safetensors"), "--out", str(tmp_path / "c.safetensors")], "x: expected LoRA on q, k, v, o"),
    ):
        assert main(["export", *arguments]) == 2
        assert message in capsys.readouterr().err
