# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage generate --model PATH``, on a tiny model in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mirage.cli.main import main
from mirage.models.wan.lora import lora_config
from mirage.models.wan.pipeline import MiragePipeline
from mirage.models.wan.released_keys import lora_to_released, to_released
from mirage.models.wan.transformer import MirageTransformer3DModel
from mirage_kernels import load_tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with depth and intrinsics; a tiny Wan2.2; a trained adapter and LoRA in both layouts."""
    root = tmp_path_factory.mktemp("wan")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (70, 100, 3), np.uint8)).save(root / "room.png")
    np.save(root / "depth.npy", np.full((70, 100), 3, np.float32))
    (root / "K.txt").write_text("90 90 50 35")
    tiny.wan().save_pretrained(root / "model")
    model = MirageTransformer3DModel.from_wan(tiny.transformer())
    torch.manual_seed(5)
    for block in model.adapter.control_blocks:
        torch.nn.init.normal_(block.proj_out.weight, std=0.2)
    model.save_adapter(root / "adapter.safetensors")
    own = {f"adapter.{name}": tensor for name, tensor in model.adapter.state_dict().items()}
    torch.save({"vace": to_released(own)}, root / "adapter.pt")
    parts = tiny.wan().components
    del parts["transformer_2"]
    pipe = MiragePipeline(**parts)
    pipe.transformer.add_adapter(lora_config("release", rank=2, init_lora_weights=False))
    layers = {n.replace(".default", ""): p for n, p in pipe.transformer.named_parameters() if "lora_" in n}
    pipe.save_lora_weights(root / "lora", transformer_lora_layers=layers)
    released = lora_to_released({f"transformer.{name}": layer.detach() for name, layer in layers.items()})
    torch.save(released, root / "lora.pt")
    return root


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    options = (
        f"generate --image {folder}/room.png --depth {folder}/depth.npy --intrinsics {folder}/K.txt --actions w*8 "
    )
    options += f"--height 64 --width 96 --chunk 5 --model {folder}/model --steps 2 --out {out}"
    return [*options.split(), *more]


def final_latents(out: Path) -> torch.Tensor:
    tensors, _ = load_tensors(out / "memory.safetensors", kind="memory", version=2)
    return tensors["history.latents"]


def test_adapter_and_lora(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, tmp_path / "plain")) == 0
    assert "the memory adapter is untrained and has no effect; pass --adapter FILE" in capsys.readouterr().err
    weights = {
        "own": ("--adapter", f"{folder}/adapter.safetensors"),
        "released": ("--adapter", f"{folder}/adapter.pt"),
        "lora": ("--lora", f"{folder}/lora/pytorch_lora_weights.safetensors"),
        "released_lora": ("--lora", f"{folder}/lora.pt"),
        "zero_lora": ("--lora", f"{folder}/lora.pt", "--lora-scale", "0"),
    }
    for name, more in weights.items():
        assert main(arguments(folder, tmp_path / name, *more)) == 0
    made = {name: final_latents(tmp_path / name) for name in ("plain", *weights)}
    assert torch.equal(made["own"], made["released"])
    assert torch.equal(made["lora"], made["released_lora"])
    assert torch.equal(made["zero_lora"], made["plain"])
    assert not torch.equal(made["own"], made["plain"])
    assert not torch.equal(made["lora"], made["plain"])
    metrics = json.loads((tmp_path / "own" / "metrics.json").read_text())
    assert metrics["frames"] == 9
    assert metrics["size"] == [64, 96]
    assert (metrics["codec"], metrics["generator"], metrics["steps"]) == ("wan-48-16", "wan", 2)
    assert set(metrics["seconds"]) >= {"read", "retrieve", "generate", "decode", "write"}


def test_a_saved_memory_continues(folder: Path, tmp_path: Path) -> None:
    assert main(arguments(folder, tmp_path / "first", "--tiling", "--boundary", "frame", "--references", "frame")) == 0
    resume = f"generate --memory {tmp_path}/first/memory.safetensors --model {folder}/model --steps 1 --actions s*4 "
    assert main([*f"{resume} --offload model --device cpu --prompt room --out {tmp_path}/second".split()]) == 0
    assert len(final_latents(tmp_path / "second")[0]) > len(final_latents(tmp_path / "first")[0])


BAD = [
    (("--block", "8"), "--block: expected --model embedded, got --model"),
    (("--steps", "0"), "--steps: expected at least 1, got 0"),
    (("--steps", "1001"), "--steps: expected at most 1000, got 1001"),
    (("--device", "cuda:99"), "--device: expected a device that works here, such as cpu, got cuda:99 ("),
    (("--device", "gpu"), "--device: expected a device that works here, such as cpu, got gpu ("),
    (("--lora-scale", "1"), "--lora-scale: expected at most 0 (one per --lora), got 1"),
    (("--lora", "none.safetensors"), "none.safetensors: no such file; expected weights"),
    (("--adapter", "none.pt"), "none.pt: no such file; expected weights"),
    (("--height", "60"), "--height, --width: expected multiples of 32, got 60 and 96"),
    (("--model", "nowhere"), "nowhere: expected a folder with model_index.json, got no such folder; download the "
     "weights with 'hf download Wan-AI/Wan2.2-TI2V-5B-Diffusers --local-dir nowhere'"),
    (("--model", "embedded"), "--steps: expected --model nano or FOLDER, got --model embedded"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "message"), BAD)
def test_bad_options(
    folder: Path, tmp_path: Path, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(folder, tmp_path / "out", *more)) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("mirage: error: ")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_the_error_for_a_wrong_adapter_names_the_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(folder, tmp_path / "out", "--adapter", f"{folder}/lora.pt")) == 2
    assert "lora.pt: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
