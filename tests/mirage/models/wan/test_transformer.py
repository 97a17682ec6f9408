# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The transformer: the released model's values, what an untrained adapter does, where every frame stands."""

from __future__ import annotations

import inspect
import math
import re
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.hooks.context_parallel import _get_submodule_by_name
from peft import LoraConfig
from safetensors import safe_open
from torch import Tensor

from mirage.models.wan.released_keys import from_released
from mirage.models.wan.transformer import PRESETS, MemoryAdapterBlock, MirageTransformer3DModel

SETTINGS: dict[str, Any] = {
    "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": 8,
    "freq_dim": 16, "ffn_dim": 40, "num_layers": 4, "rope_max_seq_len": 32,
}  # fmt: skip
CONTROL = 8
R, T, P = 2, 3, 1  # references, targets, preceding
h, w = 4, 6  # latent cells; half as many patches
TOKENS = 6  # of a frame


def tiny(adapter: bool = True) -> Any:
    torch.manual_seed(0)
    if adapter:
        model = MirageTransformer3DModel(**SETTINGS, adapter_layers=(0, 2), control_channels=CONTROL)
    else:
        model = WanTransformer3DModel(**SETTINGS)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def inputs(frames: int = R + T + P, references: int = R) -> dict[str, Any]:
    g = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(2, 4, frames, h, w, generator=g),
        "timestep": torch.rand(2, frames, generator=g) * 1000,
        "encoder_hidden_states": torch.randn(2, 5, 8, generator=g),
        "control_hidden_states": torch.randn(2, CONTROL, frames - references, h, w, generator=g),
        "num_references": references,
    }


def flow(model: Any, **given: Any) -> Tensor:
    with torch.no_grad():
        return model(**given, return_dict=False)[0]


def hints(model: MirageTransformer3DModel, given: dict[str, Any]) -> list[Tensor]:
    """The hints of the adapter."""
    seen: list[Tensor] = []
    blocks = model.adapter.control_blocks
    hooks = [block.proj_out.register_forward_hook(lambda _m, _i, out: seen.append(out)) for block in blocks]
    flow(model, **given)
    for hook in hooks:
        hook.remove()
    return seen


def test_the_released_model_s_flow(data: Path) -> None:
    with safe_open(data / "golden" / "release_tiny.safetensors", "pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    size = {name: int(about[name]) for name in ("dim", "heads", "text", "freq", "ffn", "layers", "R", "T")}
    model = MirageTransformer3DModel(
        num_attention_heads=size["heads"], attention_head_dim=size["dim"] // size["heads"], text_dim=size["text"],
        freq_dim=size["freq"], ffn_dim=size["ffn"], num_layers=size["layers"], adapter_layers=literal_eval(about["vl"]),
    )  # fmt: skip
    weights = {n.split(".", 1)[1]: t for n, t in tensors.items() if n.startswith(("base.", "adapter."))}
    model.load_state_dict(from_released(weights, model.state_dict()))
    latents, timestep, text = tensors["in.latents"], tensors["in.timestep_per_frame"][None], tensors["in.text"]
    out = flow(
        model, hidden_states=latents, timestep=timestep, encoder_hidden_states=text,
        control_hidden_states=tensors["in.control"][None], num_references=size["R"],
    )  # fmt: skip
    assert (out - tensors["out.flow"]).abs().max() < 1e-5  # of values up to 4.3; 1.7e-6 where it was written
    targets = slice(size["R"], size["R"] + size["T"])
    out = flow(model, hidden_states=latents[:, :, targets], timestep=timestep[:, targets], encoder_hidden_states=text)
    assert (out - tensors["out.flow_base_targets_only"]).abs().max() < 1e-5


@pytest.mark.parametrize("preset", ["release", "paper"])
@pytest.mark.parametrize("timesteps", ["sequence", "tokens"])
def test_an_untrained_adapter_has_no_effect(preset: str, timesteps: str) -> None:
    wan = tiny(adapter=False)
    model = MirageTransformer3DModel.from_wan(wan, preset)
    assert not model.training
    given = inputs(T, 0)
    given["timestep"] = given["timestep"][:, 0] if timesteps == "sequence" else torch.rand(2, T * TOKENS) * 1000
    plain = {name: given[name] for name in ("hidden_states", "timestep", "encoder_hidden_states")}
    expected = flow(wan, **plain)
    control = torch.randn(2, PRESETS[preset].control_channels, T, h, w)
    assert torch.equal(flow(model, **plain), expected)
    assert torch.equal(flow(model, **plain, control_hidden_states=control), expected)


def test_a_new_adapter_starts_from_the_backbone() -> None:
    wan = tiny(adapter=False)
    for preset, layers in (("release", (0, 2)), ("paper", (0,))):
        model = MirageTransformer3DModel.from_wan(wan, preset)
        assert tuple(model.config.adapter_layers) == layers
        assert all(p is q for p, q in zip(wan.blocks.parameters(), model.blocks.parameters(), strict=True))
        for layer, block in zip(layers, model.adapter.control_blocks, strict=True):
            copied = dict(wan.blocks[layer].named_parameters())
            for name, parameter in block.named_parameters():
                if name in copied:
                    assert torch.equal(parameter, copied[name])
                    assert parameter.data_ptr() != copied[name].data_ptr()
                else:
                    assert name.startswith("proj_")
                    assert not parameter.any()
            assert (block.proj_in is not None) == (layer == 0)
        weight = model.adapter.patch_embedding.weight
        assert torch.equal(weight[:, :4], wan.patch_embedding.weight)
        assert not weight[:, 4:].any()
    assert PRESETS["release"].layers(30) == tuple(range(0, 30, 2))
    assert PRESETS["paper"].layers(30) == (0, 4, 8, 12, 16, 20, 24, 28)
    with pytest.raises(ValueError, match=r"preset: expected one of \['nano', 'paper', 'release'\], got 'papers'"):
        MirageTransformer3DModel.from_wan(wan, "papers")
    wan.add_adapter(LoraConfig(target_modules=["to_q"]))
    with pytest.raises(ValueError, match="wan: expected a transformer without LoRA, got one with"):
        MirageTransformer3DModel.from_wan(wan)


def test_rotary_positions() -> None:
    """References at times -R..-1 and rows h..2h-1, the rest at times 0, 1, ... and rows 0..h-1."""
    model = tiny()
    for references in (0, R):
        frames = references + T + P
        cosines, sines = model.rope(torch.zeros(1, 4, frames, h, w), references)
        assert cosines.shape == sines.shape == (1, frames * TOKENS, 1, 12)
        for token in range(frames * TOKENS):
            time, row, column = token // 6 - references, token // 3 % 2, token % 3
            place = (time, row + (h // 2 if time < 0 else 0), column)
            angles = [at * 10000 ** (-2 * (n // 2) / 4) for at in place for n in range(4)]  # 4 of 12 numbers each
            for table, function in ((cosines, math.cos), (sines, math.sin)):
                expected = torch.tensor([function(angle) for angle in angles])
                torch.testing.assert_close(table[0, token, 0], expected, rtol=0, atol=1e-6)
    # The frames after the references stand where they would without any.
    with_references = model.rope(torch.zeros(1, 4, R + T + P, h, w), R)
    without = model.rope(torch.zeros(1, 4, T + P, h, w), 0)
    for some, none in zip(with_references, without, strict=True):
        torch.testing.assert_close(some[:, R * TOKENS :], none, rtol=0, atol=0)


def test_a_timestep_per_latent_equals_one_per_token() -> None:
    model, given = tiny(), inputs()
    out = flow(model, **given)
    assert torch.equal(flow(model, **given | {"timestep": given["timestep"].repeat_interleave(TOKENS, 1)}), out)
    same = given["timestep"][:, :1]
    torch.testing.assert_close(
        flow(model, **given | {"timestep": same[:, 0]}), flow(model, **given | {"timestep": same.expand(2, R + T + P)})
    )
    # Each latent's own: the last frame's tokens are embedded at the last timestep.
    temb, projected, _ = model._embed_conditions(given["timestep"], given["encoder_hidden_states"], (R + T + P, 2, 3))
    alone, alone_projected, _ = model._embed_conditions(
        given["timestep"][:, -1], given["encoder_hidden_states"], (R + T + P, 2, 3)
    )
    for token in range(-TOKENS, 0):
        torch.testing.assert_close(temb[:, token], alone)
        torch.testing.assert_close(projected[:, token], alone_projected)


def test_patches_keep_their_order() -> None:
    model, given = tiny(), inputs()
    with torch.no_grad():
        model.proj_out.weight.zero_()
        model.proj_out.bias.copy_(torch.arange(16))
    out = flow(model, **given)
    for row in range(h):
        for column in range(w):
            for channel in range(4):
                assert (out[:, channel, :, row, column] == (row % 2 * 2 + column % 2) * 4 + channel).all()


def test_references_do_not_enter_the_adapter() -> None:
    model, given = tiny(), inputs()
    before, out = hints(model, given), flow(model, **given)
    assert [hint.shape for hint in before] == [(2, (T + P) * TOKENS, 24)] * 2
    changed = dict(given, hidden_states=given["hidden_states"].clone(), timestep=given["timestep"].clone())
    changed["hidden_states"][:, :, :R] += 1
    changed["timestep"][:, :R] = 0
    assert all(torch.equal(a, b) for a, b in zip(before, hints(model, changed), strict=True))
    assert not torch.equal(flow(model, **changed)[:, :, R:], out[:, :, R:])  # but the backbone attends to them
    fewer = dict(given, hidden_states=given["hidden_states"][:, :, R:], timestep=given["timestep"][:, R:])
    for a, b in zip(before, hints(model, fewer | {"num_references": 0}), strict=True):
        torch.testing.assert_close(a, b)
    changed["hidden_states"][:, :, -P:] += 1
    assert not any(torch.equal(a, b) for a, b in zip(before, hints(model, changed), strict=True))


def test_the_order_of_frames_matters() -> None:
    """Attention alone is invariant to the order: a swap has an effect only through the positions."""
    model, given = tiny(), inputs()
    given["timestep"] = torch.full((2, R + T + P), 500.0)
    given["control_hidden_states"] = None
    out = flow(model, **given)
    for a, b in ((0, 1), (R, R + 1), (R + T - 1, R + T)):  # two references, two targets, target and preceding
        order = list(range(R + T + P))
        order[a], order[b] = b, a
        swapped = flow(model, **given | {"hidden_states": given["hidden_states"][:, :, order]})
        assert (swapped[:, :, order] - out).abs().max() > 1e-3
    nowhere = torch.ones(1, (R + T + P) * TOKENS, 1, 12)
    model.rope.forward = lambda *_: (nowhere, nowhere * 0)
    out = flow(model, **given)
    torch.testing.assert_close(flow(model, **given | {"hidden_states": given["hidden_states"].flip(2)}).flip(2), out)


def test_hints_are_added_after_their_layers_to_targets_and_preceding() -> None:
    model, given = tiny(), inputs()
    taken: dict[int, tuple[Any, ...]] = {}
    leaving: dict[int, Tensor] = {}

    def note(layer: int, given: tuple[Any, ...], out: Tensor) -> None:
        taken.setdefault(layer, given)
        leaving.setdefault(layer, out)

    for layer, block in enumerate(model.blocks):
        block.register_forward_hook(lambda _m, given, out, layer=layer: note(layer, given, out))
    handed = hints(model, given | {"control_scale": 0.5})
    for layer in range(3):
        with torch.no_grad():
            added = leaving[layer] - model.blocks[layer](*taken[layer][:4])
        assert not added[:, : R * TOKENS].any()
        expected = 0.5 * handed[layer // 2] if layer in (0, 2) else torch.zeros_like(handed[0])
        torch.testing.assert_close(added[:, R * TOKENS :], expected, rtol=1e-4, atol=1e-4)
    off = flow(model, **given | {"control_scale": 0.0})
    assert torch.equal(off, flow(model, **given | {"control_hidden_states": None}))


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    model, given = tiny().train(), inputs()
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model(**given).sample.square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
    assert all(grad.any() for name, grad in gradients[0].items() if name.startswith("adapter."))


LATENTS = "(B, C=4, R + T + P, h, w) with h and w multiples of (2, 2)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_states": torch.zeros(2, 3, 6, h, w)}, f"hidden_states: expected {LATENTS}, got (2, 3, 6, 4, 6)"),
        ({"hidden_states": torch.zeros(2, 4, 6, 3, w)}, f"hidden_states: expected {LATENTS}, got (2, 4, 6, 3, 6)"),
        ({"num_references": 6}, "num_references: expected 0 to 5 of 6 latents, got 6"),
        ({"num_references": -1}, "num_references: expected 0 to 5 of 6 latents, got -1"),
        (
            {"timestep": torch.zeros(2, 5)},
            "timestep: expected (B=2,), (B=2, R + T + P=6) or (B=2, tokens=36), got (2, 5)",
        ),
        (
            {"num_references": 1},
            "control_hidden_states: expected (B=2, control channels=8, T + P=5, h=4, w=6), got (2, 8, 4, 4, 6)",
        ),
    ],
)
def test_wrong_shapes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        flow(tiny(), **inputs() | changes)


@pytest.mark.parametrize("layers", [(), (1, 2), (0, 4), (2, 0), (0, 0)])
def test_wrong_adapter_layers(layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^adapter_layers: expected ascending layers from 0 to 3, got \["):
        MirageTransformer3DModel(**SETTINGS, adapter_layers=layers)


def test_blocks_are_not_split() -> None:
    model = tiny()
    names = {type(block).__name__ for block in (*model.blocks, *model.adapter.control_blocks)}
    assert set(model._no_split_modules) == set(model._repeated_blocks) == names


def test_the_context_parallel_plan_covers_the_model() -> None:
    model = tiny()
    covered: dict[int, set[str]] = {}
    for name, plan in model._cp_plan.items():
        modules = _get_submodule_by_name(model, name)
        for module in modules if isinstance(modules, list) else [modules]:
            arguments = inspect.signature(type(module).forward).parameters
            keys = [key for key in plan if isinstance(key, str)] if isinstance(plan, dict) else []
            assert set(keys) <= set(arguments), name
            covered.setdefault(id(module), set()).update(keys)
    for blocks in (model.blocks, model.adapter.control_blocks):
        assert all("temb" in covered[id(block)] for block in blocks)
    assert "hidden_states" in covered[id(model.blocks[0])]
    assert {"control", "hidden_states"} <= covered[id(model.adapter.control_blocks[0])]
    assert all(id(block.proj_out) in covered for block in model.adapter.control_blocks)
    assert {id(model.rope), id(model.hint), id(model.norm_out)} <= covered.keys()
    assert isinstance(model.adapter.control_blocks[0], MemoryAdapterBlock)
