# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import scipy.fft
import torch

from mirage.models.embedded import DctCodec
from mirage.models.embedded.dct import dct_matrix, lowest_frequencies


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_the_transform_is_the_orthonormal_dct() -> None:
    matrix = dct_matrix(16).double()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-6)
    block = noise(16, 16).double()
    expected = torch.from_numpy(scipy.fft.dctn(block.numpy(), norm="ortho"))
    torch.testing.assert_close(matrix @ block @ matrix.T, expected, rtol=0, atol=1e-5)


def test_kept_frequencies_are_the_lowest_in_zigzag_order() -> None:
    kept = lowest_frequencies(16, 16)
    assert kept[:6] == [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0)]
    assert kept[15] == (0, 5)


@pytest.mark.parametrize("block", [4, 8, 16])
def test_encoding_projects_onto_the_kept_frequencies(block: int) -> None:
    codec = DctCodec(block)
    frame = noise(1, 3, 1, 3 * block, 5 * block)
    latents = codec.encode(frame)
    assert latents.shape == (1, 48, 1, 3, 5)
    matrix = dct_matrix(block)
    cell = frame[0, 1, 0, block : 2 * block, 3 * block : 4 * block]  # green, row 1, column 3
    coefficients = matrix @ cell @ matrix.T
    expected = torch.stack([coefficients[i, j] for i, j in lowest_frequencies(block, 16)])
    torch.testing.assert_close(latents[0, 16:32, 0, 1, 3], expected, rtol=0, atol=1e-5)
    again = codec.encode(codec.decode(latents))
    if block == 4:  # all sixteen are kept
        torch.testing.assert_close(codec.decode(latents), frame, rtol=0, atol=1e-5)
        torch.testing.assert_close(again, latents, rtol=0, atol=1e-5)


def test_latent_k_encodes_frame_4k() -> None:
    codec = DctCodec(4)
    frames = noise(2, 3, 9, 8, 12)
    latents = codec.encode(frames)
    assert latents.shape == (2, 48, 3, 2, 3)
    decoded = codec.decode(latents)
    assert decoded.shape == frames.shape
    torch.testing.assert_close(decoded[:, :, ::4], frames[:, :, ::4], rtol=0, atol=1e-5)
    fade = 0.25 * frames[:, :, 0] + 0.75 * frames[:, :, 4]
    torch.testing.assert_close(decoded[:, :, 3], fade, rtol=0, atol=1e-5)


def test_frames_stay_within_bounds() -> None:
    assert DctCodec(4).decode(10 * torch.randn(1, 48, 2, 2, 2)).amin() >= 0
    assert DctCodec(4).decode(10 * torch.randn(1, 48, 2, 2, 2)).amax() <= 1


def test_errors() -> None:
    codec = DctCodec(16)
    with pytest.raises(ValueError, match="block: expected at least 4, got 2"):
        DctCodec(2)
    for shape in ((1, 3, 1, 17, 16), (1, 3, 2, 16, 16), (1, 1, 1, 16, 16)):
        with pytest.raises(ValueError, match="frames: expected"):
            codec.encode(torch.zeros(shape))
    with pytest.raises(ValueError, match="latents: expected"):
        codec.decode(torch.zeros(1, 47, 1, 2, 2))
