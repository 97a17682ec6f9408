# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Compute and memory of training the full model, derived from the model's code without weights or a GPU.

``python -m mirage.training.full_size`` prints them as Markdown tables.

Floating point operations are counted on the meta device; the tensors that a forward pass leaves for the backward pass
on fake tensors of the CPU, where attention stores no matrix of all pairs of tokens, as fused attention on a GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mirage.models.wan.lora import lora_config
from mirage.models.wan.parameter_counts import full_model
from mirage.models.wan.presets import PresetName

from .objective import TrainingSequence, flow_matching_loss

__all__ = ["Memory", "Stage", "full_size_tables", "training_flops", "training_memory"]

Stage = Literal["adapter", "lora"]
R, T, P, GRID = 4, 9, 2, (44, 80)  # references, targets, preceding latents; latent cells of 704x1280
WORDS, TEXT_DIM = 512, 4096
GIB = 2**30


class Memory(NamedTuple):
    """Bytes on each GPU by part, for a batch of one sample per GPU.

    Attributes:
        frozen: weights that are not trained, bfloat16.
        trained: weights that are trained, float32.
        gradients: of those, float32.
        moments: two moments of AdamW, float32.
        average: the exponential moving average of trained weights, float32.
        copies: trained weights in bfloat16, as autocast makes them.
        inputs: inputs of the checkpointed blocks.
        block: what the block with the largest working set leaves for its backward pass, its inputs included. What that
            pass itself allocates is not counted, nor what the allocator and libraries hold.
    """

    frozen: int
    trained: int
    gradients: int
    moments: int
    average: int
    copies: int
    inputs: int
    block: int


def _staged_model(preset: PresetName, stage: Stage) -> Any:
    """The full model on the meta device in bfloat16, of which only a stage's weights are trained."""
    model = full_model(preset).requires_grad_(False)
    if stage == "adapter":
        model.adapter.requires_grad_(True)
    else:
        model.add_adapter(lora_config(preset))
    return nn.Module.to(model, torch.bfloat16)  # that of diffusers warns of the few weights that it keeps in float32


def _loss(model: Any, device: str) -> Tensor:
    channels = model.config.control_channels

    def new(*shape: int) -> Tensor:
        return torch.empty(shape, device=device, dtype=torch.bfloat16)

    references, targets, preceding = (new(1, model.config.in_channels, frames, *GRID) for frames in (R, T, P))
    control, text = new(1, channels, T + P, *GRID), new(1, WORDS, TEXT_DIM)
    sequence = TrainingSequence(references, targets, preceding, control, text)
    sigmas = torch.empty(1, T, device=device, dtype=torch.float32)
    return flow_matching_loss(model, sequence, sigmas, torch.empty_like(targets))


@cache
def training_flops(preset: PresetName, stage: Stage, checkpointing: bool = True) -> tuple[int, int]:
    """Count the floating point operations of a sample at 704x1280 with R = 4, T = 9, P = 2.

    Args:
        preset: of the adapter.
        stage: what is trained, ``"adapter"`` or ``"lora"``.
        checkpointing: whether the backward pass computes each block again.

    Returns:
        Those of the forward pass, and of forward and backward pass. A multiplication and an addition are two.
    """
    model = _staged_model(preset, stage)
    if checkpointing:
        model.enable_gradient_checkpointing()
    with FlopCounterMode(display=False) as counter:
        loss = _loss(model, "meta")
        forward = counter.get_total_flops()
        loss.backward()  # type: ignore[no-untyped-call]
    return forward, counter.get_total_flops()


class _Storages:
    """Bytes of distinct storages; each is kept so that no other one takes its identity."""

    def __init__(self, ignored: list[Tensor]) -> None:
        self.bytes = 0
        self._kept: dict[int, Any] = {}
        for tensor in ignored:
            self._kept[tensor.untyped_storage()._cdata] = tensor

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._kept:
            self._kept[storage._cdata] = tensor
            self.bytes += storage.nbytes()
        return tensor


def _make_fake(model: nn.Module) -> None:
    """Replace the tensors of a model on the meta device by fake ones of the CPU. Within a FakeTensorMode."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                fake = torch.empty(weight.shape, device="cpu", dtype=weight.dtype)
                module._parameters[name] = nn.Parameter(fake, requires_grad=weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, device="cpu", dtype=buffer.dtype)


@cache
def _activations(preset: PresetName, stage: Stage) -> tuple[int, int]:
    """Bytes of the blocks' inputs, and of the largest working set of a block."""
    model = _staged_model(preset, stage)
    with FakeTensorMode():
        _make_fake(model)
        weights = list(model.parameters())
        inputs, working = _Storages(weights), 0

        def before(_: nn.Module, args: tuple[Any, ...]) -> None:
            for arg in args:
                for tensor in arg if isinstance(arg, tuple) else (arg,):
                    if isinstance(tensor, Tensor):
                        inputs.add(tensor)

        def measured(run: Callable[..., Any], *args: Any) -> Any:
            nonlocal working
            saved = _Storages(weights)
            with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
                result = run(*args)
            working = max(working, saved.bytes)
            return result

        for block in [*model.blocks, *model.adapter.control_blocks]:
            block.register_forward_pre_hook(before)
            block.forward = functools.partial(measured, block.forward)
        _loss(model, "cpu")
    return inputs.bytes, working


@cache
def training_memory(preset: PresetName, stage: Stage, gpus: int = 1) -> Memory:
    """Compute the memory of training with gradient checkpointing at 704x1280 with R = 4, T = 9, P = 2.

    With several GPUs, FSDP2 shards weights, gradients, moments and average; activations are those of a sample per GPU,
    and the weights of two blocks are gathered at a time.

    Args:
        preset: of the adapter.
        stage: what is trained, ``"adapter"`` or ``"lora"``.
        gpus: number of GPUs.

    Raises:
        ValueError: the number of GPUs is below 1.
    """
    if gpus < 1:
        raise ValueError(f"gpus: expected at least 1, got {gpus}")
    model = _staged_model(preset, stage)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - trained
    blocks = [*model.blocks, *model.adapter.control_blocks]
    gathered = 2 * 2 * max(sum(p.numel() for p in block.parameters()) for block in blocks)
    copies = 2 * trained if gpus == 1 else gathered
    inputs, block = _activations(preset, stage)
    sharded = [-(-size // gpus) for size in (2 * frozen, 4 * trained, 4 * trained, 8 * trained, 4 * trained)]
    return Memory._make([*sharded, copies, inputs, block])


def full_size_tables() -> str:
    """Compute and memory of both presets and stages as Markdown tables."""
    cases: list[tuple[PresetName, Stage]] = [(p, s) for p in ("release", "paper") for s in ("adapter", "lora")]
    lines = ["| TFLOP per sample | forward | with backward, checkpointing | without |", "|---|---:|---:|---:|"]
    for preset, stage in cases:
        forward, full = training_flops(preset, stage)
        counts = (forward, full, training_flops(preset, stage, checkpointing=False)[1])
        lines.append(f"| `{preset}`, {stage} | " + " | ".join(f"{n / 1e12:.0f}" for n in counts) + " |")
    lines += ["", "| GiB per GPU | GPUs | " + " | ".join(Memory._fields) + " | sum |"]
    lines.append("|---|" + "---:|" * (len(Memory._fields) + 2))
    for preset, stage in cases:
        for gpus in (1, 8):
            parts = training_memory(preset, stage, gpus)
            sizes = " | ".join(f"{size / GIB:.1f}" for size in (*parts, sum(parts)))
            lines.append(f"| `{preset}`, {stage} | {gpus} | {sizes} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(full_size_tables(), end="")
