# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Transformers that predict the sample instead of the flow."""

from __future__ import annotations

import pytest
import tiny
import torch

from mirage.models.wan.conditioning import Conditioning
from mirage.models.wan.prediction import flow_of_sample
from mirage.models.wan.transformer import MirageTransformer3DModel


@pytest.mark.parametrize("form", ["sequence", "latent", "token"])
def test_the_flow_of_the_true_sample_is_the_true_flow(form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z, n = (torch.randn(2, 3, 4, 5, 6, generator=generator) for _ in range(2))
    s = torch.tensor([[0.2, 0.5, 0.7, 1.0], [1.0, 0.9, 0.1, 0.3]])
    if form == "sequence":
        s = s[:, :1].expand(-1, 4)
    levels = s[:, None, :, None, None]
    x = (1 - levels) * z + levels * n
    timestep = {"sequence": 1000 * s[:, 0], "latent": 1000 * s, "token": 1000 * s.repeat_interleave(7, 1)}[form]
    torch.testing.assert_close(flow_of_sample(z, x, timestep), n - z, atol=1e-4, rtol=1e-4)


def test_clean_latents_give_finite_flows() -> None:
    assert flow_of_sample(torch.ones(1, 2, 1, 2, 2), torch.zeros(1, 2, 1, 2, 2), torch.zeros(1, 1)).isfinite().all()


def test_the_transformer_obeys_its_conditioning() -> None:
    model = MirageTransformer3DModel.from_wan(tiny.transformer())
    shape = (1, model.config.in_channels, 3, 4, 6)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    given = {
        "hidden_states": latents,
        "timestep": torch.tensor([[0.0, 500.0, 800.0]]),
        "encoder_hidden_states": torch.zeros(1, 2, model.config.text_dim),
        "return_dict": False,
    }
    with torch.no_grad():
        flow = model(**given)[0]
        model.conditioning = Conditioning(prediction="sample")
        converted = model(**given)[0]
    torch.testing.assert_close(converted, flow_of_sample(flow, latents, given["timestep"]))
    with pytest.raises(ValueError, match="prediction: expected 'flow' or 'sample', got 'noise'"):
        Conditioning(prediction="noise")  # type: ignore[arg-type]
