# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import PIL.Image
import pytest
import tiny
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline
from torch import Tensor

from mirage.cameras import out_and_back, pan
from mirage.filters import Filters
from mirage.memory import LatentSpatialMemory
from mirage.models.wan.pipeline import MiragePipeline
from mirage.recordings.hololens import read_rgbd
from mirage.rollout import Chunk
from mirage_kernels import Cameras

SIZE = (64, 96)
START = Cameras(torch.tensor([[90.0, 0, 48], [0, 90, 32], [0, 0, 1]]), torch.eye(4), SIZE)
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
DEPTH = torch.full(SIZE, 3.0)
PATH = pan(START, out_and_back(33), 25)


def tell_adapter(pipe: MiragePipeline) -> MiragePipeline:
    """An adapter that is heard, as after training."""
    torch.manual_seed(3)
    for block in pipe.transformer.adapter.control_blocks:
        torch.nn.init.normal_(block.proj_out.weight, std=0.2)
        if block.proj_in is not None:
            torch.nn.init.normal_(block.proj_in.weight, std=0.2)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make(preset: str = "release", **parts: Any) -> MiragePipeline:
    parts = tiny.wan().components | parts
    del parts["transformer_2"]
    return tell_adapter(MiragePipeline(**parts, preset=preset))


@pytest.fixture(scope="module")
def pipe() -> MiragePipeline:
    return make()


def run(pipe: MiragePipeline, **options: Any) -> Any:
    given = {
        "image": IMAGE,
        "prompt": "a room",
        "cameras": PATH,
        "depth": DEPTH,
        "num_inference_steps": 2,
        "generator": torch.Generator().manual_seed(0),
        "max_sequence_length": 12,
        "output_type": "latent",
        "chunk": 17,
    } | options
    return pipe(**given)


def test_a_walk_through_a_real_room(pipe: MiragePipeline, data: Path, tmp_path: Path) -> None:
    """97 frames in three chunks along the path that a Hololens took; memory grows, and is read back."""
    frames = read_rgbd(data / "hololens_dev")
    path = frames.cameras.interpolate(torch.linspace(0, 24, 97, dtype=torch.float64))
    picture = (frames.images[0] * 255).byte().movedim(0, 2).numpy()
    given: dict[str, Any] = {
        "image": PIL.Image.fromarray(picture),
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
        given["image"], "a kitchen", path[:1], [path[1:]], depth=given["depth"], height=96, width=160,
        memory=memory, num_inference_steps=2, generator=torch.Generator().manual_seed(0), max_sequence_length=12,
    ):  # fmt: skip
        sizes.append(len(memory))
        known.append(chunk.view.mask.float().mean().item())
    assert len(sizes) == 3
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    assert min(known) > 0.3

    first = run(pipe, **given, prompt="a kitchen")
    assert first.frames.shape == (1, 97, 96, 160, 3)
    assert len(first.memory) == sizes[-1]
    assert [set(s) for s in first.seconds] == 3 * [{"read", "retrieve", "generate", "decode", "write"}]
    again = run(pipe, **given, prompt="a kitchen")
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(
        first.frames, run(pipe, **given, prompt="a kitchen", generator=torch.Generator().manual_seed(1)).frames
    )

    pipe.save_pretrained(tmp_path)
    loaded = MiragePipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert np.array_equal(first.frames, run(loaded, **given, prompt="a kitchen").frames)


def test_an_ordinary_checkpoint_gets_an_adapter_that_is_not_heard(tmp_path: Path) -> None:
    tiny.wan().save_pretrained(tmp_path)
    pipe = MiragePipeline.from_pretrained(tmp_path, preset="paper")
    assert pipe.transformer.config.control_channels == 49
    assert pipe.config.preset == "paper"
    pipe.set_progress_bar_config(disable=True)
    loud, silent = run(pipe), run(pipe, control_scale=0.0)
    assert torch.equal(loud.latents, silent.latents)


def test_what_the_memory_shows_is_heard(pipe: MiragePipeline) -> None:
    assert not torch.equal(run(pipe).latents, run(pipe, control_scale=0.0).latents)
    assert not torch.equal(run(make("paper")).latents, run(make("paper"), control_scale=0.0).latents)


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


def test_every_way_to_start(pipe: MiragePipeline) -> None:
    """Arrays, tensors and pictures of the same pixels; embeddings of the same prompt; a path of actions."""
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


def test_options_that_change_nothing(pipe: MiragePipeline) -> None:
    expected = run(pipe).latents
    other = make()
    other.vae.enable_tiling()
    assert torch.equal(run(other).latents, expected), "tiles are larger than the picture"
    other.enable_model_cpu_offload(device="cpu")
    assert torch.equal(run(other).latents, expected)
    layer_by_layer = make()
    layer_by_layer.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    assert torch.equal(run(layer_by_layer).latents, expected)


def test_offloading_layer_by_layer(pipe: MiragePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights wait elsewhere, and every layer has its own only while it runs."""
    offload = accelerate.cpu_offload

    def to_cpu(model: torch.nn.Module, device: torch.device, **options: Any) -> torch.nn.Module:
        assert device == torch.device("cpu:0"), (
            "diffusers numbers every device; a CPU has no number, and accelerate stumbles over it"
        )
        return offload(model, torch.device("cpu"), **options)

    monkeypatch.setattr(accelerate, "cpu_offload", to_cpu)
    other = make()
    other.enable_sequential_cpu_offload(device="cpu")
    assert {p.device.type for model in (other.transformer, other.text_encoder) for p in model.parameters()} == {"meta"}
    assert torch.equal(run(other).latents, run(pipe).latents)


def test_the_transformer_compiles() -> None:
    """Without a graph break, with references and preceding latents and without."""
    expected = run(make(transformer=tiny.transformer(layers=1))).latents
    compiled = make(transformer=tiny.transformer(layers=1))
    compiled.transformer.compile(backend="aot_eager", fullgraph=True)
    assert torch.equal(run(compiled).latents, expected)


def test_tiling_is_the_autoencoders_own(pipe: MiragePipeline) -> None:
    tiled = make()
    tiled.vae.enable_tiling(tile_sample_min_height=32, tile_sample_min_width=32, tile_sample_stride_height=16,
                            tile_sample_stride_width=16)  # fmt: skip
    assert run(tiled).latents.shape == run(pipe).latents.shape
    assert not torch.equal(run(tiled).latents, run(pipe).latents)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offloading(pipe: MiragePipeline, way: str) -> None:
    other = make()
    getattr(other, way)()
    torch.testing.assert_close(run(other).latents.cpu(), run(pipe).latents, rtol=1e-3, atol=1e-3)


def test_half_precision(pipe: MiragePipeline) -> None:
    half = make().to(torch.bfloat16)
    latents = run(half).latents
    assert latents.dtype == torch.float32
    assert (latents - run(pipe).latents).abs().mean() < 0.05


def test_another_scheduler(pipe: MiragePipeline) -> None:
    other = make()
    other.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    latents = run(other).latents
    assert latents.isfinite().all()
    assert not torch.equal(latents, run(pipe).latents)


def test_callbacks(pipe: MiragePipeline) -> None:
    calls = []

    def note(_pipe: MiragePipeline, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        calls.append((step, timestep.item(), set(tensors)))
        return {}

    asked = ["latents", "prompt_embeds"]
    run(pipe, callback_on_step_end=note, callback_on_step_end_tensor_inputs=asked)
    assert [step for step, _, _ in calls] == [0, 1, 0, 1]
    assert calls[0][1] > calls[1][1]
    assert calls[0][2] == set(asked)

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
    """The paper's way: what a chunk begins with, and past frames, are single frames encoded anew."""
    expected = run(pipe, output_type="pt")
    frame = run(pipe, output_type="pt", boundary="frame")
    assert torch.equal(frame.latents[:, :, :5], expected.latents[:, :, :5])
    assert not torch.equal(frame.latents[:, :, 5:], expected.latents[:, :, 5:])
    memory = run(pipe, output_type="pt", references="frame").memory
    video = expected.frames.movedim(1, 2)
    anew = pipe.codec.encode(video[0].movedim(1, 0)[4:5, :, None])[0, :, 0]
    torch.testing.assert_close(memory.history.latents[:, 1], anew, rtol=0, atol=1e-5)
    assert torch.equal(expected.memory.history.latents[:, 1], expected.latents[0, :, 1])


def test_filters_and_masks(pipe: MiragePipeline) -> None:
    exclude = torch.zeros(SIZE, dtype=torch.bool)
    exclude[:16] = True
    first = next(pipe.stream(IMAGE, "a room", START, [PATH[1:5]], depth=DEPTH, exclude=exclude, filters=Filters(),
                             num_inference_steps=1, max_sequence_length=12))  # fmt: skip
    assert first.write_back[0].added == 18, "all but the uppermost of four rows of six"
    assert first.write_back[0].verdict is not None
    assert first.write_back[0].verdict.shares["excluded"] == 0.25
    smaller = pipe.start_session(IMAGE, "a room", START, depth=DEPTH, exclude=exclude, height=32, width=64)
    assert len(smaller.memory) == 4, "the upper of two rows of four is out"


def test_memory_goes_on(pipe: MiragePipeline) -> None:
    """A second walk in the memory of the first needs no depth, and knows what that one saw."""
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


def steer(pipe: MiragePipeline, moves: list[Cameras | str]) -> list[Chunk]:
    return list(
        pipe.stream(
            IMAGE, "a room", START, moves, depth=DEPTH, chunk=17, num_inference_steps=2, max_sequence_length=12,
            generator=torch.Generator().manual_seed(0),
        )
    )  # fmt: skip


def test_streaming_gives_the_same_frames(pipe: MiragePipeline) -> None:
    whole = run(pipe, output_type="pt").frames[0].movedim(0, 1)
    chunks = steer(pipe, [PATH[1:17], PATH[17:]])
    assert torch.equal(torch.cat([chunk.frames for chunk in chunks], 1), whole)
    assert torch.equal(torch.cat([chunk.frames for chunk in steer(pipe, [PATH[1:]])], 1), whole)
    assert torch.equal(Cameras.cat([chunk.cameras for chunk in chunks]).cam2world, PATH.cam2world)


def test_a_changed_action_changes_only_what_comes_after(pipe: MiragePipeline) -> None:
    left, right = steer(pipe, ["w*16", "j*16"]), steer(pipe, ["w*16", "l*16"])
    assert torch.equal(left[0].frames, right[0].frames)
    assert not torch.equal(left[1].frames, right[1].frames)


def test_the_next_move_is_asked_for_only_then(pipe: MiragePipeline) -> None:
    seen: list[int] = []

    def player() -> Iterator[str]:
        assert seen == []
        yield "w*16"
        assert seen == [0]
        yield "s*4"
        assert seen == [0, 17]

    for chunk in pipe.stream(IMAGE, "a room", START, player(), depth=DEPTH, num_inference_steps=1,
                             max_sequence_length=12):  # fmt: skip
        seen.append(chunk.start)
    assert seen == [0, 17]


def test_the_prompt_may_change_on_the_way(pipe: MiragePipeline) -> None:
    walks = []
    for words in ("a room", "a kitchen"):
        walk = pipe.start_session(IMAGE, "a room", START, depth=DEPTH, num_inference_steps=2, max_sequence_length=12)
        walks.append([walk.step(PATH[1:17]), walk.step(PATH[17:33], prompt=words)])
    assert torch.equal(walks[0][0].frames, walks[1][0].frames)
    assert not torch.equal(walks[0][1].frames, walks[1][1].frames)


BAD = [
    ({"image": IMAGE[:, :-1]}, r"cameras: expected the image's size \(H=63, W=96\), got \(64, 96\)"),
    ({"image": "room.png"}, "image: expected a PIL picture, an array or a tensor, got str"),
    ({"image": torch.zeros(2, 3, *SIZE)}, r"image: expected one, .* got \(2, 3, 64, 96\)"),
    ({"image": torch.zeros(1, *SIZE)}, r"image: expected one, .* got \(1, 64, 96\)"),
    ({"image": IMAGE * 255}, "image: expected values from 0 to 1, got"),
    ({"height": 60}, "height, width: expected multiples of 32, got 60 and 96"),
    ({"depth": None}, r"depth: expected \(H=64, W=96\) or an estimator with an empty memory, got None"),
    ({"depth": DEPTH[1:]}, r"depth: expected the image's size \(H=64, W=96\), got \(63, 96\)"),
    ({"exclude": torch.zeros(3, 3) > 0}, r"exclude: expected the image's size \(H=64, W=96\), got \(3, 3\)"),
    ({"filters": Filters()}, "decode: expected True with an estimator or filters, got False"),
    ({"cameras": None}, "cameras: expected those of every frame, or the image's with a trajectory, got none"),
    ({"cameras": PATH[:32]}, r"frames: expected 4 N \+ 1, got 32"),
    ({"cameras": PATH, "trajectory": "w*4"}, "cameras: expected the image's alone with a trajectory, got 33"),
    ({"cameras": START, "trajectory": "w*4 fly"}, "fly"),
    ({"cameras": START, "trajectory": "w*5"}, r"frames: expected 4 N \+ 1, got 6"),
    ({"num_frames": 37}, "num_frames: expected at most 33, as there are cameras for, got 37"),
    ({"num_frames": 32}, r"frames: expected 4 N \+ 1, got 32"),
    ({"chunk": 4}, r"chunk: expected 4 N \+ 1, got 4"),
    ({"prompt": None}, "prompt: expected it or prompt_embeds, got neither"),
    ({"prompt": ["a", "b"]}, "prompt: expected one text, got list"),
    ({"prompt_embeds": torch.zeros(1, 4, 24)}, "prompt: expected it or prompt_embeds, got both"),
    ({"prompt": None, "prompt_embeds": torch.zeros(1, 4, 23)}, r"prompt_embeds: expected \(1, words, text dim=24\)"),
    ({"negative_prompt": "x", "negative_prompt_embeds": torch.zeros(1, 4, 24)}, "negative_prompt: expected none"),
    ({"num_inference_steps": 0}, "num_inference_steps: expected at least 1, got 0"),
    ({"generator": 3}, "generator: expected one torch.Generator, got int"),
    ({"callback_on_step_end_tensor_inputs": ["noise"]}, "callback_on_step_end_tensor_inputs: expected some of latents"),
    ({"output_type": "jpg"}, "output_type: expected 'np', 'pt', 'pil' or 'latent', got 'jpg'"),
    ({"boundary": "picture"}, "boundary: expected 'latent' or 'frame', got 'picture'"),
    ({"references": "frame"}, "decode: expected True with references='frame', got False"),
    ({"memory": LatentSpatialMemory(16)}, r"memory: expected 48 channels of .wan-48-16., got 16"),
    ({"memory": LatentSpatialMemory(48, codec="dct-16")}, "memory: expected latents of 'wan-48-16', got .* 'dct-16'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_told_before_any_model_runs(
    pipe: MiragePipeline, change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        pytest.fail("a model ran")

    for model, name in ((pipe.vae, "encode"), (pipe.transformer, "forward"), (pipe.text_encoder, "forward")):
        monkeypatch.setattr(model, name, never)
    with pytest.raises((ValueError, TypeError), match=message) as error:
        run(pipe, **change)
    assert "\n" not in str(error.value)


def test_a_pipeline_of_another_kind_is_refused() -> None:
    parts = tiny.wan().components
    with pytest.raises(ValueError, match="transformer: expected Wan2"):
        MiragePipeline(**parts | {"transformer_2": tiny.transformer()})
    del parts["transformer_2"]
    with pytest.raises(ValueError, match="preset: expected one of"):
        MiragePipeline(**parts, preset="best")
    assert issubclass(MiragePipeline, WanPipeline)
