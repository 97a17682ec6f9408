# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The loss against its definition in float64, frame by frame."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.models.wan.transformer import MirageTransformer3DModel
from mirage.training import TrainingSequence, draw_sigmas, flow_matching_loss

B, C, K, T, h, w = 2, 4, 6, 3, 4, 6  # samples, channels, control channels, targets, latent cells


def tiny() -> MirageTransformer3DModel:
    torch.manual_seed(0)
    model = MirageTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=C, out_channels=C, text_dim=8, freq_dim=16,
        ffn_dim=32, num_layers=3, adapter_layers=(0, 2), control_channels=K,
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def sequence(references: int = 2, preceding: int = 1) -> TrainingSequence:
    g = torch.Generator().manual_seed(1)
    frames = {"references": references, "targets": T, "preceding": preceding}
    latents = {name: torch.randn(B, C, n, h, w, generator=g) for name, n in frames.items()}
    control = torch.randn(B, K, T + preceding, h, w, generator=g)
    return TrainingSequence(**latents, control=control, text=torch.randn(B, 5, 8, generator=g))


def noise() -> Tensor:
    return torch.randn(B, C, T, h, w, generator=torch.Generator().manual_seed(2))


def sigmas() -> Tensor:
    return draw_sigmas(B, T, torch.Generator().manual_seed(3))


def defined_loss(model: Any, given: TrainingSequence, levels: Tensor, n: Tensor) -> Tensor:
    """The definition, sample by sample and frame by frame, in float64."""
    errors = []
    for b in range(B):
        frames, times = [], []
        for r in range(given.references.shape[2]):
            frames.append(given.references[b, :, r].double())
            times.append(0.0)
        for t in range(T):
            s = 0.0 if t == 0 else float(levels[b, t])
            z = given.targets[b, :, t].double()
            frames.append(z if t == 0 else (1 - s) * z + s * n[b, :, t].double())
            times.append(1000 * s)
        for p in range(given.preceding.shape[2]):
            frames.append(given.preceding[b, :, p].double())
            times.append(0.0)
        control = None if given.control is None else given.control[b % len(given.control)][None].double()
        flow = model(
            hidden_states=torch.stack(frames, 1)[None], timestep=torch.tensor([times], dtype=torch.float64),
            encoder_hidden_states=given.text[b][None].double(), control_hidden_states=control,
            num_references=given.references.shape[2], return_dict=False,
        )[0]  # fmt: skip
        for t in range(1, T):
            target = n[b, :, t].double() - given.targets[b, :, t].double()
            errors.append((flow[0, :, given.references.shape[2] + t].double() - target) ** 2)
    return torch.stack(errors).mean()


@pytest.mark.parametrize(("references", "preceding"), [(0, 0), (2, 1), (4, 2)])
@pytest.mark.parametrize("control", ["own", "shared", "none"])
def test_loss_and_gradients_are_those_of_the_definition(references: int, preceding: int, control: str) -> None:
    given = sequence(references, preceding)
    if control != "own":
        assert given.control is not None
        given = dataclasses.replace(given, control=given.control[:1] if control == "shared" else None)
    model, exact = tiny(), tiny().double()
    loss = flow_matching_loss(model, given, sigmas(), noise())
    expected = defined_loss(exact, given, sigmas(), noise())
    assert loss.dtype == torch.float32
    assert abs(loss.item() - expected.item()) < 1e-5 * expected.item()
    loss.backward()
    expected.backward()
    largest = max(float(p.grad.norm()) for p in exact.parameters() if p.grad is not None)
    for (name, parameter), known in zip(model.named_parameters(), exact.parameters(), strict=True):
        assert (parameter.grad is None) == (known.grad is None), name
        if known.grad is not None:
            error = float((parameter.grad.double() - known.grad).norm())
            assert error < 1e-5 * max(float(known.grad.norm()), 1e-3 * largest), name


def test_low_noise_levels_count_less() -> None:
    model, given, levels = tiny(), sequence(), sigmas() * torch.tensor([[1.0], [0.3]])
    for least in (0.6, 0.9):
        weights = (levels[:, 1:] / least).clamp(max=1)
        assert 0 < weights.min() < 1
        with torch.no_grad():
            loss = flow_matching_loss(model, given, levels, noise(), min_sigma=least)
            parts = []
            for t in range(1, T):
                error = _errors(model, given, levels, noise())[:, :, t - 1]
                parts.append((error.square().mean((1, 2, 3)) * weights[:, t - 1].square()).mean())
        assert loss.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)


def _errors(model: Any, given: TrainingSequence, levels: Tensor, n: Tensor) -> Tensor:
    """Errors of the flow of targets 1 to T - 1."""
    s = levels[:, None, :, None, None]
    noisy = torch.where(s > 0, (1 - s) * given.targets + s * n, given.targets)
    latents = torch.cat([given.references, noisy, given.preceding], 2)
    first = given.references.shape[2]
    times = torch.zeros(B, latents.shape[2])
    times[:, first : first + T] = 1000 * levels
    flow = model(
        hidden_states=latents, timestep=times, encoder_hidden_states=given.text, control_hidden_states=given.control,
        num_references=first, return_dict=False,
    )[0]  # fmt: skip
    errors: Tensor = (flow[:, :, first : first + T] - (n - given.targets))[:, :, 1:]
    return errors


def test_cells_are_weighted() -> None:
    model, given, levels = tiny(), sequence(), sigmas()
    weights = torch.rand(B, T, h, w, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        loss = flow_matching_loss(model, given, levels, noise(), weights=weights)
        squares = _errors(model, given, levels, noise()).square().mean(1)
        expected = (squares * weights[:, 1:]).sum() / weights[:, 1:].sum()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        plain, alike = (flow_matching_loss(model, given, levels, noise(), weights=given_weights)
                        for given_weights in (None, torch.full((B, T, h, w), 0.3)))  # fmt: skip
        assert alike.item() == pytest.approx(plain.item(), rel=1e-5)
        assert flow_matching_loss(model, given, levels, noise(), weights=torch.zeros(B, T, h, w)) == 0
    with pytest.raises(ValueError, match=r"weights: expected \(B=2, T=3, h=4, w=6\), got \(2, 3, 4\)"):
        flow_matching_loss(model, given, levels, noise(), weights=weights[..., 0])


def test_the_first_target_is_a_condition() -> None:
    model, given = tiny(), sequence()
    loss = flow_matching_loss(model, given, sigmas(), noise())
    other, levels = noise(), sigmas()
    other[:, :, 0], levels[:, 0] = float("nan"), 0.7
    assert torch.equal(flow_matching_loss(model, given, levels, other), loss)


def test_latents_of_half_precision_have_a_loss_in_float32() -> None:
    given = sequence()
    assert given.control is not None
    parts = {field.name: getattr(given, field.name).bfloat16() for field in dataclasses.fields(given)}
    half = TrainingSequence(**parts)
    loss = flow_matching_loss(tiny().bfloat16(), half, sigmas(), noise())
    assert loss.dtype == torch.float32
    exact = flow_matching_loss(tiny(), given, sigmas(), noise())
    assert abs(loss.item() - exact.item()) < 0.05 * exact.item()


def test_sigmas_follow_the_shifted_distribution() -> None:
    drawn = draw_sigmas(20_000, 3, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32
    assert (drawn[:, 0] == 0).all()
    assert (drawn >= 0).all()
    assert (drawn <= 1).all()
    for q in (0.1, 0.5, 0.9):  # the quantile of s is the shifted quantile of u
        u = drawn[:, 1:].double()
        assert abs(float((u < 5 * q / (1 + 4 * q)).double().mean()) - q) < 0.01
    between = torch.corrcoef(drawn[:, 1:].T)[0, 1]
    assert abs(float(between)) < 0.03  # each frame has its own
    assert torch.equal(drawn, draw_sigmas(20_000, 3, torch.Generator().manual_seed(0)))


def test_sigmas_can_be_shared_by_the_batch() -> None:
    drawn = draw_sigmas(4, 5, torch.Generator().manual_seed(0), shared=True)
    assert (drawn == drawn[:1]).all()
    assert len(drawn[0].unique()) == 5
    plain = draw_sigmas(1, 5, torch.Generator().manual_seed(0), shift=1.0)
    assert torch.allclose(drawn[:1], 5 * plain / (1 + 4 * plain))


WRONG = [
    ("targets", (B, C, 1, h, w), r"targets: expected \(B, C, T >= 2, h, w\), got \(2, 4, 1, 4, 6\)"),
    ("targets", (C, T, h, w), "targets: expected"),
    ("references", (B, C, 2, h, 5), "references: expected .* as targets have, got"),
    ("preceding", (1, C, 1, h, w), "preceding: expected .* as targets have, got"),
    ("text", (1, 5, 8), "text: expected"),
    ("control", (B, K, T, h, w), r"control: expected \(B=2 or 1, channels, T \+ P=4, h=4, w=6\)"),
]


@pytest.mark.parametrize(("name", "shape", "message"), WRONG)
def test_a_wrong_shape_is_named(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(sequence(), **{name: torch.zeros(shape)})


def test_wrong_noise_and_levels_are_named() -> None:
    with pytest.raises(ValueError, match=r"sigmas: expected \(B=2, T=3\), got \(2, 4\)"):
        flow_matching_loss(tiny(), sequence(), torch.zeros(B, T + 1), noise())
    with pytest.raises(ValueError, match=r"noise: expected \(2, 4, 3, 4, 6\)"):
        flow_matching_loss(tiny(), sequence(), sigmas(), noise()[:1])
    generator = torch.Generator()
    with pytest.raises(ValueError, match="targets: expected at least 1 and 2, got 1 and 1"):
        draw_sigmas(1, 1, generator)
    for shift in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="shift: expected a finite number above 0"):
            draw_sigmas(1, 2, generator, shift=shift)
