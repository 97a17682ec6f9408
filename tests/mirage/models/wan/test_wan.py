# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Wan's codec and generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import Tensor

from mirage.models.wan.codec import WanCodec
from mirage.models.wan.conditioning import Conditioning
from mirage.models.wan.generator import WanChunkModel
from mirage.models.wan.transformer import MirageTransformer3DModel

T, R, P, GRID = 3, 2, 1, (4, 6)
RNG = torch.Generator()


def latents(count: int, seed: int) -> Tensor:
    return torch.randn(48, count, *GRID, generator=torch.Generator().manual_seed(seed))


def chunk_inputs() -> dict[str, Any]:
    return {
        "view": latents(T, 1),
        "mask": torch.rand(T, *GRID, generator=torch.Generator().manual_seed(2)) < 0.5,
        "first": latents(1, 3)[:, 0],
        "preceding": latents(P, 4),
        "preceding_view": latents(P, 5),
        "preceding_mask": torch.ones(P, *GRID, dtype=torch.bool),
        "references": latents(R, 6),
        "prompt": "a room",
        "generator": RNG.manual_seed(0),
    }


@pytest.fixture(scope="module")
def codec() -> WanCodec:
    return WanCodec(tiny.vae())


def generator(codec: WanCodec, preset: str = "release", **options: Any) -> WanChunkModel:
    model = MirageTransformer3DModel.from_wan(tiny.transformer(), preset)
    words = torch.randn(1, 5, tiny.TEXT_DIM, generator=torch.Generator().manual_seed(7))
    given = {"steps": 2, "encode_prompt": lambda _: (words, None)} | options
    return WanChunkModel(model, tiny.scheduler(), codec, **given)


def test_the_codec_is_the_normalized_autoencoder(codec: WanCodec) -> None:
    frames = torch.rand(2, 3, 9, 32, 48, generator=torch.Generator().manual_seed(0))
    made = codec.encode(frames)
    assert made.shape == (2, 48, 3, 2, 3)
    with torch.no_grad():
        mode = codec.vae.encode(frames * 2 - 1).latent_dist.mode()
        torch.testing.assert_close(made, (mode - 0.1) / 0.9)
        plain = codec.vae.decode(mode).sample / 2 + 0.5
    torch.testing.assert_close(codec.decode(made), plain.clamp(0, 1), rtol=0, atol=1e-5)
    first = codec.encode(frames[:, :, :1])
    torch.testing.assert_close(first[:, :, 0], made[:, :, 0], rtol=0, atol=1e-5)
    assert (codec.channels, codec.spatial_stride, codec.temporal_stride) == (48, 16, 4)


@pytest.mark.parametrize("shape", [(1, 3, 8, 32, 32), (1, 3, 9, 30, 32), (1, 4, 9, 32, 32)])
def test_frames_of_wrong_shapes(codec: WanCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"frames: expected \(B, 3, 4 \(T - 1\) \+ 1, h \* 16, w \* 16\), got"):
        codec.encode(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"latents: expected \(B, 48, T, h, w\), got"):
        codec.decode(torch.zeros(1, 47, 2, 2, 2))


def test_white_latents_are_cached_per_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, calls = WanCodec(tiny.vae()), []
    encode = codec.vae.encode

    def count(frames: Tensor) -> Any:
        calls.append(frames.shape)
        assert (frames == 1).all()
        return encode(frames)

    monkeypatch.setattr(codec.vae, "encode", count)
    white = codec.white_latents(3, *GRID)
    assert torch.equal(white, codec.white_latents(3, *GRID))
    assert calls == [(1, 3, 9, 64, 96)]
    codec.white_latents(4, *GRID)
    assert len(calls) == 2
    made = generator(codec)
    made(**chunk_inputs())
    made(**chunk_inputs())
    assert len(calls) == 2, "T + P is 4, as above"


def test_inputs_of_the_transformer(codec: WanCodec) -> None:
    """References, targets, preceding; only targets after the first are noisy; the control covers T and P."""
    made, calls = generator(codec, steps=3), []
    forward = made.transformer.forward

    def note(**given: Any) -> Any:
        calls.append((given["hidden_states"].clone(), given["timestep"].clone(), given))
        return forward(**given)

    made.transformer.forward = note
    given = chunk_inputs()
    out = made(**given)
    assert len(calls) == 3
    timesteps = made.scheduler.timesteps
    for number, (sequence, timestep, rest) in enumerate(calls):
        t = timesteps[number].item()
        assert timestep.tolist() == [[0, 0, 0, t, t, 0]]
        assert torch.equal(sequence[0, :, :2], given["references"])
        assert torch.equal(sequence[0, :, 2], given["first"])
        assert torch.equal(sequence[0, :, 5], given["preceding"][:, 0])
        assert rest["num_references"] == 2
        control = rest["control_hidden_states"][0]
        assert torch.equal(control[:48, :3], given["view"])
        assert torch.equal(control[:48, 3], given["preceding_view"][:, 0])
        assert torch.equal(control[48:], codec.white_latents(4, *GRID))
    noise = torch.randn(1, 48, T, *GRID, generator=torch.Generator().manual_seed(0))
    assert torch.equal(calls[0][0][0, :, 3:5], noise[0, :, 1:])
    assert out.shape == (48, T, *GRID)
    assert torch.equal(out[:, 0], given["first"])


def test_the_papers_control_is_the_view_and_its_mask(codec: WanCodec) -> None:
    control = generator(codec, "paper").control(latents(T, 1), torch.ones(T, *GRID, dtype=torch.bool))
    assert control.shape == (1, 49, T, *GRID)
    assert torch.equal(control[0, :48], latents(T, 1))
    assert (control[0, 48] == 1).all()


def test_known_cells_are_kept(codec: WanCodec) -> None:
    """Where the adapter was trained so, the model generates the holes only, and sees the others on the way."""
    made, given = generator(codec, "paper", steps=3), chunk_inputs()
    plain = made(**given)
    made.transformer.conditioning = Conditioning(keep_known=True)
    seen, forward = [], made.transformer.forward

    def note(**inputs: Any) -> Any:
        seen.append((inputs["hidden_states"][0, :, 2 : 2 + T].clone(), inputs["timestep"][0, 3].item() / 1000))
        return forward(**inputs)

    made.transformer.forward = note
    kept = made(**chunk_inputs())
    after, mask = slice(1, None), given["mask"][1:]
    assert torch.equal(kept[:, after][:, mask], given["view"][:, after][:, mask])
    assert not torch.allclose(kept[:, after][:, ~mask], plain[:, after][:, ~mask])
    assert torch.equal(kept[:, 0], given["first"])
    noise = torch.randn(1, 48, T, *GRID, generator=torch.Generator().manual_seed(0))[0]
    for latents, sigma in seen:  # on the straight line from the noise to the view
        expected = (1 - sigma) * given["view"] + sigma * noise
        torch.testing.assert_close(latents[:, after][:, mask], expected[:, after][:, mask], atol=2e-2, rtol=2e-2)
    made.control_scale = 0.0
    without = made(**chunk_inputs())
    assert not torch.allclose(without[:, after][:, mask], given["view"][:, after][:, mask])


def test_guidance_is_that_of_classifier_free_guidance(codec: WanCodec) -> None:
    words = [torch.randn(1, 5, tiny.TEXT_DIM, generator=torch.Generator().manual_seed(n)) for n in (7, 8)]
    flows = []
    for text in words:
        made = generator(codec, steps=1, encode_prompt=lambda _, text=text: (text, None))
        flows.append(made(**chunk_inputs()))
    guided = generator(codec, steps=1, guidance_scale=3.0, encode_prompt=lambda _: tuple(words))(**chunk_inputs())
    torch.testing.assert_close(guided, flows[1] + 3 * (flows[0] - flows[1]), rtol=0, atol=1e-4)


def test_the_sampler_is_the_released_one(data: Path, codec: WanCodec) -> None:
    """Released sigmas in diffusers' UniPC follow the released trajectory."""
    golden = load_file(data / "golden" / "release_scheduler.safetensors")
    made = generator(codec, steps=20)
    timesteps = made.set_timesteps(torch.device("cpu"))
    assert torch.equal(timesteps.float(), golden["timesteps"])
    torch.testing.assert_close(made.scheduler.sigmas, golden["sigmas"], rtol=0, atol=1e-6)
    x, worst = golden["x0"], 0.0
    for t, expected in zip(timesteps, golden["trajectory"], strict=True):
        flow = 0.7 * torch.tanh(x) + 0.1 * torch.sin(t / 100)
        x = made.scheduler.step(flow, t, x, return_dict=False)[0]
        worst = max(worst, (x - expected).abs().max().item())
    assert worst < 1e-5
