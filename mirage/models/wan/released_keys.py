# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Names of tensors: the released checkpoints' to ours and back.

The released layout is that of Wan's and VACE's own code; ours is diffusers'. diffusers converts Wan's one way, and
passes on any name it does not know; here one table serves both ways, and every tensor has to fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

__all__ = ["from_released", "lora_from_released", "lora_to_released", "to_released"]

_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "norm_q": "norm_q", "norm_k": "norm_k"}
_BLOCK = {
    "scale_shift_table": "modulation",
    "norm2": "norm3",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "proj_in": "before_proj",
    "proj_out": "after_proj",
    **{f"attn1.{ours}": f"self_attn.{theirs}" for ours, theirs in _ATTENTION.items()},
    **{f"attn2.{ours}": f"cross_attn.{theirs}" for ours, theirs in _ATTENTION.items()},
}
_AROUND = {
    "patch_embedding": "patch_embedding",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "scale_shift_table": "head.modulation",
    "proj_out": "head.head",
    "adapter.patch_embedding": "vace_patch_embedding",
}
_BLOCKS = {"blocks": "blocks", "adapter.control_blocks": "vace_blocks"}

# What training code and other programs put before the names, in any order and number.
_WRAPPERS = re.compile(
    r"(?:(?:base_model|diffusion_model|dit|generator|model|module|pipe|state_dict|transformer|vace)\.)*"
)
_PARAMETER = re.compile(r"(.+)\.(weight|bias)")
_LORA = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_LORA_TARGET = re.compile(r"blocks\.\d+\.(attn[12]\.(?:to_[qkv]|to_out\.0)|ffn\.net\.(?:0\.proj|2))")


def _renamer(blocks: dict[str, str], block: dict[str, str], around: dict[str, str]) -> Callable[[str], str | None]:
    """A function from one layout's name of a module or parameter to the other's; None where there is no such name."""
    numbered = re.compile(rf"({'|'.join(map(re.escape, blocks))})\.(\d+)\.(.+)")

    def rename(name: str) -> str | None:
        found = numbered.fullmatch(name)
        if found is None:
            return around.get(name)
        stack, number, rest = found.groups()
        return f"{blocks[stack]}.{number}.{block[rest]}" if rest in block else None

    return rename


def _turned(table: dict[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in table.items()}


_to_theirs = _renamer(_BLOCKS, _BLOCK, _AROUND)
_to_ours = _renamer(_turned(_BLOCKS), _turned(_BLOCK), _turned(_AROUND))


def _parameter(name: str, rename: Callable[[str], str | None]) -> str | None:
    """The other layout's name of a parameter: of a module's weight or bias, or of one that stands alone."""
    found = _PARAMETER.fullmatch(name)
    if found is None:
        return rename(name) if name.endswith(("scale_shift_table", "modulation")) else None
    module = rename(found[1])
    return module and f"{module}.{found[2]}"


def _unwrapped(name: str) -> str:
    found = _WRAPPERS.match(name)
    return name[found.end() :] if found else name


def raise_first(problems: Iterable[str]) -> None:
    """Raise a ValueError of one line if there is any problem."""
    first, *others = [*problems, ""]
    if first:
        more = len(others) - 1
        raise ValueError(first + (f" (and {more} more tensor{'s' * (more > 1)} that do not fit)" if more else ""))


def _converted(
    tensors: Mapping[str, Tensor], rename: Callable[[str], str | None], what: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under their new names, and what is wrong with the names."""
    sources: dict[str, str] = {}
    problems = []
    for source in tensors:
        target = rename(source)
        if target is None:
            problems.append(f"{source}: expected {what}, got a name that is none")
        elif target in sources:
            problems.append(f"{source}: expected one tensor for {target}, got {sources[target]} as well")
        else:
            sources[target] = source
    return {target: tensors[source] for target, source in sources.items()}, problems


def from_released(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a released backbone (``blocks.0.self_attn.q.weight``), adapter (``vace_blocks.0...``) or both, by our
    names.

    Prefixes such as ``module.``, ``model.``, ``pipe.vace.`` are dropped. Nothing is copied or cast.

    Args:
        tensors: by their released names.
        expected: the tensors to be filled, by our names (a module's ``state_dict()``, on any device).

    Raises:
        ValueError: a tensor is unknown, missing, of another shape than expected, or there twice.
    """
    names = {ours: _parameter(ours, _to_theirs) or ours for ours in expected}

    def rename(source: str) -> str | None:
        ours = _parameter(_unwrapped(source), _to_ours)
        return ours if ours in names else None

    converted, problems = _converted(tensors, rename, "a tensor of this model in the released layout")
    problems += [f"{theirs}: expected a tensor, got none" for ours, theirs in names.items() if ours not in converted]
    for ours, tensor in converted.items():
        if tensor.shape != expected[ours].shape:
            problems.append(f"{names[ours]}: expected {tuple(expected[ours].shape)}, got {tuple(tensor.shape)}")
    raise_first(problems)
    return converted


def to_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a ``MirageTransformer3DModel``, all or some, by their released names.

    Raises:
        ValueError: a name is none of the model's.
    """
    converted, problems = _converted(tensors, lambda name: _parameter(name, _to_theirs), "a tensor of the model")
    raise_first(problems)
    return converted


def lora_from_released(tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LoRA as diffusers' ``load_lora_weights`` takes it (``transformer.blocks.0.attn1.to_q.lora_A.weight``).

    Reads ``pipe.dit.blocks.0.self_attn.q.lora_A.weight``, with other prefixes or none, and ``.default`` before
    ``.weight``; diffusers' and peft's own names too. The kinds of modules may differ from file to file, but a kind that
    is there must be there in every block.

    Args:
        tensors: by their released names.
        weights: the backbone's, by our names.

    Raises:
        ValueError: a tensor is unknown, missing, of a shape that does not fit its layer, or there twice.
    """

    def rename(source: str) -> str | None:
        found = _LORA.fullmatch(_unwrapped(source))
        module = found and (_to_ours(found[1]) or found[1])
        known = module and _LORA_TARGET.fullmatch(module) and f"{module}.weight" in weights
        return f"transformer.{module}.lora_{found[2]}.weight" if found and known else None

    converted, problems = _converted(tensors, rename, "LoRA on q, k, v, o, ffn.0 or ffn.2 of one of the model's blocks")
    kinds = {found[1] for found in (_LORA_TARGET.match(name, len("transformer.")) for name in converted) if found}
    modules = [name.removesuffix(".weight") for name in weights]
    for module in modules:
        found = _LORA_TARGET.fullmatch(module)
        if found and found[1] in kinds:
            problems += _misfits(module, converted, weights[f"{module}.weight"].shape)
    if not kinds and not problems:
        problems.append("tensors: expected LoRA, got none")
    raise_first(problems)
    return converted


def _misfits(module: str, lora: Mapping[str, Tensor], shape: tuple[int, ...]) -> list[str]:
    """What is wrong with the LoRA of one linear layer of ``shape`` (out, in)."""
    theirs = _to_theirs(module)
    sides = {side: lora.get(f"transformer.{module}.lora_{side}.weight") for side in "AB"}
    problems = [f"{theirs}.lora_{side}.weight: expected a tensor, got none" for side in sides if sides[side] is None]
    rank = next((len(tensor) for tensor in (sides["A"],) if tensor is not None and tensor.ndim), 0)
    for (side, tensor), fits in zip(sides.items(), ((rank, shape[1]), (shape[0], rank)), strict=True):
        if tensor is not None and not problems and tensor.shape != fits:
            problems.append(f"{theirs}.lora_{side}.weight: expected {fits}, got {tuple(tensor.shape)}")
    return problems


def lora_to_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LoRA by the released names, ``pipe.dit.`` before them; the other way of :func:`lora_from_released`.

    Raises:
        ValueError: a name is none of LoRA on the backbone's blocks.
    """

    def rename(source: str) -> str | None:
        found = _LORA.fullmatch(_unwrapped(source))
        module = found and _LORA_TARGET.fullmatch(found[1]) and _to_theirs(found[1])
        return f"pipe.dit.{module}.lora_{found[2]}.weight" if found and module else None

    converted, problems = _converted(tensors, rename, "LoRA on q, k, v, o or feed-forward layers of the backbone")
    raise_first(problems)
    return converted
