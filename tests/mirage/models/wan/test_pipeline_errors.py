# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Wrong arguments of the pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest
import tiny
import torch
from diffusers import WanPipeline
from tiny_pipeline import DEPTH, IMAGE, PATH, SIZE, START, make_pipeline, run

from mirage.filters import Filters
from mirage.memory import LatentSpatialMemory
from mirage.models.wan.pipeline import MiragePipeline


@pytest.fixture(scope="module")
def pipe() -> MiragePipeline:
    return make_pipeline()


BAD = [
    ({"image": IMAGE[:, :-1]}, r"cameras: expected the image's size \(H=63, W=96\), got \(64, 96\)"),
    ({"image": "room.png"}, "image: expected a PIL image, an array or a tensor, got str"),
    ({"image": torch.zeros(2, 3, *SIZE)}, r"image: expected an array \(H, W, 3\) or .* got \(2, 3, 64, 96\)"),
    ({"image": torch.zeros(1, *SIZE)}, r"image: expected an array \(H, W, 3\) or .* got \(1, 64, 96\)"),
    ({"image": IMAGE * 255}, "image: expected values from 0 to 1, got"),
    ({"height": 60}, "height, width: expected multiples of 32, got 60 and 96"),
    ({"depth": None}, r"depth: expected \(H=64, W=96\) or an estimator with an empty memory, got None"),
    ({"depth": DEPTH[1:]}, r"depth: expected the image's size \(H=64, W=96\), got \(63, 96\)"),
    ({"exclude": torch.zeros(3, 3) > 0}, r"exclude: expected the image's size \(H=64, W=96\), got \(3, 3\)"),
    ({"filters": Filters()}, "decode: expected True with an estimator or filters, got False"),
    ({"cameras": None}, "cameras: expected one per frame, or the image's camera with a trajectory, got None"),
    ({"cameras": PATH[:32]}, r"frames: expected 4 N \+ 1, got 32"),
    ({"cameras": PATH, "trajectory": "w*4"}, "cameras: expected only the image's camera with a trajectory, got 33"),
    ({"cameras": START, "trajectory": "w*4 fly"}, "fly"),
    ({"cameras": START, "trajectory": "w*5"}, r"frames: expected 4 N \+ 1, got 6"),
    ({"num_frames": 37}, r"num_frames: expected at most 33 \(the number of cameras\), got 37"),
    ({"num_frames": 32}, r"frames: expected 4 N \+ 1, got 32"),
    ({"chunk": 4}, r"chunk: expected 4 N \+ 1, got 4"),
    ({"prompt": None}, "prompt: expected either prompt or prompt_embeds, got neither"),
    ({"prompt": ["a", "b"]}, "prompt: expected one, because a call generates one video, got a list of 2"),
    ({"prompt": 3}, "prompt: expected one str, got int"),
    ({"negative_prompt": []}, "negative_prompt: expected one, .* got a list of 0"),
    ({"image": [IMAGE, IMAGE]}, "image: expected one, .* got a list of 2"),
    ({"generator": 2 * [torch.Generator()]}, "generator: expected one, .* got a list of 2"),
    ({"num_videos_per_prompt": 2}, "num_videos_per_prompt: expected 1, because a call generates one video, got 2"),
    ({"prompt": None, "prompt_embeds": torch.zeros(2, 4, 24)}, r"prompt_embeds: expected \(1, tokens, .* got \(2, 4"),
    ({"guidance_scale": float("nan")}, "guidance_scale: expected a finite number, got nan"),
    ({"timesteps": [900.0], "sigmas": [0.9]}, "timesteps, sigmas: expected at most one of them, got both"),
    ({"timesteps": [900.0, 500.0]}, "timesteps: expected None with UniPCMultistepScheduler, which does not take them"),
    ({"sigmas": [0.5, 0.9]}, r"sigmas: expected at least one finite number, descending toward 0, got \[0.5, 0.9\]"),
    ({"sigmas": []}, "sigmas: expected at least one finite number"),
    ({"flow_shift": 0.0}, "flow_shift: expected a finite number above 0, got 0.0"),
    ({"num_references": -1}, "num_references: expected at least 0, got -1"),
    ({"num_preceding": -1}, "num_preceding: expected at least 0, got -1"),
    ({"reference_threshold": float("nan")}, "reference_threshold: expected 0 to 1, got nan"),
    ({"depth": "depth.png"}, "depth: expected a tensor, an array or a PIL image, got str"),
    ({"depth": DEPTH > 1}, "depth: expected numbers, got torch.bool"),
    ({"depth": PIL.Image.new("RGB", (96, 64))}, "depth: expected a PIL image of mode F or I or I;16, got mode RGB"),
    ({"depth": [DEPTH, DEPTH]}, "depth: expected one, .* got a list of 2"),
    ({"exclude": np.zeros(SIZE, np.uint8)}, "exclude: expected bool, got uint8"),
    ({"prompt_embeds": torch.zeros(1, 4, 24)}, "prompt: expected either prompt or prompt_embeds, got both"),
    ({"prompt": None, "prompt_embeds": torch.zeros(1, 4, 23)}, r"prompt_embeds: expected \(1, tokens, text dim=24\)"),
    ({"negative_prompt": "x", "negative_prompt_embeds": torch.zeros(1, 4, 24)}, "negative_prompt: expected None with"),
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
def test_errors_are_raised_before_any_model_runs(
    pipe: MiragePipeline, change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        pytest.fail("a model ran")

    for model, name in ((pipe.vae, "encode"), (pipe.transformer, "forward"), (pipe.text_encoder, "forward")):
        monkeypatch.setattr(model, name, never)
    with pytest.raises((ValueError, TypeError), match=message) as error:
        run(pipe, **change)
    assert "\n" not in str(error.value)


def test_other_pipelines_are_rejected() -> None:
    parts = tiny.wan().components
    with pytest.raises(ValueError, match="transformer: expected Wan2"):
        MiragePipeline(**parts | {"transformer_2": tiny.transformer()})
    del parts["transformer_2"]
    with pytest.raises(ValueError, match="preset: expected one of"):
        MiragePipeline(**parts, preset="best")
    assert issubclass(MiragePipeline, WanPipeline)
