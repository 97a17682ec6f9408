# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of weights: the adapter, LoRA, and folders of the whole transformer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, WanTransformer3DModel
from diffusers.loaders import WanLoraLoaderMixin
from diffusers.utils import logging
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from mirage.errors import DataError
from mirage.models.wan.lora import lora_config, read_lora
from mirage.models.wan.released_keys import lora_to_released, to_released
from mirage.models.wan.transformer import MirageTransformer3DModel

SETTINGS: dict[str, Any] = {
    "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": 8,
    "freq_dim": 16, "ffn_dim": 40, "num_layers": 4, "rope_max_seq_len": 32,
}  # fmt: skip


class Pipeline(DiffusionPipeline, WanLoraLoaderMixin):
    """The part of a pipeline that LoRA needs."""

    def __init__(self, transformer: MirageTransformer3DModel) -> None:
        super().__init__()
        self.register_modules(transformer=transformer)


def randomize(model: Any, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval().requires_grad_(False)


def tiny(seed: int = 0, layers: tuple[int, ...] = (0, 2), channels: int = 8) -> MirageTransformer3DModel:
    return randomize(MirageTransformer3DModel(**SETTINGS, adapter_layers=layers, control_channels=channels), seed)


def flow(model: MirageTransformer3DModel, **more: Any) -> Tensor:
    g = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 4, 3, 4, 6, generator=g), torch.randn(1, 5, 8, generator=g)
    control = torch.randn(1, model.config.control_channels, 2, 4, 6, generator=g)
    given = [t.to(model.dtype) for t in (latents, torch.tensor([500.0]), text, control)]
    with torch.no_grad():
        return model(*given, num_references=1, return_dict=False, **more)[0]


def state(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def released(model: MirageTransformer3DModel) -> dict[str, Tensor]:
    return {n: t.clone() for n, t in to_released(model.state_dict()).items() if n.startswith("vace")}


def trained_lora(preset: str, seed: int, **settings: Any) -> tuple[MirageTransformer3DModel, dict[str, Tensor]]:
    """A model with LoRA that is not zero, and its tensors by peft's names."""
    model = tiny()
    model.add_adapter(lora_config(preset, **settings))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return model.requires_grad_(False), get_peft_model_state_dict(model)


def refused(action: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        action()
    assert "\n" not in str(error.value)


def test_an_adapter_is_saved_and_loaded(tmp_path: Path) -> None:
    source, model = tiny(seed=1), tiny(seed=2)
    path = tmp_path / "adapter.safetensors"
    source.save_adapter(path)
    backbone = {name: tensor for name, tensor in state(model).items() if not name.startswith("adapter.")}
    model.load_adapter(path)
    assert same(state(model.adapter), state(source.adapter))
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in backbone.items())


def test_released_adapters_of_every_shape(tmp_path: Path) -> None:
    source = tiny(seed=1)
    plain = released(source)
    save_file(plain, tmp_path / "plain.safetensors")
    save_file({f"pipe.vace.{n}": t for n, t in plain.items()}, tmp_path / "prefixed.safetensors")
    for name, tree in {
        "plain": plain,
        "vace": {"vace": plain},
        "generator": {"generator": {"vace": plain}, "step": 7},
        "state_dict": {"state_dict": {f"module.{n}": t for n, t in plain.items()}},
    }.items():
        torch.save(tree, tmp_path / f"{name}.pt")
    for path in tmp_path.iterdir():
        model = tiny(seed=2)
        model.load_adapter(path)
        assert same(state(model.adapter), state(source.adapter)), path
    torch.save({"vace": plain, "optimizer": {"exp_avg": torch.zeros(1)}}, tmp_path / "more.pt")
    with pytest.warns(UserWarning, match=r"more\.pt: ignored everything besides an adapter: optimizer"):
        tiny(seed=2).load_adapter(tmp_path / "more.pt")


def test_adapters_of_another_configuration(tmp_path: Path) -> None:
    other = tiny(layers=(0,), channels=5)
    other.save_adapter(tmp_path / "own.safetensors")
    save_file(released(other), tmp_path / "released.safetensors")
    before = tiny()
    model = tiny()
    refused(
        lambda: model.load_adapter(tmp_path / "own.safetensors"),
        r"own\.safetensors: expected an adapter with adapter_layers=\[0, 2\], control_channels=8, "
        r"got one with adapter_layers=\[0\], control_channels=5$",
    )
    refused(
        lambda: model.load_adapter(tmp_path / "released.safetensors"),
        r"released\.safetensors: .* \(and 29 more problems\); "
        r"expected 2 blocks and 8 control channels, got 1 and 5$",
    )
    assert same(state(model), state(before))


def test_unusable_adapter_files(tmp_path: Path) -> None:
    model = tiny()
    load = model.load_adapter
    refused(lambda: load(tmp_path / "none.safetensors"), "none.safetensors: no such file; expected an adapter$")
    model.save_adapter(tmp_path / "own.safetensors")
    save_file(released(model), tmp_path / "released.safetensors")
    torch.save(released(model), tmp_path / "released.pt")
    for name in ("own.safetensors", "released.safetensors", "released.pt"):
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes((tmp_path / name).read_bytes()[:-900])
        refused(lambda cut=cut: load(cut), f"{cut.name}: expected an adapter, got a damaged file \\(")
    flipped = bytearray((tmp_path / "own.safetensors").read_bytes())
    flipped[-5] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(flipped)
    refused(lambda: load(tmp_path / "flipped.safetensors"), "flipped.safetensors: .* checksum")
    less = {n: t for n, t in released(model).items() if n != "vace_blocks.1.after_proj.bias"}
    save_file(less, tmp_path / "less.safetensors")
    refused(
        lambda: load(tmp_path / "less.safetensors"),
        r"less\.safetensors: vace_blocks\.1\.after_proj\.bias: expected a tensor, got none$",
    )
    save_file({"conv_in.weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    refused(
        lambda: load(tmp_path / "foreign.safetensors"), r"foreign\.safetensors: conv_in\.weight: expected a tensor of"
    )
    torch.save({"vace": [1]}, tmp_path / "list.pt")
    refused(lambda: load(tmp_path / "list.pt"), r"list\.pt: vace: expected a tensor, got list$")
    torch.save([1], tmp_path / "lists.pt")
    refused(lambda: load(tmp_path / "lists.pt"), r"lists\.pt: expected an adapter, got list$")
    torch.save({"vace": Path("code")}, tmp_path / "code.pt")  # an object, which only pickle could make
    refused(lambda: load(tmp_path / "code.pt"), r"code\.pt: expected an adapter, got a damaged file \(")


@pytest.mark.parametrize(("preset", "rank", "layers"), [("release", 32, 10), ("paper", 64, 8)])
def test_lora_targets_only_the_backbones_blocks(preset: str, rank: int, layers: int) -> None:
    model = tiny()
    model.add_adapter(lora_config(preset))
    names = {name.split(".lora_A.")[0] for name, _ in model.named_parameters() if ".lora_A." in name}
    kinds = ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v"]
    kinds = [*kinds, "attn2.to_out.0", "ffn.net.0.proj", "ffn.net.2"][:layers]
    assert names == {f"blocks.{block}.{kind}" for block in range(4) for kind in kinds}
    assert all(p.shape[0] == rank for name, p in model.named_parameters() if ".lora_A." in name)
    assert torch.equal(flow(model), flow(tiny()))  # B starts at zero


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")  # peft of the second one
def test_lora_operations(tmp_path: Path) -> None:
    """Saved, loaded, scaled, mixed, fused, unfused, unloaded: only the target layers change."""
    plain = flow(tiny())
    sources = [trained_lora("release", 1), trained_lora("paper", 2, rank=4)]
    outputs = [flow(model) for model, _ in sources]
    assert not torch.allclose(outputs[0], plain)
    pipe = Pipeline(tiny())
    for name, (model, tensors) in zip("ab", sources, strict=True):
        Pipeline.save_lora_weights(tmp_path / name, transformer_lora_layers=tensors)
        save_file(lora_to_released(tensors), tmp_path / f"{name}.safetensors")
        model.save_lora_adapter(tmp_path / f"{name}_own")
        files = [next((tmp_path / f).iterdir()) for f in (name, f"{name}_own")]
        read = [read_lora(pipe.transformer, path) for path in (*files, tmp_path / f"{name}.safetensors")]
        assert same(read[0], read[1])
        assert same(read[0], read[2])
        pipe.load_lora_weights(read[0], adapter_name=name)
    model = pipe.transformer
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    for name, output in zip("ab", outputs, strict=True):
        pipe.set_adapters(name)
        torch.testing.assert_close(flow(model), output)
        pipe.set_adapters(name, 0.0)
        torch.testing.assert_close(flow(model), plain)
    pipe.set_adapters("a")
    torch.testing.assert_close(flow(model, attention_kwargs={"scale": 0.0}), plain)
    pipe.set_adapters(["a", "b"], [0.5, 0.25])
    mixed = flow(model)
    weight = before["blocks.1.attn2.to_v.base_layer.weight"].clone()
    for share, (_, lora) in zip((0.5, 0.25), sources, strict=True):
        weight += share * lora["blocks.1.attn2.to_v.lora_B.weight"] @ lora["blocks.1.attn2.to_v.lora_A.weight"]
    pipe.fuse_lora(adapter_names=["a", "b"])
    torch.testing.assert_close(flow(model), mixed, rtol=1e-4, atol=1e-4)
    fused = dict(model.named_parameters())
    torch.testing.assert_close(fused["blocks.1.attn2.to_v.base_layer.weight"], weight)
    for name, tensor in before.items():
        target = re.fullmatch(
            r"blocks\.\d\.(attn[12]\.(to_[qkv]|to_out\.0)|ffn\.net\.(0\.proj|2))\.base_layer\.weight", name
        )
        assert torch.equal(fused[name], tensor) == (target is None), name
    pipe.unfuse_lora()
    for name, tensor in before.items():
        torch.testing.assert_close(fused[name], tensor)
    pipe.unload_lora_weights()
    assert state(model).keys() == state(tiny()).keys()
    torch.testing.assert_close(flow(model), plain)


def test_lora_without_fusing_changes_no_weight(tmp_path: Path) -> None:
    _, tensors = trained_lora("release", 1)
    save_file(lora_to_released(tensors), tmp_path / "lora.safetensors")
    pipe = Pipeline(tiny())
    pipe.load_lora_weights(read_lora(pipe.transformer, tmp_path / "lora.safetensors"), adapter_name="a")
    flow(pipe.transformer)
    read_lora(pipe.transformer, tmp_path / "lora.safetensors")  # fits a model that has LoRA already
    pipe.unload_lora_weights()
    assert same(state(pipe.transformer), state(tiny()))


def test_alpha_in_the_header_scales_the_weights(tmp_path: Path) -> None:
    model, _ = trained_lora("paper", 1, rank=4, lora_alpha=2)
    model.save_lora_adapter(tmp_path)
    file = next(tmp_path.iterdir())
    pipe = Pipeline(tiny())
    pipe.load_lora_weights(read_lora(pipe.transformer, file), adapter_name="a")
    torch.testing.assert_close(flow(pipe.transformer), flow(model))
    odd, _ = trained_lora("paper", 1, rank=4, use_rslora=True)
    odd.save_lora_adapter(tmp_path / "odd")
    pipe = Pipeline(tiny())
    pipe.load_lora_weights(read_lora(pipe.transformer, next((tmp_path / "odd").iterdir())), adapter_name="a")
    torch.testing.assert_close(flow(pipe.transformer), flow(odd))
    save_file(load_file(file), tmp_path / "bad.safetensors", {"lora_adapter_metadata": json.dumps({"r": 0})})
    refused(lambda: read_lora(tiny(), tmp_path / "bad.safetensors"), "expected LoRA, got a damaged header$")


def test_unusable_lora_files(tmp_path: Path) -> None:
    _, tensors = trained_lora("release", 1)
    whole = lora_to_released(tensors)
    name = "pipe.dit.blocks.3.ffn.2.lora_B.weight"
    save_file({n: t for n, t in whole.items() if n != name}, tmp_path / "less.safetensors")
    refused(
        lambda: read_lora(tiny(), tmp_path / "less.safetensors"),
        r"less\.safetensors: blocks\.3\.ffn\.2\.lora_B\.weight: expected a tensor, got none$",
    )
    save_file(released(tiny()), tmp_path / "adapter.safetensors")
    refused(
        lambda: read_lora(tiny(), tmp_path / "adapter.safetensors"),
        r"vace_\S+: expected LoRA on a linear layer .*61 more",
    )
    save_file({}, tmp_path / "empty.safetensors")
    refused(
        lambda: read_lora(tiny(), tmp_path / "empty.safetensors"), r"empty\.safetensors: tensors: expected LoRA, got"
    )


def test_diffusers_alone_drops_released_lora() -> None:
    """Released files need read_lora: diffusers ignores their tensors with a warning."""
    _, tensors = trained_lora("release", 1)
    pipe = Pipeline(tiny())
    logger = logging.get_logger("diffusers.loaders.peft")
    level, logger.level = logger.level, 50
    pipe.load_lora_weights(lora_to_released(tensors), adapter_name="a")
    logger.level = level
    assert torch.equal(flow(pipe.transformer), flow(tiny()))


@pytest.fixture
def wan(tmp_path: Path) -> tuple[Path, WanTransformer3DModel]:
    """A folder written by diffusers, and its model."""
    model = randomize(WanTransformer3DModel(**SETTINGS))
    model.save_pretrained(tmp_path / "wan" / "transformer")
    return tmp_path / "wan" / "transformer", model


@pytest.mark.parametrize(
    ("preset", "channels", "layers"), [(None, 96, [0, 2]), ("release", 96, [0, 2]), ("paper", 49, [0])]
)
def test_a_wan_transformer_gets_an_adapter(
    wan: tuple[Path, WanTransformer3DModel], preset: str | None, channels: int, layers: list[int]
) -> None:
    path, source = wan
    model = MirageTransformer3DModel.from_pretrained(path, preset=preset)
    assert (model.config.control_channels, list(model.config.adapter_layers)) == (channels, layers)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in source.state_dict().items())
    assert same(
        state(MirageTransformer3DModel.from_pretrained(path.parent, subfolder="transformer", preset=preset)),
        state(model),
    )


def test_saved_models_are_loaded(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    again = MirageTransformer3DModel.from_pretrained(tmp_path)
    assert same(state(again), state(model))
    # Weights that were read lie where they lay in the file, and there some processors' products round another way.
    again._apply(torch.clone)
    assert torch.equal(flow(again), flow(model))
    with pytest.raises(ValueError, match=r"preset: expected None for .*, which already has an adapter, got 'paper'"):
        MirageTransformer3DModel.from_pretrained(tmp_path, preset="paper")


@pytest.mark.parametrize("keyword", ["torch_dtype", "dtype"])
def test_bfloat16(wan: tuple[Path, WanTransformer3DModel], tmp_path: Path, keyword: str) -> None:
    path, _ = wan
    model = MirageTransformer3DModel.from_pretrained(path, **{keyword: torch.bfloat16})
    plain = WanTransformer3DModel.from_pretrained(path, torch_dtype=torch.bfloat16)
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    assert all(dtypes[name] == tensor.dtype for name, tensor in plain.state_dict().items())
    for name, dtype in dtypes.items():
        kept = set(model._keep_in_fp32_modules) & set(name.split("."))
        assert dtype == (torch.float32 if kept else torch.bfloat16), name
    assert flow(model).dtype == torch.bfloat16
    model.save_pretrained(tmp_path / "own")
    again = MirageTransformer3DModel.from_pretrained(tmp_path / "own", torch_dtype=torch.bfloat16)
    assert {name: tensor.dtype for name, tensor in again.state_dict().items()} == dtypes
    assert torch.equal(flow(again), flow(model))


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")  # of a name on the Hub
def test_unusable_folders(wan: tuple[Path, WanTransformer3DModel], tmp_path: Path) -> None:
    path, _ = wan
    load = MirageTransformer3DModel.from_pretrained
    fix = "download it with \"hf download Wan-AI/Wan2.2-TI2V-5B-Diffusers --include 'transformer/\\*' --local-dir "
    what = "the transformer of Wan2.2-TI2V-5B"
    empty = tmp_path / "empty"
    refused(lambda: load(tmp_path / "none"), f"none: expected a folder with {what}, got no such folder; {fix}")
    empty.mkdir()
    expected = f'empty: expected {what}, got a folder with no config.json; {fix}{empty}" and pass {empty}/transformer$'
    refused(lambda: load(empty), expected)
    offline = {"subfolder": "transformer", "local_files_only": True, "cache_dir": tmp_path / "cache"}
    refused(
        lambda: load("Wan-AI/Wan2.2-TI2V-5B-Diffusers", **offline),
        "^Wan-AI/Wan2.2-TI2V-5B-Diffusers: expected a folder, or .* not in the cache, and downloads are turned off",
    )
    file = next(path.glob("*.safetensors"))
    tensors, whole = load_file(file), file.read_bytes()
    name = "blocks.1.attn2.to_v.weight"
    for changed, message in (
        ({n: t for n, t in tensors.items() if n != name}, f"{name}: expected a tensor, got none$"),
        (tensors | {"a.weight": torch.zeros(1)}, "a.weight: expected a tensor of the model, got an unknown name$"),
        (tensors | {name: torch.zeros(3, 3)}, f"the transformer cannot be loaded: .*{name}"),
    ):
        save_file(changed, file, {"format": "pt"})
        refused(lambda: load(path), f"^{path}: {message}")
    file.write_bytes(whole[:-900])
    refused(lambda: load(path), f"^{path}: the transformer cannot be loaded: Unable to load weights")
    config = (path / "config.json").read_text()
    (path / "config.json").write_text("{")
    refused(lambda: load(path), f"^{path}: expected {what}, got an error: .*not a valid JSON file")
    (path / "config.json").write_text(config.replace("WanTransformer3DModel", "WanVACETransformer3DModel"))
    refused(
        lambda: load(path), "expected MirageTransformer3DModel or WanTransformer3DModel, got WanVACETransformer3DModel$"
    )
    (path / "config.json").write_text(config)
    file.unlink()
    expected = f'transformer: expected {what}, got a folder with no weights; {fix}{path.parent}"$'
    refused(lambda: load(path), expected)
    refused(lambda: load(path.parent, subfolder="transformer"), expected)
    with pytest.raises(ValueError, match="preset: expected one of"):
        load(path, preset="papers")
