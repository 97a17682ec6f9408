# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth of a single photograph by a small network, for images of which nothing else is known."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, load_tensors, save_tensors

from ...cameras import centered_intrinsics
from ...depth import DepthEstimate, guess_depth
from ...depth.estimator import check_frames, make_estimate
from ...errors import DataError
from .depth_network import DEPTH_STEP, DepthNetwork, ray_maps
from .files import DEPTH, NANO, named_folder

__all__ = ["NanoDepth", "write_depth_network"]

KIND, VERSION = "depth network", 1
PIXELS = 192 * 288  # of the images that the network is trained on
FOV = 60.0  # degrees along the longer side, if the camera is unknown
# Standard errors of the logarithm of depth in guess_depth: of all of an image, and of its shape alone, on rooms.
GUESS_SCALE, GUESS_SHAPE = 0.7, 0.4
UNKNOWN = 0.2  # standard error that the network does not know of, because photographs are not what it was trained on


def write_depth_network(network: DepthNetwork, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write the weights of a network. An existing file is replaced only when the new one is complete."""
    tensors = {name: tensor.to(dtype) for name, tensor in network.state_dict().items()}
    save_tensors(path, tensors, kind=KIND, version=VERSION, settings={})


class NanoDepth:
    """Estimates depth with the network of mirage-nano, a guess that is better than level ground and a wall.

    It was trained on procedural rooms and half a recording of a kitchen, so it knows rooms. Where the network is
    unsure, the result is closer to the shape of :func:`mirage.depth.guess_depth`, level ground and a wall, which is
    first brought to the network's distance. Both are averaged, as logarithms, with the inverse squares of their errors
    as weights.

    Args:
        network: the network, on the device to run on.

    Attributes:
        name: ``"nano"``.
    """

    name = "nano"

    def __init__(self, network: DepthNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def load(cls, path: Path | None = None, device: torch.device | str = "cpu") -> NanoDepth:
        """Load weights.

        Args:
            path: the file; None for the one that is part of this package.
            device: of the network.

        Raises:
            DataError: the file is missing or damaged.
        """
        network = DepthNetwork()
        path = named_folder(NANO) / DEPTH if path is None else path
        try:
            tensors, _ = load_tensors(path, kind=KIND, version=VERSION)
        except (ValueError, OSError) as error:
            raise DataError(str(error)) from None
        expected, got = ({name: tuple(t.shape) for name, t in part.items()} for part in (network.state_dict(), tensors))
        if got != expected:
            name = next(name for name in [*expected, *got] if expected.get(name) != got.get(name))
            sizes = f"{name} of shape {expected.get(name)}, got {got.get(name)}"
            raise DataError(f"{path}: expected weights of the depth network with {sizes}")
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return cls(network.to(device))

    @torch.no_grad()
    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Estimate; see :class:`mirage.depth.DepthEstimator`."""
        _, size = check_frames(frames, cameras)
        if cameras is None:
            focal = max(size) / (2 * math.tan(math.radians(FOV / 2)))
            pose = torch.eye(4, dtype=torch.float32, device="cpu")
            cameras = Cameras.cat([Cameras(centered_intrinsics(focal, size), pose, size)] * frames.shape[1])
        device = next(self.network.parameters()).device
        scale = math.sqrt(PIXELS / (size[0] * size[1]))
        inner = tuple(max(round(side * scale / DEPTH_STEP), 1) * DEPTH_STEP for side in size)
        small = (inner[0], inner[1])
        images = nnf.interpolate(frames.movedim(1, 0).float().to(device), small, mode="area")
        rays = ray_maps(cameras.rescale(small).intrinsics.to(device), small)
        depth, error = self.network(images, rays)
        guess = guess_depth(images.movedim(1, 0), cameras.rescale(small).to(device)).depth.log()
        log = _average(depth, error, guess)
        full = nnf.interpolate(log[:, None], size, mode="bilinear", align_corners=False)[:, 0].exp()
        return make_estimate(full.to(frames.device), metric=True)


def _average(depth: Tensor, error: Tensor, guess: Tensor) -> Tensor:
    """The mean of two logarithms of depth (T, H, W), of which the second one is moved towards the first.

    Args:
        depth, error: of the network, and the logarithm of its error.
        guess: of :func:`mirage.depth.guess_depth`.
    """
    weight = 1 / ((2 * error).exp() + UNKNOWN**2)
    over_image = weight.mean((1, 2), keepdim=True)
    apart = ((depth - guess) * weight).mean((1, 2), keepdim=True) / over_image
    moved = guess + apart * over_image / (over_image + 1 / GUESS_SCALE**2)
    return (depth * weight + moved / GUESS_SHAPE**2) / (weight + 1 / GUESS_SHAPE**2)
