# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A quantized backbone takes an adapter, which is not quantized; the pipeline passes quantization on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import GGUFQuantizationConfig, PipelineQuantizationConfig, QuantoConfig, WanTransformer3DModel
from diffusers.quantizers.quantization_config import QuantizationConfigMixin
from tiny_pipeline import run, train_adapter
from torch import Tensor, nn
from torch.nn import functional as nnf

from mirage.models.wan import loading
from mirage.models.wan.pipeline import MiragePipeline
from mirage.models.wan.released_keys import to_released

SHORT: dict[str, Any] = {"num_frames": 17}  # one chunk


class HalfLinear(nn.Linear):
    """Stands for a quantized layer: its weight has another dtype and shape than the layer that it replaces."""

    def __init__(self, source: nn.Linear) -> None:
        super().__init__(1, 1, device="meta")
        self.in_features, self.out_features = source.in_features, source.out_features
        self.weight = nn.Parameter(source.weight.detach().half().flatten().view(torch.uint8), requires_grad=False)
        self.bias = source.bias

    def forward(self, given: Tensor) -> Tensor:
        weight = self.weight.view(torch.float16).reshape(self.out_features, self.in_features)
        return nnf.linear(given, weight.to(given), self.bias)


def replace_linears(module: nn.Module, make: Any) -> None:
    """Replace the linear layers of a transformer's blocks."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, make(child))
        else:
            replace_linears(child, make)


def transformer() -> WanTransformer3DModel:
    torch.manual_seed(2)
    return WanTransformer3DModel(  # sizes are multiples of the block sizes of nf4 and GGUF
        num_attention_heads=2, attention_head_dim=32, in_channels=48, out_channels=48, text_dim=tiny.TEXT_DIM,
        freq_dim=16, ffn_dim=64, num_layers=2,
    ).eval()  # fmt: skip


def make(model: WanTransformer3DModel) -> MiragePipeline:
    parts = tiny.wan().components | {"transformer": model}
    del parts["transformer_2"]
    return MiragePipeline(**parts)


def check(pipe: MiragePipeline, kind: str, tolerance: float, tmp_path: Path) -> None:
    """The adapter starts from the backbone's weights, has an effect, and is saved and loaded."""
    plain = make(transformer())
    layers = [model.transformer.adapter.control_blocks[0].ffn.net[2] for model in (pipe, plain)]
    assert type(pipe.transformer.blocks[0].ffn.net[2]).__name__ == kind
    assert type(layers[0]) is nn.Linear
    weights = [layer.weight.detach().float() for layer in layers]
    assert 0 < (weights[0] - weights[1]).abs().max() <= tolerance * weights[1].abs().max()
    made = [run(train_adapter(model), **SHORT).latents for model in (pipe, plain)]
    assert (made[0] - made[1]).abs().max() < 0.1 * made[1].abs().max()
    assert not torch.equal(made[0], run(pipe, control_scale=0.0, **SHORT).latents)
    pipe.save_adapter_weights(tmp_path / "adapter.safetensors")
    plain.load_adapter_weights(tmp_path / "adapter.safetensors")
    pipe.load_adapter_weights(tmp_path / "adapter.safetensors")
    assert torch.equal(run(pipe, **SHORT).latents, made[0])


def test_layers_of_another_class(tmp_path: Path) -> None:
    model = transformer()
    replace_linears(model.blocks, HalfLinear)
    model.is_quantized, model.hf_quantizer = True, "quantizer"
    pipe = make(model)
    check(pipe, "HalfLinear", 1e-3, tmp_path)
    assert pipe.transformer.blocks[0].attn1.to_q is model.blocks[0].attn1.to_q
    assert pipe.transformer.blocks[0].scale_shift_table is model.blocks[0].scale_shift_table
    assert pipe.transformer.is_quantized
    assert pipe.transformer.hf_quantizer == "quantizer"


def test_gguf(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="needs gguf: pip install gguf")
    model, writer = transformer(), gguf.GGUFWriter(tmp_path / "wan.gguf", "wan")
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, tensor in to_released(model.state_dict()).items():
        if name.startswith("blocks.") and tensor.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.save_config(tmp_path / "config")
    for dtype in (torch.float32, torch.bfloat16):
        quantized = WanTransformer3DModel.from_single_file(
            str(tmp_path / "wan.gguf"), quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            config=str(tmp_path / "config"), torch_dtype=dtype,
        )  # fmt: skip
        check(make(quantized), "GGUFLinear", 0.02, tmp_path)


def test_nf4(tmp_path: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install bitsandbytes")

    def quantize(layer: nn.Linear) -> nn.Module:
        made = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, compute_dtype=torch.float32, quant_type="nf4"
        )
        made.load_state_dict(layer.state_dict())
        return made.to("cpu")

    model = transformer()
    replace_linears(model.blocks, quantize)
    check(make(model), "Linear4bit", 0.2, tmp_path)


@pytest.mark.filterwarnings("ignore::FutureWarning:diffusers.*")  # QuantoConfig is deprecated
def test_quanto_by_the_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("optimum.quanto", reason="needs optimum-quanto: pip install optimum-quanto")
    wan = tiny.wan()
    wan.transformer = transformer()
    wan.save_pretrained(tmp_path)
    config = PipelineQuantizationConfig(quant_mapping={"transformer": QuantoConfig(weights_dtype="int8")})
    pipe = MiragePipeline.from_pretrained(tmp_path, quantization_config=config)
    assert type(pipe.text_encoder.encoder.block[0].layer[0].SelfAttention.q) is nn.Linear
    check(pipe, "QLinear", 0.02, tmp_path)


def test_the_transformer_gets_its_part_of_the_quantization() -> None:
    """Without a quantizer, which diffusers would only make if its package is installed."""
    config = PipelineQuantizationConfig.__new__(PipelineQuantizationConfig)
    own = QuantizationConfigMixin("own")
    config.is_granular, config.quant_mapping, config.components_to_quantize = True, {"transformer": own}, None
    config.config_mapping, config.quant_backend, config.quant_kwargs = {}, None, None
    config._get_quant_config_list = lambda: (None, None)
    selected = loading.transformer_options({"quantization_config": config, "token": "t", "vae": None})
    assert selected == {"quantization_config": own, "token": "t", "dtype": None}
    config.quant_mapping = {"text_encoder": own}
    assert "quantization_config" not in loading.transformer_options({"quantization_config": config})
    with pytest.raises(TypeError, match=r"quantization_config: expected a diffusers.PipelineQuantizationConfig, got"):
        loading.transformer_options({"quantization_config": own})
