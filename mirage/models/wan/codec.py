# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The codec for Wan's video autoencoder."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils.torch_utils import get_module_execution_device
from torch import Tensor


class WanCodec:
    """A :class:`mirage.rollout.Codec` for :class:`diffusers.AutoencoderKLWan`. Latents are normalized, as the
    transformer expects them.

    A video is encoded and decoded as a whole: the first latent is one frame, each further latent ``temporal_stride``
    frames. Results are float32, on the autoencoder's device.

    Args:
        vae: the autoencoder. Its configuration sets strides, channels, means and standard deviations. Tiling is
            enabled on it (``vae.enable_tiling()``).
    """

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae = vae
        self.channels: int = vae.config.z_dim
        self.spatial_stride: int = vae.config.scale_factor_spatial
        self.temporal_stride: int = vae.config.scale_factor_temporal
        self.name = f"wan-{self.channels}-{self.spatial_stride}"
        shape = (1, self.channels, 1, 1, 1)
        self._mean = torch.tensor(vae.config.latents_mean, dtype=torch.float32, device="cpu").reshape(shape)
        self._deviation = torch.tensor(vae.config.latents_std, dtype=torch.float32, device="cpu").reshape(shape)
        self._white: dict[tuple[int, int, int], Tensor] = {}

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Encode frames to the mode of the latent distribution.

        Args:
            frames: (B, 3, F, H, W), 0 to 1, with F = stride (T - 1) + 1, and H and W multiples of the spatial stride.

        Returns:
            Latents (B, C, T, h, w) float32.

        Raises:
            ValueError: ``frames`` has another shape.
        """
        count, height, width = frames.shape[2:]
        step = self.spatial_stride
        if frames.shape[1] != 3 or (count - 1) % self.temporal_stride or height % step or width % step:
            expected = f"(B, 3, {self.temporal_stride} (T - 1) + 1, h * {step}, w * {step})"
            raise ValueError(f"frames: expected {expected}, got {tuple(frames.shape)}")
        device = get_module_execution_device(self.vae)
        frames = (frames.to(device, torch.float32) * 2 - 1).to(self.vae.dtype)
        latents: Tensor = self.vae.encode(frames).latent_dist.mode().float()
        return (latents - self._mean.to(device)) / self._deviation.to(device)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents.

        Args:
            latents: (B, C, T, h, w), with T at least 1.

        Returns:
            Frames (B, 3, stride (T - 1) + 1, H, W) float32, clamped to 0 to 1.

        Raises:
            ValueError: ``latents`` has another shape.
        """
        if latents.dim() != 5 or latents.shape[1] != self.channels or latents.shape[2] == 0:
            raise ValueError(f"latents: expected (B, {self.channels}, T, h, w), got {tuple(latents.shape)}")
        device = get_module_execution_device(self.vae)
        latents = latents.to(device, torch.float32) * self._deviation.to(device) + self._mean.to(device)
        frames: Tensor = self.vae.decode(latents.to(self.vae.dtype)).sample
        return (frames.float() / 2 + 0.5).clamp(0, 1)

    def white_latents(self, count: int, h: int, w: int) -> Tensor:
        """Latents (C, T=count, h, w) of a white video, on the CPU. They are cached per shape."""
        shape = (count, h, w)
        if shape not in self._white:
            frames = 1 + self.temporal_stride * (count - 1)
            self._white[shape] = self.encode(
                torch.ones(
                    1, 3, frames, h * self.spatial_stride, w * self.spatial_stride, dtype=torch.float32, device="cpu"
                )
            )[0].cpu()
        return self._white[shape]
