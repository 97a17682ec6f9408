# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth networks that estimate several frames jointly: Depth Anything 3 and MapAnything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..errors import DataError, first_line
from ..geometry.grids import resize_depth
from ..io.pretrained import check_folder
from .estimator import DepthEstimate, check_frames, make_estimate
from .monocular import to_images

# Depth Anything 3's metric networks predict depth for this focal length in pixels.
CANONICAL_FOCAL = 300.0


def _missing(folder: Path, package: str, source: str, error: ImportError) -> DataError:
    return DataError(f"{folder}: needs {package}; install it with pip install 'git+{source}' ({first_line(error)})")


class DepthAnything3Depth:
    """Estimates depth with Depth Anything 3 (arXiv 2511.10647). Needs the package ``depth_anything_3``.

    Whether the depth is metric depends on the network and the cameras:

    * main series: in the unit of the camera poses if cameras are passed and they move, else up to a scale;
    * nested series: in the unit of the camera poses if cameras are passed and they move, else in meters;
    * ``DA3METRIC``: in meters if cameras are passed, for their focal length, else up to a scale;
    * ``DA3MONO``: up to a scale.

    Args:
        model: a ``depth_anything_3.api.DepthAnything3``, on the device to run on.
    """

    name = "depth-anything-3"
    weights = "depth-anything/DA3NESTED-GIANT-LARGE-1.1"

    def __init__(self, model: Any) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str = "cpu") -> DepthAnything3Depth:
        """Load a network from a folder. Nothing is downloaded.

        Args:
            folder: with config.json and the weights, as on the Hub.
            device: to run on.

        Raises:
            TypeError, ValueError: ``device`` is not a device of this machine.
            DataError: weights or packages are missing; the message says what to download or install.
        """
        device = check.device("device", device)
        folder = check_folder(folder, cls.weights)
        try:
            from depth_anything_3.api import DepthAnything3
        except ImportError as error:
            source = "https://github.com/ByteDance-Seed/Depth-Anything-3"
            raise _missing(folder, "depth_anything_3", source, error) from None
        return cls(DepthAnything3.from_pretrained(str(folder)).to(device).eval())

    @torch.no_grad()
    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Estimate the depth of all frames jointly; see :meth:`mirage.depth.DepthEstimator.__call__`. Sky pixels are
        invalid."""
        import numpy as np

        count, size = check_frames(frames, cameras)
        kind: str = self.model.model_name
        single = kind.startswith(("da3metric", "da3mono"))
        metric = kind.startswith("da3nested")
        options: dict[str, Any] = {}
        if cameras is not None and not single and _moves(cameras):
            extrinsics = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
            extrinsics[:, :3] = cameras.world2cam.cpu().numpy()
            options = {"extrinsics": extrinsics, "intrinsics": cameras.rescale(size).intrinsics.cpu().numpy()}
        prediction = self.model.inference(to_images(frames), **options)
        depth = torch.from_numpy(np.asarray(prediction.depth, dtype=np.float32))
        if options:
            # If the network cannot align its poses with ours, it returns its own poses and an unknown scale.
            metric = metric or np.array_equal(prediction.extrinsics[:, :3], extrinsics[:, :3])
        elif kind.startswith("da3metric") and cameras is not None:
            fx_fy = cameras.rescale((depth.shape[1], depth.shape[2])).intrinsics.diagonal(dim1=1, dim2=2)[:, :2]
            depth, metric = depth * (fx_fy.mean(1).cpu()[:, None, None] / CANONICAL_FOCAL), True
        sky = getattr(prediction, "sky", None)
        if sky is not None:
            depth = torch.where(torch.from_numpy(np.asarray(sky, dtype=np.float32)) >= 0.5, torch.inf, depth)
        return make_estimate(resize_depth(depth, size).to(frames.device), metric=metric)


def _moves(cameras: Cameras) -> bool:
    return bool((cameras.centers - cameras.centers[:1]).norm(dim=1).max() > 0)


class MapAnythingDepth:
    """Estimates metric depth with MapAnything (arXiv 2509.13414). Needs the package ``mapanything``. Cameras are passed
    to the network if they are known.

    Args:
        model: a ``mapanything.models.MapAnything``, on the device to run on.
        preprocess: ``mapanything.utils.image.preprocess_inputs``.
        metric_poses: whether the camera poses are in meters.
    """

    name = "map-anything"
    weights = "facebook/map-anything-apache"

    def __init__(self, model: Any, preprocess: Any, *, metric_poses: bool = True) -> None:
        self.model, self.preprocess, self.metric_poses = model, preprocess, metric_poses

    @classmethod
    def load(
        cls, folder: str | Path, *, device: torch.device | str = "cpu", metric_poses: bool = True
    ) -> MapAnythingDepth:
        """Load a network from a folder. Nothing is downloaded.

        Args:
            folder: with config.json and the weights, as on the Hub.
            device: to run on.
            metric_poses: whether the camera poses are in meters.

        Raises:
            TypeError, ValueError: ``device`` is not a device of this machine.
            DataError: weights or packages are missing; the message says what to download or install.
        """
        device = check.device("device", device)
        folder = check_folder(folder, cls.weights)
        try:
            from mapanything.models import MapAnything
            from mapanything.utils.image import preprocess_inputs
        except ImportError as error:
            source = "https://github.com/facebookresearch/map-anything"
            raise _missing(folder, "mapanything", source, error) from None
        model = MapAnything.from_pretrained(str(folder)).to(device).eval()
        return cls(model, preprocess_inputs, metric_poses=metric_poses)

    @torch.no_grad()
    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Estimate the depth of all frames jointly; see :meth:`mirage.depth.DepthEstimator.__call__`. Pixels outside
        the network's mask and pixels on depth edges are invalid."""
        _, size = check_frames(frames, cameras)
        views: list[dict[str, Any]] = [{"img": torch.from_numpy(image)} for image in to_images(frames)]
        if cameras is not None:
            intrinsics, poses = cameras.rescale(size).intrinsics.cpu(), cameras.cam2world.cpu()
            for view, k, pose in zip(views, intrinsics, poses, strict=True):
                view |= {
                    "intrinsics": k,
                    "camera_poses": pose,
                    "is_metric_scale": torch.tensor([self.metric_poses], dtype=torch.bool, device="cpu"),
                }
        results = self.model.infer(self.preprocess(views), apply_mask=True, mask_edges=True)
        depth = torch.cat([result["depth_z"][..., 0] for result in results]).float()
        mask = torch.cat([result["mask"][..., 0] for result in results]).bool()
        depth = _undo_crop(torch.where(mask, depth, 0), size)
        return make_estimate(depth.to(frames.device), metric=cameras is None or self.metric_poses)


def _undo_crop(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Undo the scaling and center crop of images.

    Args:
        depth: (T, h, w), of images that were scaled to cover (h, w) and cropped around their center.
        size: (H, W) of the images before.

    Returns:
        (T, H, W); 0 for pixels outside the crop.
    """
    h, w = depth.shape[1:]
    scale = max(h / size[0], w / size[1])
    indices = []
    for cropped, full in ((h, size[0]), (w, size[1])):
        centers = torch.arange(full, dtype=torch.float64, device=depth.device) + 0.5
        indices.append(((centers - full / 2) * scale + cropped / 2).floor().long())
    row, column = indices
    inside = ((row >= 0) & (row < h))[:, None] & ((column >= 0) & (column < w))
    sampled = depth[:, row.clamp(0, h - 1)][:, :, column.clamp(0, w - 1)]
    return torch.where(inside, sampled, 0)
