# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Converts tensor names between the released checkpoints and this package.

Released checkpoints use the names of Wan's and VACE's own code; this package uses those of diffusers. diffusers can
convert Wan's names in one direction only, and passes unknown names through. Here one table serves both directions, and
every tensor must match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

__all__ = ["from_released", "lora_to_released", "raise_first", "to_our_module", "to_released", "to_their_module",
           "unwrapped"]  # fmt: skip

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
_OTHER = {
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

# Prefixes that training code and other programs add to names, in any order and number.
_WRAPPERS = re.compile(
    r"(?:(?:base_model|diffusion_model|dit|generator|model|module|pipe|state_dict|transformer|vace)\.)*"
)
_PARAMETER = re.compile(r"(.+)\.(weight|bias)")
_LORA = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_LORA_TARGET = re.compile(r"blocks\.\d+\.(attn[12]\.(?:to_[qkv]|to_out\.0)|ffn\.net\.(?:0\.proj|2))")


def _renamer(blocks: dict[str, str], block: dict[str, str], other: dict[str, str]) -> Callable[[str], str | None]:
    """A function that maps the name of a module or parameter to the other layout, and unknown names to None."""
    numbered = re.compile(rf"({'|'.join(map(re.escape, blocks))})\.(\d+)\.(.+)")

    def rename(name: str) -> str | None:
        found = numbered.fullmatch(name)
        if found is None:
            return other.get(name)
        stack, number, rest = found.groups()
        return f"{blocks[stack]}.{number}.{block[rest]}" if rest in block else None

    return rename


def _inverted(table: dict[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in table.items()}


to_their_module = _renamer(_BLOCKS, _BLOCK, _OTHER)
to_our_module = _renamer(_inverted(_BLOCKS), _inverted(_BLOCK), _inverted(_OTHER))


def _parameter(name: str, rename: Callable[[str], str | None]) -> str | None:
    """The name of a parameter in the other layout: a module's weight or bias, or a parameter without a module."""
    found = _PARAMETER.fullmatch(name)
    if found is None:
        return rename(name) if name.endswith(("scale_shift_table", "modulation")) else None
    module = rename(found[1])
    return module and f"{module}.{found[2]}"


def unwrapped(name: str) -> str:
    """Drop the prefixes that training code and other programs add to a name."""
    found = _WRAPPERS.match(name)
    return name[found.end() :] if found else name


def raise_first(problems: Iterable[str]) -> None:
    """Raise a ValueError with the first problem and the number of the others, if there is any."""
    first, *others = [*problems, ""]
    if first:
        more = len(others) - 1
        raise ValueError(first + (f" (and {more} more problem{'s' * (more > 1)})" if more else ""))


def _converted(
    tensors: Mapping[str, Tensor], rename: Callable[[str], str | None], what: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under their new names, and a list of unknown and duplicate names."""
    sources: dict[str, str] = {}
    problems = []
    for source in tensors:
        target = rename(source)
        if target is None:
            problems.append(f"{source}: expected {what}, got an unknown name")
        elif target in sources:
            problems.append(f"{source}: expected one tensor for {target}, got {sources[target]} as well")
        else:
            sources[target] = source
    return {target: tensors[source] for target, source in sources.items()}, problems


def from_released(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a released backbone (``blocks.0.self_attn.q.weight``), adapter (``vace_blocks.0...``) or
    both.

    Prefixes such as ``module.``, ``model.`` and ``pipe.vace.`` are dropped. Tensors are neither copied nor cast.

    Args:
        tensors: by their released names.
        expected: the state dict of the module to load, on any device.

    Returns:
        The tensors, by the names of ``expected``.

    Raises:
        ValueError: a tensor is unknown, missing, duplicate, or of another shape than in ``expected``.
    """
    names = {ours: _parameter(ours, to_their_module) or ours for ours in expected}

    def rename(source: str) -> str | None:
        ours = _parameter(unwrapped(source), to_our_module)
        return ours if ours in names else None

    converted, problems = _converted(tensors, rename, "a tensor of this model in the released layout")
    problems += [f"{theirs}: expected a tensor, got none" for ours, theirs in names.items() if ours not in converted]
    for ours, tensor in converted.items():
        if tensor.shape != expected[ours].shape:
            problems.append(f"{names[ours]}: expected {tuple(expected[ours].shape)}, got {tuple(tensor.shape)}")
    raise_first(problems)
    return converted


def to_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors of a ``MirageTransformer3DModel`` to their released names.

    Args:
        tensors: all or some tensors of the model's state dict.

    Raises:
        ValueError: a name is unknown.
    """
    converted, problems = _converted(tensors, lambda name: _parameter(name, to_their_module), "a tensor of the model")
    raise_first(problems)
    return converted


def lora_to_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename LoRA tensors to their released names, with the prefix ``pipe.dit.``; inverts :func:`.convert_lora`.

    Args:
        tensors: by the names of diffusers or peft.

    Raises:
        ValueError: a name does not belong to LoRA on the backbone's blocks.
    """

    def rename(source: str) -> str | None:
        found = _LORA.fullmatch(unwrapped(source))
        module = found and _LORA_TARGET.fullmatch(found[1]) and to_their_module(found[1])
        return f"pipe.dit.{module}.lora_{found[2]}.weight" if found and module else None

    converted, problems = _converted(tensors, rename, "LoRA on q, k, v, o or feed-forward layers of the backbone")
    raise_first(problems)
    return converted
