# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Released checkpoints: every name in both directions, and the errors for names and shapes that do not match."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from torch import Tensor

from mirage.models.wan.lora import lora_config
from mirage.models.wan.lora_keys import convert_lora, linear_layers
from mirage.models.wan.parameter_counts import full_model, parameter_sizes, parameter_table
from mirage.models.wan.released_keys import from_released, lora_to_released, to_released
from mirage.models.wan.transformer import MirageTransformer3DModel

ROOT = Path(__file__).resolve().parents[4]


def tiny() -> MirageTransformer3DModel:
    torch.manual_seed(0)
    model = MirageTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16,
        ffn_dim=40, num_layers=4, adapter_layers=(0, 2), control_channels=8, rope_max_seq_len=32,
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.requires_grad_(False)


def released() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A random checkpoint in the released layout, and the same by our names."""
    ours = tiny().state_dict()
    return to_released(ours), ours


def released_lora(prefix: str = "pipe.dit.", default: str = "") -> dict[str, Tensor]:
    tensors = {}
    for block in range(4):
        for name, out, into in [
            *((f"{kind}_attn.{m}", 24, 24) for kind in ("self", "cross") for m in "qkvo"),
            ("ffn.0", 40, 24),
            ("ffn.2", 24, 40),
        ]:
            tensors[f"{prefix}blocks.{block}.{name}.lora_A{default}.weight"] = torch.randn(3, into)
            tensors[f"{prefix}blocks.{block}.{name}.lora_B{default}.weight"] = torch.randn(out, 3)
    return tensors


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_checkpoints_convert_in_both_directions() -> None:
    theirs, ours = released()
    assert same(from_released(theirs, ours), ours)
    assert same(to_released(from_released(theirs, ours)), theirs)


def test_backbone_names_are_those_of_diffusers() -> None:
    theirs, ours = released()
    base = {name: tensor for name, tensor in theirs.items() if "vace" not in name}
    expected = {name: tensor for name, tensor in ours.items() if not name.startswith("adapter.")}
    assert same(from_released(base, expected), convert_wan_transformer_to_diffusers(dict(base)))


def test_names_by_hand() -> None:
    for ours, theirs in {
        "blocks.3.attn2.to_out.0.bias": "blocks.3.cross_attn.o.bias",
        "blocks.0.scale_shift_table": "blocks.0.modulation",
        "blocks.1.norm2.weight": "blocks.1.norm3.weight",
        "scale_shift_table": "head.modulation",
        "condition_embedder.time_proj.weight": "time_projection.1.weight",
        "adapter.control_blocks.0.proj_in.weight": "vace_blocks.0.before_proj.weight",
        "adapter.control_blocks.1.ffn.net.0.proj.weight": "vace_blocks.1.ffn.0.weight",
        "adapter.patch_embedding.bias": "vace_patch_embedding.bias",
    }.items():
        assert list(to_released({ours: torch.zeros(1)})) == [theirs]
        assert list(from_released({theirs: torch.zeros(1)}, {ours: torch.zeros(1)})) == [ours]


@pytest.mark.parametrize("prefix", ["module.", "model.", "pipe.vace.", "vace.", "generator.vace.", "state_dict."])
def test_prefixes(prefix: str) -> None:
    theirs, ours = released()
    part = {name: tensor for name, tensor in ours.items() if name.startswith("adapter.")}
    wrapped = {f"{prefix}{name}": tensor for name, tensor in theirs.items() if "vace" in name}
    assert same(from_released(wrapped, part), part)


def test_errors_name_the_tensor() -> None:
    theirs, ours = released()
    name = "vace_blocks.1.self_attn.q.weight"

    def refused(tensors: dict[str, Tensor], message: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$") as error:
            from_released(tensors, ours)
        assert "\n" not in str(error.value)

    cut = {n: t for n, t in theirs.items() if n != name}
    refused(cut, f"{name}: expected a tensor, got none")
    refused(theirs | {name: torch.zeros(24, 23)}, f"{name}: expected (24, 24), got (24, 23)")
    unknown = "expected a tensor of this model in the released layout, got an unknown name"
    refused(theirs | {"vace_blocks.2.norm3.bias": torch.zeros(24)}, f"vace_blocks.2.norm3.bias: {unknown}")
    refused(theirs | {"blocks.0.attn1.to_q.weight": torch.zeros(24)}, f"blocks.0.attn1.to_q.weight: {unknown}")
    twice = f"expected one tensor for adapter.control_blocks.1.attn1.to_q.weight, got {name} as well"
    refused(theirs | {f"model.{name}": theirs[name]}, f"model.{name}: {twice}")
    first, second = list(theirs)[:2]
    more = {n: t for n, t in cut.items() if n not in (first, second)}
    refused(more, f"{first}: expected a tensor, got none (and 2 more problems)")
    with pytest.raises(ValueError, match=r"blocks\.0\.norm9\.weight: expected a tensor of the model"):
        to_released({"blocks.0.norm9.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    "prefix", ["", "pipe.dit.", "module.", "model.", "base_model.model.", "dit.", "module.pipe.dit.base_model.model."]
)
@pytest.mark.parametrize("default", ["", ".default"])
def test_lora_converts_in_both_directions(prefix: str, default: str) -> None:
    layers = linear_layers(tiny())
    theirs = released_lora(prefix, default)
    ours = convert_lora(theirs, layers)
    assert len(ours) == len(theirs)
    assert torch.equal(
        ours["transformer.blocks.3.ffn.net.2.lora_B.weight"],
        theirs[f"{prefix}blocks.3.ffn.2.lora_B{default}.weight"],
    )
    assert same(convert_lora(ours, layers), ours)
    plain = {name.removeprefix("transformer."): tensor for name, tensor in ours.items()}
    assert same(convert_lora(plain, layers), ours)
    back = {f"pipe.dit.{n.removeprefix(prefix).replace('.default.', '.')}": t for n, t in theirs.items()}
    assert same(lora_to_released(ours), back)


def test_lora_errors_name_the_tensor() -> None:
    layers = linear_layers(tiny())
    whole = released_lora()

    def refused(tensors: dict[str, Tensor], message: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            convert_lora(tensors, layers)

    name = "pipe.dit.blocks.2.ffn.0.lora_B.weight"
    bare = name.removeprefix("pipe.dit.")
    refused({n: t for n, t in whole.items() if n != name}, f"{bare}: expected a tensor, got none")
    refused(whole | {name: torch.zeros(40, 4)}, f"{name}: expected (40, 3), got (40, 4)")
    refused(whole | {name: torch.zeros(())}, f"{name}: expected (40, 3), got ()")
    refused(whole | {name: torch.full((40, 3), torch.nan)}, f"{name}: expected finite numbers, got NaN or infinity")
    refused(whole | {name: torch.ones(40, 3).int()}, f"{name}: expected floating-point numbers, got torch.int32")
    alpha = "pipe.dit.blocks.0.ffn.0.alpha"
    refused(whole | {alpha: torch.zeros(2)}, f"{alpha}: expected one number, got (2,)")
    refused(whole | {alpha: torch.tensor(torch.inf)}, f"{alpha}: expected finite numbers, got NaN or infinity")
    unknown = "expected LoRA on a linear layer of the model's backbone, got an unknown name"
    for foreign in (
        "pipe.dit.blocks.4.ffn.0.lora_B.weight",
        "pipe.vace.vace_blocks.0.ffn.0.lora_A.weight",
        "pipe.dit.blocks.0.norm3.lora_A.weight",
        "adapter.control_blocks.0.attn1.to_q.lora_A.weight",
    ):
        refused(whole | {foreign: torch.zeros(3, 24)}, f"{foreign}: {unknown}")
    twice = released_lora("dit.", ".default") | whole
    with pytest.raises(ValueError, match=r"expected one tensor for blocks\.0\..*as well \(and 79 more"):
        convert_lora(twice, layers)
    refused({}, "tensors: expected LoRA, got none")


def test_the_full_model_has_the_released_names_and_shapes(data: Path) -> None:
    keys = json.loads((data / "golden" / "release_5b_keys.json").read_text())
    with torch.device("meta"):
        theirs = {name: torch.empty(shape) for part in keys.values() for name, shape in part.items()}
    ours = full_model("release").state_dict()
    converted = from_released(theirs, ours)
    assert converted.keys() == ours.keys()
    assert {name: list(tensor.shape) for name, tensor in to_released(ours).items()} == keys["base"] | keys["adapter"]
    counts = [sum(theirs[name].numel() for name in keys[part]) for part in ("base", "adapter")]
    assert [f"{count / 1e9:.3f}" for count in counts] == ["5.000", "2.607"]
    sizes = list(parameter_sizes().values())
    assert [size.parameters for size in sizes[:2]] == counts


def test_parameters_counted_by_hand() -> None:
    sizes = parameter_sizes()
    dim, ffn, layers = 3072, 14336, 30
    attention = 4 * (dim * dim + dim) + 2 * dim  # q, k, v, o and the norms of q and k
    block = 2 * attention + 2 * dim + dim * ffn + ffn + ffn * dim + dim + 6 * dim
    projection = dim * dim + dim
    paper = 8 * (block + projection) + projection + dim * 49 * 4 + dim
    assert sizes["memory adapter, `paper`"].parameters == paper
    on_attention, on_feed_forward = 8 * 2 * dim, 2 * (dim + ffn)
    assert sizes["LoRA, `paper`"].parameters == layers * 64 * on_attention
    assert sizes["LoRA, `release`"].parameters == layers * 32 * (on_attention + on_feed_forward)
    assert lora_config("paper").r == lora_config("paper").lora_alpha == 64
    kept = sizes["transformer, the backbone"].kept_in_float32
    assert kept == layers * (6 * dim + 2 * dim) + 2 * dim + 256 * dim + dim + dim * dim + dim
    assert sizes["transformer, the backbone"].bytes(torch.float32) == 4 * sizes["transformer, the backbone"].parameters


def test_the_table_in_the_documentation() -> None:
    assert parameter_table() in (ROOT / "docs" / "wan.md").read_text()
