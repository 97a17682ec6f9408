# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Step caches of diffusers: the adapter's hints are cached with the blocks that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tiny
import torch
from diffusers import FasterCacheConfig, FirstBlockCacheConfig, PyramidAttentionBroadcastConfig
from diffusers.hooks import LayerSkipConfig, MagCacheConfig, TaylorSeerCacheConfig, apply_layer_skip
from tiny_pipeline import make_pipeline, run
from torch import Tensor

from mirage.models.wan.pipeline import MiragePipeline

BLOCKS, ADAPTER_BLOCKS = 4, 2  # of the tiny transformer


@pytest.fixture(scope="module")
def pipe() -> MiragePipeline:
    return make_pipeline()


@pytest.fixture(scope="module")
def plain(pipe: MiragePipeline) -> Tensor:
    return guided(pipe)


@pytest.fixture
def enable(pipe: MiragePipeline) -> Iterator[Callable[[Any], None]]:
    yield pipe.transformer.enable_cache
    pipe.transformer.disable_cache()


def guided(pipe: MiragePipeline, **options: Any) -> Tensor:
    latents: Tensor = run(
        pipe, **{"num_inference_steps": 4, "guidance_scale": 3.0, "num_frames": 9, "chunk": 5} | options
    ).latents
    return latents


@pytest.fixture
def calls(pipe: MiragePipeline) -> Iterator[dict[str, int]]:
    """How often blocks ran."""
    count = {"backbone": 0, "adapter": 0}

    def note(name: str) -> Callable[..., None]:
        return lambda *_: count.update({name: count[name] + 1})

    parts = {"backbone": pipe.transformer.blocks, "adapter": pipe.transformer.adapter.control_blocks}
    hooks = [block.ffn.register_forward_hook(note(name)) for name, blocks in parts.items() for block in blocks]
    yield count
    for hook in hooks:
        hook.remove()


def inputs() -> dict[str, Any]:
    g = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(1, 48, 4, 4, 6, generator=g),
        "timestep": torch.full((1, 4), 500.0),
        "encoder_hidden_states": torch.randn(1, 5, tiny.TEXT_DIM, generator=g),
        "control_hidden_states": torch.randn(1, 96, 3, 4, 6, generator=g),
        "num_references": 1,
        "return_dict": False,
    }


@pytest.mark.parametrize("config", [
    FirstBlockCacheConfig(threshold=0.1), MagCacheConfig(mag_ratios=[1.0, 1.0], num_inference_steps=2, threshold=0.1),
])  # fmt: skip
def test_equal_inputs_give_equal_outputs(
    pipe: MiragePipeline, calls: dict[str, int], enable: Callable[[Any], None], config: Any
) -> None:
    """The second call takes the cached result of all blocks; the hints are in it exactly once."""
    model, given = pipe.transformer, inputs()
    with torch.no_grad():
        expected = model(**given)[0]
        assert calls == {"backbone": BLOCKS, "adapter": ADAPTER_BLOCKS}
        assert not torch.equal(expected, model(**given | {"control_scale": 0.0})[0]), "the hints have an effect"
        enable(config)
        results, counts = [], []
        for _ in range(2):
            calls.update(backbone=0, adapter=0)
            with model.cache_context("cond"):
                results.append(model(**given)[0])
            counts.append(dict(calls))
    for result in results:
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert counts[0] == {"backbone": BLOCKS, "adapter": ADAPTER_BLOCKS}
    first = int(isinstance(config, FirstBlockCacheConfig))  # MagCache skips the first block as well
    assert counts[1] == {"backbone": first, "adapter": first}


@pytest.mark.parametrize("config", [
    FirstBlockCacheConfig(threshold=0.0),
    MagCacheConfig(mag_ratios=[1.0] * 4, num_inference_steps=4, retention_ratio=1.0),
])  # fmt: skip
def test_a_cache_that_skips_nothing_changes_nothing(
    pipe: MiragePipeline, plain: Tensor, enable: Callable[[Any], None], config: Any
) -> None:
    enable(config)
    assert torch.equal(guided(pipe), plain)


CACHES = [
    FirstBlockCacheConfig(threshold=0.2),
    MagCacheConfig(mag_ratios=[1.0] * 4, num_inference_steps=4, retention_ratio=0.3),
    TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=1, use_lite_mode=True),
]


@pytest.mark.parametrize("config", CACHES)
def test_every_chunk_starts_with_an_empty_cache(
    pipe: MiragePipeline, plain: Tensor, calls: dict[str, int], enable: Callable[[Any], None], config: Any
) -> None:
    """The second chunk has another sequence, and the second run sees nothing of the first."""
    guided(pipe)
    full = dict(calls)
    enable(config)
    calls.update(backbone=0, adapter=0)
    first = guided(pipe)
    assert calls["backbone"] < full["backbone"]
    assert calls["adapter"] < full["adapter"]
    assert torch.equal(guided(pipe), first)
    assert not torch.equal(first, plain)
    assert first.isfinite().all()


@pytest.mark.long
def test_caches_and_compiled_blocks() -> None:
    """Blocks that were compiled with a cache do not run for those without, which share their code."""

    def make() -> MiragePipeline:
        return make_pipeline(transformer=tiny.transformer(layers=2))

    cached, compiled, both = make(), make(), make()
    config = FirstBlockCacheConfig(threshold=0.2)
    expected = guided(cached)
    for pipe in (cached, both):
        pipe.transformer.enable_cache(config)
    both.transformer.compile_repeated_blocks(backend="aot_eager")
    assert torch.equal(guided(both), guided(cached))
    compiled.transformer.compile_repeated_blocks(backend="aot_eager", fullgraph=True)
    assert torch.equal(guided(compiled), expected)
    both.transformer.disable_cache()
    assert torch.equal(guided(both), expected)


def test_a_skipped_layer_adds_no_hint() -> None:
    pipe, other = make_pipeline(), make_pipeline()
    apply_layer_skip(pipe.transformer, LayerSkipConfig(indices=[2]))
    other.transformer.blocks[2].forward = lambda hidden_states, *_: hidden_states
    with torch.no_grad():
        assert torch.equal(pipe.transformer(**inputs())[0], other.transformer(**inputs())[0])


def attention_cache(pipe: MiragePipeline, **ranges: Any) -> PyramidAttentionBroadcastConfig:
    return PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: pipe.current_timestep, **ranges
    )


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")  # in diffusers' FasterCache
def test_caches_of_attention_see_both_prompts(
    pipe: MiragePipeline, plain: Tensor, enable: Callable[[Any], None]
) -> None:
    """Positive and negative prompt run as one batch, so that one does not get the attention of the other."""
    enable(attention_cache(pipe, spatial_attention_timestep_skip_range=(-2, -1)))
    torch.testing.assert_close(guided(pipe), plain, rtol=0, atol=1e-5)
    pipe.transformer.disable_cache()
    enable(attention_cache(pipe, spatial_attention_timestep_skip_range=(-1, 1001)))
    made = guided(pipe)
    assert 1e-4 < (made - plain).abs().max() < 0.5
    assert torch.equal(guided(pipe), made)
    with pytest.raises(
        ValueError, match=r"negative_prompt_embeds: expected \(1, 12, 24\), as prompt_embeds have, with"
    ):
        guided(pipe, negative_prompt_embeds=torch.zeros(1, 5, 24))


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
def test_faster_cache(pipe: MiragePipeline, plain: Tensor, enable: Callable[[Any], None]) -> None:
    settings: dict[str, Any] = {"current_timestep_callback": lambda: pipe.current_timestep}
    settings |= {"attention_weight_callback": lambda _: 0.5}
    enable(FasterCacheConfig(unconditional_batch_timestep_skip_range=(-2, -1), **settings))
    torch.testing.assert_close(guided(pipe), plain, rtol=0, atol=1e-5)
    pipe.transformer.disable_cache()
    enable(FasterCacheConfig(unconditional_batch_timestep_skip_range=(-1, 1001), **settings))
    made = guided(pipe)
    assert 1e-4 < (made - plain).abs().max() < 0.5
    with pytest.raises(ValueError, match=r"FasterCache: expected guidance_scale above 1 or is_guidance_distilled=True"):
        guided(pipe, guidance_scale=1.0)
