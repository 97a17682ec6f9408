# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA files of other programs have the effect that they have in diffusers' WanPipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, WanTransformer3DModel
from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from safetensors.torch import save_file
from torch import Tensor

from mirage.errors import DataError
from mirage.models.wan.loading import WeightLoaderMixin
from mirage.models.wan.transformer import MirageTransformer3DModel

SETTINGS: dict[str, Any] = {
    "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": 8,
    "freq_dim": 16, "ffn_dim": 40, "num_layers": 3, "rope_max_seq_len": 32,
}  # fmt: skip
ATTENTION = {f"{kind}_attn.{m}": (24, 24) for kind in ("self", "cross") for m in "qkvo"}
LAYERS = ATTENTION | {"ffn.0": (40, 24), "ffn.2": (24, 40)}  # (out, in) by Wan's own names


class Wan(DiffusionPipeline, WanLoraLoaderMixin):
    """The part of WanPipeline that loads LoRA."""

    def __init__(self, transformer: WanTransformer3DModel) -> None:
        super().__init__()
        self.register_modules(transformer=transformer)


class Mirage(WeightLoaderMixin, Wan):
    """The part of MiragePipeline that loads LoRA."""


def make() -> tuple[Wan, Mirage]:
    torch.manual_seed(0)
    wan = WanTransformer3DModel(**SETTINGS).eval()
    for parameter in wan.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    # LoRA replaces layers, so each pipeline gets modules of its own.
    return Wan(wan), Mirage(MirageTransformer3DModel.from_wan(wan))


def flow(pipe: Any) -> Tensor:
    g = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 4, 3, 4, 6, generator=g), torch.randn(1, 5, 8, generator=g)
    with torch.no_grad():
        return pipe.transformer(latents, torch.tensor([500.0]), text, return_dict=False)[0]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape) * 0.3


def blocks(prefix: str, down: str, up: str, alpha: bool, numbers: range = range(3), rank: int = 4) -> dict[str, Tensor]:
    tensors = {}
    for block in numbers:
        for layer, (out, into) in LAYERS.items():
            name = f"blocks.{block}.{layer}"
            name = prefix + (name.replace(".", "_") if prefix == "lora_unet_" else name)
            tensors[f"{name}.{down}.weight"], tensors[f"{name}.{up}.weight"] = random(rank, into), random(out, rank)
            if alpha:
                tensors[f"{name}.alpha"] = torch.tensor(0.25 * (block + 1))
    return tensors


def down_up() -> dict[str, Tensor]:
    return blocks("diffusion_model.", "lora_down", "lora_up", alpha=True)


def musubi() -> dict[str, Tensor]:
    return blocks("lora_unet_", "lora_down", "lora_up", alpha=True)


def some_blocks() -> dict[str, Tensor]:
    tensors = blocks("diffusion_model.", "lora_A", "lora_B", alpha=False, numbers=range(1, 2))
    return {name: tensor for name, tensor in tensors.items() if "cross_attn.v" not in name}


def biases() -> dict[str, Tensor]:
    tensors = blocks("diffusion_model.", "lora_down", "lora_up", alpha=False)
    for block in range(3):
        tensors[f"diffusion_model.blocks.{block}.norm3.diff"] = torch.zeros(24)
        tensors[f"diffusion_model.blocks.{block}.self_attn.norm_q.diff"] = torch.zeros(24)
        for layer, (out, _) in LAYERS.items():
            tensors[f"diffusion_model.blocks.{block}.{layer}.diff_b"] = random(out)
    return tensors


def embeddings() -> dict[str, Tensor]:
    """Also layers outside the blocks, with a change of the whole last weight."""
    tensors = blocks("diffusion_model.", "lora_down", "lora_up", alpha=False, numbers=range(2), rank=2)
    sizes = {"time_projection.1": (144, 24), "text_embedding.0": (24, 8), "text_embedding.2": (24, 24)}
    for name, (out, into) in (sizes | {"time_embedding.0": (24, 16), "time_embedding.2": (24, 24)}).items():
        tensors[f"diffusion_model.{name}.lora_down.weight"] = random(3, into)
        tensors[f"diffusion_model.{name}.lora_up.weight"] = random(out, 3)
    tensors["diffusion_model.head.head.diff"] = random(16, 24)
    tensors["diffusion_model.head.head.diff_b"] = random(16)
    return tensors


def diffusers_own() -> dict[str, Tensor]:
    names = {"self_attn.q": "attn1.to_q", "cross_attn.o": "attn2.to_out.0", "ffn.2": "ffn.net.2"}
    return {
        f"transformer.blocks.{block}.{ours}.lora_{side}.weight": random(*(r, LAYERS[name][1]) if side == "A" else
                                                                          (LAYERS[name][0], r))
        for block in range(3) for name, ours in names.items() for r in (2 + block,) for side in "AB"
    }  # fmt: skip


CASES = [(make, "file") for make in (down_up, musubi, some_blocks, biases, embeddings, diffusers_own)]
CASES += [(down_up, "folder"), (down_up, "dict"), (musubi, "dict")]


@pytest.mark.parametrize(("make_tensors", "way"), CASES)
def test_the_effect_is_that_in_diffusers(make_tensors: Callable[[], Any], way: str, tmp_path: Path) -> None:
    wan, mirage = make()
    plain = flow(mirage)
    tensors = make_tensors()
    save_file(tensors, tmp_path / "style.safetensors")
    # Without low_cpu_mem_usage, because diffusers leaves biases that only some layers have without memory.
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    wan.load_lora_weights(copies, adapter_name="a", low_cpu_mem_usage=False)
    source = {"file": tmp_path / "style.safetensors", "folder": tmp_path, "dict": tensors}[way]
    mirage.load_lora_weights(source, adapter_name="a")
    expected = flow(wan)
    assert (expected - plain).abs().max() > 1e-2
    torch.testing.assert_close(flow(mirage), expected, rtol=0, atol=1e-5)
    names = [name for name, _ in mirage.transformer.named_parameters() if ".lora_" in name]
    assert names
    assert not any(name.startswith("adapter.") for name in names)
    mirage.set_adapters("a", 0.0)
    torch.testing.assert_close(flow(mirage), plain, rtol=0, atol=1e-5)
    mirage.unload_lora_weights()
    assert torch.equal(flow(mirage), plain)


def test_what_is_ignored_is_said(tmp_path: Path) -> None:
    _, mirage = make()
    tensors = some_blocks() | {"diffusion_model.blocks.0.norm3.diff": torch.ones(24)}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match=r"LoRA: ignored diffusion_model\.blocks\.0\.norm3\.diff, as diffusers does"):
        mirage.load_lora_weights(tmp_path / "a.safetensors", adapter_name="a")


def test_errors_name_the_file(tmp_path: Path) -> None:
    _, mirage = make()
    with pytest.raises(DataError, match=r"none\.safetensors: no such file; expected LoRA$"):
        mirage.load_lora_weights(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match=r"expected one file with LoRA weights, got none; pass weight_name$"):
        mirage.load_lora_weights(tmp_path)
    for name in ("a", "b"):
        save_file(down_up(), tmp_path / f"{name}.safetensors")
    with pytest.raises(DataError, match=r"got a\.safetensors, b\.safetensors; pass weight_name$"):
        mirage.load_lora_weights(tmp_path)
    mirage.load_lora_weights(tmp_path, weight_name="a.safetensors", adapter_name="a")
    broken = {
        name: tensor for name, tensor in down_up().items() if name != "diffusion_model.blocks.0.ffn.0.lora_up.weight"
    }
    with pytest.raises(ValueError, match=r"blocks\.0\.ffn\.0\.lora_B\.weight: expected a tensor, got none$"):
        mirage.load_lora_weights(broken, adapter_name="b")
    dora = {"diffusion_model.blocks.0.ffn.0.dora_scale": torch.ones(40, 1)}
    with pytest.raises(ValueError, match=r"dora_scale: expected LoRA on a linear layer of the model's backbone"):
        mirage.load_lora_weights(down_up() | dora, adapter_name="b")
    assert set(mirage.transformer.peft_config) == {"a"}
