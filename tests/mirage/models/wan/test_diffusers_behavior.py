# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline takes arguments and callbacks as diffusers' pipelines do."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler, WanPipeline
from diffusers.callbacks import MultiPipelineCallbacks, SDCFGCutoffCallback, SDXLCFGCutoffCallback
from tiny_pipeline import DEPTH, IMAGE, PATH, SIZE, START, make_pipeline, run
from torch import Tensor

from mirage.models.wan.generator import DenoisingInterruptedError
from mirage.models.wan.pipeline import MiragePipeline
from mirage.models.wan.timesteps import unshifted_sigmas
from mirage.rollout.clock import Clock

SHORT: dict[str, Any] = {"num_frames": 17}  # one chunk


@pytest.fixture(scope="module")
def pipe() -> MiragePipeline:
    return make_pipeline()


@pytest.fixture(scope="module")
def embeds(pipe: MiragePipeline) -> Tensor:
    with torch.no_grad():
        positive: Tensor = pipe.encode_prompt("a room", None, False, max_sequence_length=12)[0]
    return positive


def session(pipe: MiragePipeline, prompt: str | None = "a room", **options: Any) -> Any:
    seeded = {"generator": torch.Generator().manual_seed(0), "num_inference_steps": 2, "max_sequence_length": 12}
    return pipe.start_session(IMAGE, prompt, START, **{"depth": DEPTH} | seeded | options)


def test_guidance_with_prompt_embeddings(pipe: MiragePipeline, embeds: Tensor) -> None:
    for more in ({}, {"negative_prompt": "blurry"}):
        expected = run(pipe, guidance_scale=4.0, **SHORT, **more).latents
        made = run(pipe, prompt=None, prompt_embeds=embeds, guidance_scale=4.0, **SHORT, **more).latents
        assert torch.equal(made, expected)
    assert not torch.equal(expected, run(pipe, **SHORT).latents)


def test_a_new_prompt_replaces_the_embeddings(pipe: MiragePipeline, embeds: Tensor) -> None:
    by_text, by_embeds = session(pipe), session(pipe, None, prompt_embeds=embeds)
    for prompt in (None, "a kitchen", "a room"):
        cameras = PATH[by_text.frame + 1 : by_text.frame + 9]
        expected = by_text.step(cameras, prompt=prompt).latents
        # The empty prompt stands for the embeddings.
        assert torch.equal(by_embeds.step(cameras, prompt="" if prompt == "a room" else prompt).latents, expected)


def test_without_a_text_encoder(pipe: MiragePipeline, embeds: Tensor) -> None:
    parts = {name: part for name, part in pipe.components.items() if name != "transformer_2"}
    bare = MiragePipeline(**parts | {"text_encoder": None, "tokenizer": None})
    bare.set_progress_bar_config(disable=True)
    given = {"prompt": None, "prompt_embeds": embeds, **SHORT}
    assert torch.equal(run(bare, **given).latents, run(pipe, **SHORT).latents)
    with pytest.raises(ValueError, match=r"^negative_prompt_embeds: expected embeddings, because the pipeline has no"):
        run(bare, **given, guidance_scale=3.0)
    with pytest.raises(ValueError, match=r"^prompt_embeds: expected embeddings, because the pipeline has no"):
        run(bare)


def test_lists_of_one(pipe: MiragePipeline) -> None:
    seeded = [torch.Generator().manual_seed(0)]
    lists = {"prompt": ["a room"], "image": [IMAGE], "generator": seeded, "num_videos_per_prompt": 1, "depth": [DEPTH]}
    assert torch.equal(run(pipe, **lists, **SHORT).latents, run(pipe, **SHORT).latents)


def test_without_a_generator_results_are_random(pipe: MiragePipeline) -> None:
    made = []
    for seed in (1, 1, None):
        if seed is not None:
            torch.manual_seed(seed)
        made.append(run(pipe, generator=None, **SHORT).latents)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_the_generator_reaches_the_scheduler() -> None:
    pipe = make_pipeline(scheduler=FlowMatchLCMScheduler(shift=5.0))
    torch.manual_seed(1)
    first = run(pipe, **SHORT).latents
    torch.manual_seed(2)
    assert torch.equal(run(pipe, **SHORT).latents, first)
    assert not torch.equal(run(pipe, generator=torch.Generator().manual_seed(1), **SHORT).latents, first)


def test_sigmas_timesteps_and_shift(pipe: MiragePipeline) -> None:
    expected = run(pipe, **SHORT).latents
    sigmas = unshifted_sigmas(2)
    assert torch.equal(run(pipe, num_inference_steps=9, sigmas=sigmas.tolist(), **SHORT).latents, expected)
    assert torch.equal(run(pipe, sigmas=torch.from_numpy(sigmas), **SHORT).latents, expected)
    seen: list[float] = []

    def note(_pipe: MiragePipeline, _step: int, timestep: Tensor, _tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(float(timestep))
        return {}

    assert not torch.equal(run(pipe, sigmas=[0.9, 0.5, 0.1], **SHORT, callback_on_step_end=note).latents, expected)
    assert seen == [978, 833, 357], "shifted by 5"
    euler = make_pipeline(scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0))
    seen.clear()
    run(euler, timesteps=[900.0, 400.0, 50.0], **SHORT, callback_on_step_end=note)
    assert seen == pytest.approx([900, 400, 50])
    shifted = make_pipeline(scheduler=type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=2.0))
    assert torch.equal(run(pipe, flow_shift=2.0, **SHORT).latents, run(shifted, **SHORT).latents)
    assert pipe.scheduler.config.flow_shift == 5.0
    assert torch.equal(run(pipe, **SHORT).latents, expected)
    assert not torch.equal(run(euler, flow_shift=2.0, **SHORT).latents, run(euler, **SHORT).latents)


def interrupt_at(chunk: int) -> Any:
    steps: list[int] = []

    def callback(pipe: MiragePipeline, step: int, *_: Any) -> dict[str, Tensor]:
        steps.append(step)
        pipe._interrupt = steps.count(0) == chunk + 1
        return {}

    return callback


def test_an_interrupt_ends_the_video(pipe: MiragePipeline) -> None:
    """What was not denoised to the end is neither returned nor remembered."""
    short, memory = run(pipe, output_type="pt", **SHORT), pipe.make_memory()
    made = run(pipe, output_type="pt", memory=memory, callback_on_step_end=interrupt_at(1))
    assert pipe.interrupt
    assert torch.equal(made.frames, short.frames)
    assert torch.equal(made.latents, short.latents)
    assert len(made.seconds) == 1
    assert torch.equal(memory.cache.xyz, short.memory.cache.xyz)
    assert memory.history.stamps.tolist() == short.memory.history.stamps.tolist()
    memory = pipe.make_memory()
    made = run(pipe, output_type="np", memory=memory, callback_on_step_end=interrupt_at(0))
    assert made.frames is None
    assert made.latents.shape == (1, 48, 0, 0, 0)
    assert len(memory.history) == 1, "the image"
    assert torch.equal(run(pipe, **SHORT).latents, short.latents), "the next call starts anew"


def test_an_interrupted_step_can_be_done_again(pipe: MiragePipeline) -> None:
    expected, interrupted = session(pipe), session(pipe, callback_on_step_end=interrupt_at(1))
    pipe._interrupt = False
    for cameras in (PATH[1:9], PATH[9:17]):
        first = expected.step(cameras).latents
        if cameras is not PATH[1:9] and interrupted.chunks == 1:
            with pytest.raises(DenoisingInterruptedError, match=r"^pipeline\._interrupt was set"):
                interrupted.step(cameras)
            with pytest.raises(DenoisingInterruptedError):
                interrupted.step(cameras)
            pipe._interrupt = False
        assert torch.equal(interrupted.step(cameras).latents, first)


def test_an_interrupt_between_chunks(pipe: MiragePipeline) -> None:
    chunks = []
    for chunk in pipe.stream(IMAGE, "a room", START, [PATH[1:]], depth=DEPTH, chunk=17, num_inference_steps=1):
        chunks.append(chunk)
        pipe._interrupt = True
    assert len(chunks) == 1


def test_properties_for_callbacks(pipe: MiragePipeline) -> None:
    seen = []

    def note(given: MiragePipeline, step: int, timestep: Tensor, _tensors: dict[str, Tensor]) -> None:
        assert given is pipe
        assert given.current_timestep == timestep
        assert not given.interrupt
        seen.append((step, given.num_timesteps, given.guidance_scale, given.do_classifier_free_guidance))
        assert given.attention_kwargs == {"scale": 1.0}

    options: dict[str, Any] = {"guidance_scale": 2.5, "attention_kwargs": {"scale": 1.0}}
    run(pipe, callback_on_step_end=note, **options)
    assert seen == 2 * [(0, 2, 2.5, True), (1, 2, 2.5, True)]
    assert pipe.current_timestep is None


def test_callbacks_of_diffusers(pipe: MiragePipeline) -> None:
    """The cutoff of guidance ends it in every chunk; callbacks for other models name the tensors that are missing."""
    calls: list[float] = []
    forward = pipe.transformer.register_forward_pre_hook(lambda *_: calls.append(pipe.guidance_scale))
    options: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 3.0}
    for callback in (
        SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=0),
        MultiPipelineCallbacks([SDCFGCutoffCallback(cutoff_step_ratio=0.0)]),
    ):
        calls.clear()
        run(pipe, callback_on_step_end=callback, **options)
        assert calls == 2 * [3.0, 3.0, 0.0, 0.0]
    forward.remove()
    with pytest.raises(ValueError, match=r"callback_on_step_end_tensor_inputs: expected some of .*'add_text_embeds'"):
        run(pipe, callback_on_step_end=SDXLCFGCutoffCallback(), **options)


@pytest.mark.filterwarnings("ignore:.*should be kept in float32.*")
def test_from_another_pipeline(pipe: MiragePipeline) -> None:
    wan = tiny.wan()
    made = MiragePipeline.from_pipe(wan, preset="paper")
    assert made.config.preset == "paper"
    assert made.vae is wan.vae
    assert made.transformer.blocks[0].attn1.to_q.weight is wan.transformer.blocks[0].attn1.to_q.weight
    again = MiragePipeline.from_pipe(pipe)
    again.set_progress_bar_config(disable=True)
    assert again.transformer is pipe.transformer
    assert torch.equal(run(again, **SHORT).latents, run(pipe, **SHORT).latents)
    back = WanPipeline.from_pipe(pipe, transformer=pipe.transformer)
    back.set_progress_bar_config(disable=True)
    size = {"height": 64, "width": 96, "num_frames": 5, "num_inference_steps": 1, "max_sequence_length": 12}
    assert back("a room", **size, output_type="latent").frames.isfinite().all()


def test_a_saved_pipeline_is_found_by_diffusers(pipe: MiragePipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    made = DiffusionPipeline.from_pretrained(tmp_path)
    assert type(made) is MiragePipeline
    made.set_progress_bar_config(disable=True)
    assert torch.equal(run(made, **SHORT).latents, run(pipe, **SHORT).latents)


def test_hooks_are_freed_when_a_stream_ends_early(pipe: MiragePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(pipe, "maybe_free_model_hooks", lambda: freed.append("freed"))
    options: dict[str, Any] = {"depth": DEPTH, "num_inference_steps": 1, "max_sequence_length": 12}
    for _ in pipe.stream(IMAGE, "a room", START, ["w*4", "w*4"], **options):
        break
    assert freed == ["freed"]
    stream = pipe.stream(IMAGE, "a room", START, ["w*4", "fly"], **options)
    next(stream)
    with pytest.raises(ValueError, match="fly"):
        next(stream)
    assert freed == 2 * ["freed"]
    with pytest.raises(ValueError, match="depth"):
        next(pipe.stream(IMAGE, "a room", START, ["w*4"], **options | {"depth": None}))
    assert freed == 3 * ["freed"]


@pytest.mark.parametrize("kind", ["np", "pt", "pil"])
def test_frames_of_earlier_chunks_are_not_kept(
    pipe: MiragePipeline, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks: list[Any] = []
    stream = pipe.stream

    def spy(*args: Any, **options: Any) -> Any:
        for chunk in stream(*args, **options):
            chunks.append(weakref.ref(chunk.frames))
            alive = [ref() is not None for ref in chunks]
            assert alive == [False] * (len(chunks) - 1) + [True]
            yield chunk
            del chunk

    monkeypatch.setattr(pipe, "stream", spy)
    run(pipe, output_type=kind, chunk=9)
    assert len(chunks) == 4


def test_the_clock_waits_for_the_device_only_if_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    for synchronize, expected in ((True, 2), (False, 0)):
        waits.clear()
        clock = Clock(torch.device("cuda"), synchronize=synchronize)
        clock.start("a")
        clock.start("b")
        clock.stop()
        assert len(waits) == expected
        assert set(clock.seconds) == {"a", "b"}


def test_formats_of_depth_and_mask(pipe: MiragePipeline) -> None:
    depth = torch.full(SIZE, 3.0)
    depth[:, 48:] = 5.0
    exclude = torch.zeros(SIZE, dtype=torch.bool)
    exclude[:16] = True

    def first(**given: Any) -> Any:
        return session(pipe, **given).memory.cache

    expected = first(depth=depth, exclude=exclude)
    array, mask = depth.numpy(), exclude.numpy()
    for given in (
        array, array.astype(np.float64), array.astype(np.float16), array.astype(">f4"), array.astype(np.uint16),
        array[None], array[..., None], depth.double(), depth.int(), depth[None, None], PIL.Image.fromarray(array),
        PIL.Image.fromarray(array.astype(np.uint16)), PIL.Image.fromarray(array.astype(np.int32)),
    ):  # fmt: skip
        assert torch.equal(first(depth=given, exclude=exclude).xyz, expected.xyz)
    for given in (mask, mask[None], PIL.Image.fromarray(mask), PIL.Image.fromarray(mask.astype(np.uint8) * 255)):
        assert torch.equal(first(depth=depth, exclude=given).xyz, expected.xyz)


def test_conditions_are_arguments(pipe: MiragePipeline) -> None:
    sizes: list[tuple[int, int]] = []

    def note(_module: Any, _args: Any, given: dict[str, Any]) -> None:
        count = given["num_references"]
        sizes.append((count, given["hidden_states"].shape[2] - count))

    hook = pipe.transformer.register_forward_pre_hook(note, with_kwargs=True)
    options: dict[str, Any] = {"num_inference_steps": 1, "chunk": 9}
    expected = {
        "default": ({}, [(0, 3), (0, 5), (2, 5), (4, 5)]),
        "references": ({"num_references": 1}, [(0, 3), (0, 5), (1, 5), (1, 5)]),
        "no references": ({"num_references": 0}, [(0, 3), (0, 5), (0, 5), (0, 5)]),
        "preceding": ({"num_preceding": 5, "num_references": 0}, [(0, 3), (0, 5), (0, 7), (0, 8)]),
        "none": ({"num_preceding": 0, "num_references": 0}, [(0, 3), (0, 3), (0, 3), (0, 3)]),
        "threshold": ({"reference_threshold": 1.0}, [(0, 3), (0, 5), (0, 5), (0, 5)]),
        "no history": ({"memory": pipe.make_memory(max_frames=0)}, [(0, 3), (0, 5), (0, 5), (0, 5)]),
    }
    for name, (change, sequence) in expected.items():
        sizes.clear()
        made = run(pipe, **options | change)
        assert sizes == sequence, name
        assert made.latents.isfinite().all()
    assert len(made.memory.history) == 0
    assert len(made.memory) > 0
    hook.remove()
