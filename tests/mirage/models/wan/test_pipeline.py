# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import PIL.Image
import pytest
import tiny
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tiny_pipeline import DEPTH, IMAGE, PATH, SIZE, START, make_pipeline, run
from torch import Tensor

from mirage.filters import Filters
from mirage.memory import LatentSpatialMemory
from mirage.models.wan.pipeline import MiragePipeline
from mirage.recordings.hololens import read_rgbd


@pytest.fixture(scope="module")
def pipe() -> MiragePipeline:
    return make_pipeline()


def test_a_path_through_a_real_room(pipe: MiragePipeline, data: Path, tmp_path: Path) -> None:
    """97 frames in three chunks along the path of a Hololens; the memory grows and is read again."""
    frames = read_rgbd(data / "hololens_dev")
    path = frames.cameras.interpolate(torch.linspace(0, 24, 97, dtype=torch.float64))
    image = (frames.images[0] * 255).byte().movedim(0, 2).numpy()
    arguments: dict[str, Any] = {
        "image": PIL.Image.fromarray(image),
        "cameras": path,
        "depth": frames.depth[0],
        "height": 96,
        "width": 160,
        "chunk": 33,
        "output_type": "np",
    }
    memory = pipe.make_memory()
    sizes, known = [], []
    for chunk in pipe.stream(
        arguments["image"], "a kitchen", path[:1], [path[1:]], depth=arguments["depth"], height=96, width=160,
        memory=memory, num_inference_steps=2, generator=torch.Generator().manual_seed(0), max_sequence_length=12,
    ):  # fmt: skip
        sizes.append(len(memory))
        known.append(chunk.view.mask.float().mean().item())
    assert len(sizes) == 3
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    assert min(known) > 0.3

    first = run(pipe, **arguments, prompt="a kitchen")
    assert first.frames.shape == (1, 97, 96, 160, 3)
    assert len(first.memory) == sizes[-1]
    assert [set(s) for s in first.seconds] == 3 * [{"read", "retrieve", "generate", "decode", "write"}]
    again = run(pipe, **arguments, prompt="a kitchen")
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(
        first.frames, run(pipe, **arguments, prompt="a kitchen", generator=torch.Generator().manual_seed(1)).frames
    )

    pipe.save_pretrained(tmp_path)
    loaded = MiragePipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert np.array_equal(first.frames, run(loaded, **arguments, prompt="a kitchen").frames)


def test_a_wan_checkpoint_gets_an_adapter_without_effect(tmp_path: Path) -> None:
    tiny.wan().save_pretrained(tmp_path)
    pipe = MiragePipeline.from_pretrained(tmp_path, preset="paper")
    assert pipe.transformer.config.control_channels == 49
    assert pipe.config.preset == "paper"
    pipe.set_progress_bar_config(disable=True)
    assert pipe.adapter_is_untrained
    assert torch.equal(run(pipe).latents, run(pipe, control_scale=0.0).latents)


def test_the_memory_has_an_effect(pipe: MiragePipeline) -> None:
    assert not pipe.adapter_is_untrained
    assert not torch.equal(run(pipe).latents, run(pipe, control_scale=0.0).latents)
    assert not torch.equal(run(make_pipeline("paper")).latents, run(make_pipeline("paper"), control_scale=0.0).latents)


@pytest.mark.parametrize("kind", ["np", "pt", "pil"])
def test_output_types(pipe: MiragePipeline, kind: str) -> None:
    output = run(pipe, output_type=kind)
    video = output.frames
    if kind == "pil":
        assert len(video) == 1
        assert len(video[0]) == 33
        assert video[0][0].size == (96, 64)
        video = np.stack([np.asarray(frame) for frame in video[0]])[None] / 255
    expected = pipe.codec.decode(output.latents[:, :, :5])  # the first chunk
    video = torch.as_tensor(video)
    video = video if kind == "pt" else video.movedim(-1, 2)
    assert video.shape == (1, 33, 3, *SIZE)
    torch.testing.assert_close(video[:, :17].movedim(1, 2).float(), expected, rtol=0, atol=0.003)


def test_a_tuple_holds_the_fields(pipe: MiragePipeline) -> None:
    frames, latents, memory, seconds = run(pipe, output_type="pt", return_dict=False)
    assert torch.equal(latents, run(pipe).latents)
    assert frames.shape[1] == 33
    assert isinstance(memory, LatentSpatialMemory)
    assert len(seconds) == 2
    assert run(pipe).frames is None


def test_equivalent_arguments(pipe: MiragePipeline) -> None:
    """Arrays and tensors of the same pixels; embeddings of the same prompt; a path of actions."""
    expected = run(pipe).latents
    with torch.no_grad():
        embeds, negative = pipe.encode_prompt("a room", "blurry", True, max_sequence_length=12)
    pixels = IMAGE.movedim(0, 2).numpy()
    for change in (
        {"image": pixels},
        {"image": pixels[None]},
        {"image": IMAGE[None]},
        {"prompt": None, "prompt_embeds": embeds},
        {"num_frames": 33},
        {"cameras": PATH.rescale(SIZE), "memory": pipe.make_memory()},
    ):
        assert torch.equal(run(pipe, **change).latents, expected), list(change)
    guided = run(pipe, negative_prompt="blurry", guidance_scale=4.0).latents
    assert not torch.equal(guided, expected)
    embedded = {"prompt": None, "prompt_embeds": embeds, "negative_prompt_embeds": negative, "guidance_scale": 4.0}
    assert torch.equal(run(pipe, **embedded).latents, guided)
    assert torch.equal(run(pipe, num_frames=17).latents, expected[:, :, :5])
    by_keys = run(pipe, cameras=START, trajectory="w*16 l*16").latents
    assert by_keys.shape == expected.shape
    assert torch.equal(by_keys[:, :, :1], expected[:, :, :1])


def test_options_that_do_not_change_latents(pipe: MiragePipeline) -> None:
    expected = run(pipe).latents
    other = make_pipeline()
    other.vae.enable_tiling()
    assert torch.equal(run(other).latents, expected), "tiles are larger than the image"
    other.enable_model_cpu_offload(device="cpu")
    assert torch.equal(run(other).latents, expected)
    layer_by_layer = make_pipeline()
    layer_by_layer.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    assert torch.equal(run(layer_by_layer).latents, expected)


def test_offloading_layer_by_layer(pipe: MiragePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are on the CPU, and a layer has its weights on the device only while it runs."""
    offload = accelerate.cpu_offload

    def to_cpu(model: torch.nn.Module, device: torch.device, **options: Any) -> torch.nn.Module:
        assert device == torch.device("cpu:0"), (
            "diffusers adds an index to every device, and accelerate does not accept one for a CPU"
        )
        return offload(model, torch.device("cpu"), **options)

    monkeypatch.setattr(accelerate, "cpu_offload", to_cpu)
    other = make_pipeline()
    other.enable_sequential_cpu_offload(device="cpu")
    assert {p.device.type for model in (other.transformer, other.text_encoder) for p in model.parameters()} == {"meta"}
    assert torch.equal(run(other).latents, run(pipe).latents)


def test_the_transformer_compiles() -> None:
    """Without a graph break; with and without references and preceding latents."""
    expected = run(make_pipeline(transformer=tiny.transformer(layers=1))).latents
    compiled = make_pipeline(transformer=tiny.transformer(layers=1))
    compiled.transformer.compile(backend="aot_eager", fullgraph=True)
    assert torch.equal(run(compiled).latents, expected)


def test_tiling_is_the_autoencoders_own(pipe: MiragePipeline) -> None:
    tiled = make_pipeline()
    tiled.vae.enable_tiling(tile_sample_min_height=32, tile_sample_min_width=32, tile_sample_stride_height=16,
                            tile_sample_stride_width=16)  # fmt: skip
    assert run(tiled).latents.shape == run(pipe).latents.shape
    assert not torch.equal(run(tiled).latents, run(pipe).latents)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offloading(pipe: MiragePipeline, way: str) -> None:
    other = make_pipeline()
    getattr(other, way)()
    torch.testing.assert_close(run(other).latents.cpu(), run(pipe).latents, rtol=1e-3, atol=1e-3)


def test_half_precision(pipe: MiragePipeline) -> None:
    half = make_pipeline().to(torch.bfloat16)
    latents = run(half).latents
    assert latents.dtype == torch.float32
    assert (latents - run(pipe).latents).abs().mean() < 0.05


def test_another_scheduler(pipe: MiragePipeline) -> None:
    other = make_pipeline()
    other.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    latents = run(other).latents
    assert latents.isfinite().all()
    assert not torch.equal(latents, run(pipe).latents)


def test_callbacks(pipe: MiragePipeline) -> None:
    calls = []

    def note(_pipe: MiragePipeline, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        calls.append((step, timestep.item(), set(tensors)))
        return {}

    names = ["latents", "prompt_embeds"]
    run(pipe, callback_on_step_end=note, callback_on_step_end_tensor_inputs=names)
    assert [step for step, _, _ in calls] == [0, 1, 0, 1]
    assert calls[0][1] > calls[1][1]
    assert calls[0][2] == set(names)

    def clear(_pipe: MiragePipeline, *_: Any) -> dict[str, Tensor]:
        return {"latents": torch.zeros(1, 48, 5, 4, 6)}

    assert (run(pipe, callback_on_step_end=clear).latents[:, :, 1:5] == 0).all()

    def stop(stopped: MiragePipeline, step: int, *_: Any) -> dict[str, Tensor]:
        calls.append(step)
        stopped._interrupt = True
        return {}

    calls.clear()
    run(pipe, callback_on_step_end=stop, num_inference_steps=5, num_frames=17)
    assert calls == [0]


def test_boundary_and_references_from_frames(pipe: MiragePipeline) -> None:
    """As in the paper: a chunk starts from, and retrieves, single frames that are encoded again."""
    expected = run(pipe, output_type="pt")
    frame = run(pipe, output_type="pt", boundary="frame")
    assert torch.equal(frame.latents[:, :, :5], expected.latents[:, :, :5])
    assert not torch.equal(frame.latents[:, :, 5:], expected.latents[:, :, 5:])
    memory = run(pipe, output_type="pt", references="frame").memory
    video = expected.frames.movedim(1, 2)
    encoded = pipe.codec.encode(video[0].movedim(1, 0)[4:5, :, None])[0, :, 0]
    for stored, latent in ((memory, encoded), (expected.memory, expected.latents[0, :, 1])):
        half_a_step = latent.abs().amax((1, 2), keepdim=True) / 254
        assert ((stored.history.latents[:, 1] - latent).abs() <= half_a_step + 1e-5).all()


def test_filters_and_masks(pipe: MiragePipeline) -> None:
    exclude = torch.zeros(SIZE, dtype=torch.bool)
    exclude[:16] = True
    first = next(pipe.stream(IMAGE, "a room", START, [PATH[1:5]], depth=DEPTH, exclude=exclude, filters=Filters(),
                             num_inference_steps=1, max_sequence_length=12))  # fmt: skip
    assert first.write_back[0].added == 18, "all but the first of four rows of six"
    assert first.write_back[0].filter_result is not None
    assert first.write_back[0].filter_result.fractions["excluded"] == 0.25
    smaller = pipe.start_session(IMAGE, "a room", START, depth=DEPTH, exclude=exclude, height=32, width=64)
    assert len(smaller.memory) == 4, "the first of two rows of four is excluded"


def test_a_memory_is_reused(pipe: MiragePipeline) -> None:
    """A second video with the memory of the first needs no depth and writes nothing new."""
    memory = pipe.make_memory(dtype=torch.bfloat16)
    run(pipe, memory=memory)
    points, stamps = len(memory), memory.history.stamps.tolist()
    second = next(pipe.stream(IMAGE, "a room", START, [PATH[1:17]], memory=memory, num_inference_steps=1,
                              max_sequence_length=12))  # fmt: skip
    assert second.view.mask.all()
    assert second.written == [0, 0, 0, 0, 0]
    assert len(memory) == points
    assert memory.history.stamps.tolist()[: len(stamps)] == stamps
    assert memory.history.stamps[len(stamps)] > max(stamps)
