# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How wrong the depth of a single image is: that of mirage-nano, and what needs no network.

Frames are the second half of ``hololens_dev`` (MIRAGE_DATA), which the network was not trained on, and those of
held-out procedural scenes. The constant is the median depth of the first half, or of the scenes that the network was
trained on, and the ramp is linear in the row with the least absolute error there: both know the kind of scene as the
network does. *Guess* is :func:`mirage.depth.guess_depth`, which knows nothing.

``python -m mirage.evaluation.depth_guess`` prints a table and writes ``depth_guess.json`` and a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras

from ..data.procedural import ProceduralScene
from ..depth import guess_depth
from ..io.images import contact_sheet
from ..models.nano.depth import NanoDepth
from . import _studies
from .closed_loop import FIRST_SEED, as_table, summarize
from .holes import TRAINED
from .recording import read_hololens

__all__ = ["DepthFrames", "depth_errors", "fit_ramp"]

SIZE, SCENES = (192, 288), 40
WITHIN = 1.25  # ratio of depths that counts as right
METHOD = (
    "Mean of the frames, with intervals that hold 95 % of the means of 2,000 resampled sets of frames: the absolute "
    "error over the depth; the share of pixels whose depth is off by less than a factor of 1.25; and both errors after "
    "the depth is multiplied by the number that brings its median to the true one, which leaves the shape."
)


class DepthFrames(NamedTuple):
    """Images with true depth.

    Attributes:
        images: (3, T, H, W), values 0 to 1.
        depth: (T, H, W) in meters, 0 where unknown.
        cameras: T cameras.
    """

    images: Tensor
    depth: Tensor
    cameras: Cameras


Estimator = Callable[[DepthFrames], Tensor]  # depth (T, H, W)


def depth_errors(depth: Tensor, truth: Tensor) -> dict[str, float]:
    """Compare depth with the truth.

    Args:
        depth: (H, W), above 0.
        truth: (H, W), 0 where unknown.

    Example:
        >>> import torch
        >>> depth_errors(torch.full((2, 2), 2.0), torch.tensor([[1.0, 2.0], [2.0, 0.0]]))["within 1.25"]
        0.666...
    """
    known = truth > 0
    got, wanted = depth[known].double(), truth[known].double()
    scaled = got * (wanted.median() / got.median())

    def error(values: Tensor) -> float:
        return ((values - wanted).abs() / wanted).mean().item()

    within = torch.maximum(got / wanted, wanted / got) < WITHIN
    return {
        "absolute relative error": error(got),
        f"within {WITHIN:g}": within.double().mean().item(),
        "error of the shape": error(scaled),
    }


def fit_ramp(depth: Tensor) -> Tensor:
    """The depth (H,) that is linear in the row and has the least mean absolute error.

    Args:
        depth: (T, H, W), 0 where unknown.
    """
    rows = depth.nonzero()[:, 1]
    values = depth[depth > 0].double()
    x = rows.double() / depth.shape[1] - 0.5
    weight, line = torch.ones_like(values), torch.zeros(2, dtype=torch.float64, device="cpu")
    for _ in range(50):  # least squares with the weights 1 / error come to the least absolute error
        a = torch.stack([torch.ones_like(x), x], 1)
        line = torch.linalg.solve((a * weight[:, None]).T @ a, (a * weight[:, None]).T @ values)
        weight = 1 / (values - a @ line).abs().clamp(min=1e-3)
    position = torch.arange(depth.shape[1], dtype=torch.float64, device="cpu") / depth.shape[1] - 0.5
    return (line[0] + line[1] * position).clamp(min=0.1).float()


def hololens() -> tuple[DepthFrames, DepthFrames]:
    """The first and the second half of the recording."""
    recorded = read_hololens()
    images = nnf.interpolate(recorded.images.float(), SIZE, mode="area").movedim(1, 0)
    depth = nnf.interpolate(recorded.depth[:, None], SIZE, mode="nearest-exact")[:, 0]
    frames = DepthFrames(images, depth, recorded.cameras.rescale(SIZE))
    return _part(frames, slice(TRAINED)), _part(frames, slice(TRAINED, None))


def _part(frames: DepthFrames, part: slice) -> DepthFrames:
    return DepthFrames(frames.images[:, part], frames.depth[part], frames.cameras[part])


def procedural(first: int, count: int) -> DepthFrames:
    """A frame of each of some scenes. The sky has no depth."""
    parts = []
    for seed in tqdm(range(first, first + count), desc="scenes"):
        scene = ProceduralScene(seed, frames=2)
        camera = scene.cameras(2, SIZE, "on")[:1]
        image, depth, _ = scene.draw(camera, 0)
        parts.append((image.float() / 255, depth, camera))
    images, depths, cameras = zip(*parts, strict=True)
    return DepthFrames(torch.stack(images, 1), torch.stack(depths), Cameras.cat(cameras))


def estimators(training: DepthFrames, network: NanoDepth) -> dict[str, Estimator]:
    """What is compared, by name."""
    constant, ramp = training.depth[training.depth > 0].median(), fit_ramp(training.depth)
    return {
        "nano": lambda frames: network(frames.images, frames.cameras).depth,
        "constant": lambda frames: constant.expand_as(frames.depth),
        "ramp": lambda frames: ramp[:, None].expand_as(frames.depth),
        "guess": lambda frames: guess_depth(frames.images, frames.cameras).depth,
    }


def _picture(frames: DepthFrames, made: dict[str, Tensor]) -> tuple[list[Any], list[Any]]:
    rows, labels = [], []
    for t in np.linspace(0, len(frames.depth) - 1, 3).round().astype(int):
        maps = {"truth": frames.depth[t], **{name: depth[t] for name, depth in made.items()}}
        near, far = (frames.depth[t][frames.depth[t] > 0].quantile(q).item() for q in (0.02, 0.98))
        shown = [_shade(depth, near, far) for depth in maps.values()]
        rows.append([frames.images[:, t], *shown])
        labels.append(["image", *maps])
    return rows, labels


def _shade(depth: Tensor, near: float, far: float) -> Tensor:
    """The logarithm of depth as (3, H, W), near ones bright; black where it is unknown."""
    share = (depth.clamp(min=1e-3).log() - math.log(near)) / max(math.log(far / near), 1e-6)
    return ((1 - 0.9 * share.clamp(0, 1)) * (depth > 0)).expand(3, -1, -1)


def main() -> None:
    options = _studies.parser("depth_guess", __doc__)
    options.add_argument("--network", type=Path, metavar="FILE", help="depth network (default: that of mirage-nano)")
    args = options.parse_args()
    network = NanoDepth.load(args.network)
    parts = {"hololens_dev, second half": hololens(),
             "procedural": (procedural(0, SCENES), procedural(FIRST_SEED, SCENES))}  # fmt: skip
    summaries: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    rows: list[Any] = []
    labels: list[Any] = []
    for part, (training, frames) in parts.items():
        made = {name: estimate(frames) for name, estimate in estimators(training, network).items()}
        summaries[part] = {
            name: summarize([depth_errors(*pair) for pair in zip(depth, frames.depth, strict=True)])
            for name, depth in made.items()
        }
        print(f"{part}, {len(frames.depth)} frames\n{as_table(summaries[part])}")
        for found, added in zip((rows, labels), _picture(frames, made), strict=True):
            found += added
    _studies.write(args.out, "depth_guess", (__doc__ or "").split("\n\n")[1], METHOD, summary=summaries)
    _studies.save_image(args.out / "depth_guess.jpg", contact_sheet(rows, labels))


if __name__ == "__main__":
    main()
