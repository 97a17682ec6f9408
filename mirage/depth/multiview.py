# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that estimate the depth of several frames together, from packages of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..errors import DataError
from ..geometry.grids import resize_depth
from ..io.pretrained import check_folder
from .estimator import DepthEstimate, check_frames, make_estimate
from .monocular import to_pictures

# Depth Anything 3's networks for metric depth see every picture as one of this focal length in pixels.
CANONICAL_FOCAL = 300.0


def _missing(folder: Path, package: str, source: str, error: ImportError) -> DataError:
    return DataError(f"{folder}: needs {package} (pip install 'git+{source}'): {error}")


class DepthAnything3Depth:
    """Depth Anything 3 (arXiv 2511.10647), with the package ``depth_anything_3``.

    Networks of the main and the nested series are handed the cameras, where these move, and give depth in their unit;
    without them the main series gives depth up to a scale, the nested one metres. ``DA3METRIC`` gives metres where
    cameras tell its focal length, ``DA3MONO`` depth up to a scale.

    Args:
        model: a ``depth_anything_3.api.DepthAnything3``, on the device that it is to run on.
    """

    name = "depth-anything-3"
    weights = "depth-anything/DA3NESTED-GIANT-LARGE-1.1"

    def __init__(self, model: Any) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str = "cpu") -> DepthAnything3Depth:
        """Load a network from a folder; nothing is downloaded.

        Raises:
            DataError: saying what to install or to download.
        """
        folder = check_folder(folder, cls.weights)
        try:
            from depth_anything_3.api import DepthAnything3
        except ImportError as error:
            source = "https://github.com/ByteDance-Seed/Depth-Anything-3"
            raise _missing(folder, "depth_anything_3", source, error) from None
        return cls(DepthAnything3.from_pretrained(str(folder)).to(device).eval())

    @torch.no_grad()
    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """See :class:`mirage.depth.DepthEstimator`. All frames pass through together; sky has no valid depth."""
        count, size = check_frames(frames, cameras)
        kind: str = self.model.model_name
        single = kind.startswith(("da3metric", "da3mono"))
        metric = kind.startswith("da3nested")
        options: dict[str, Any] = {}
        if cameras is not None and not single and _moves(cameras):
            extrinsics = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
            extrinsics[:, :3] = cameras.world2cam.cpu().numpy()
            options = {"extrinsics": extrinsics, "intrinsics": cameras.rescale(size).intrinsics.cpu().numpy()}
        prediction = self.model.inference(to_pictures(frames), **options)
        depth = torch.from_numpy(np.asarray(prediction.depth, dtype=np.float32))
        if options:
            # Where the poses it finds cannot be laid over those given, it keeps its own and its own scale.
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
    """MapAnything (arXiv 2509.13414), with the package ``mapanything``: metric depth of several frames together, with
    their cameras where these are known.

    Args:
        model: a ``mapanything.models.MapAnything``, on the device that it is to run on.
        preprocess: ``mapanything.utils.image.preprocess_inputs``.
        metric_poses: whether the poses of cameras are in metres.
    """

    name = "map-anything"
    weights = "facebook/map-anything-apache"

    def __init__(self, model: Any, preprocess: Any, *, metric_poses: bool = True) -> None:
        self.model, self.preprocess, self.metric_poses = model, preprocess, metric_poses

    @classmethod
    def load(
        cls, folder: str | Path, *, device: torch.device | str = "cpu", metric_poses: bool = True
    ) -> MapAnythingDepth:
        """Load a network from a folder; nothing is downloaded.

        Raises:
            DataError: saying what to install or to download.
        """
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
        """See :class:`mirage.depth.DepthEstimator`. All frames pass through together; what its own mask leaves out,
        edges between near and far among it, has no valid depth."""
        _, size = check_frames(frames, cameras)
        views: list[dict[str, Any]] = [{"img": torch.from_numpy(picture)} for picture in to_pictures(frames)]
        if cameras is not None:
            intrinsics, poses = cameras.rescale(size).intrinsics.cpu(), cameras.cam2world.cpu()
            for view, k, pose in zip(views, intrinsics, poses, strict=True):
                view |= {"intrinsics": k, "camera_poses": pose, "is_metric_scale": torch.tensor([self.metric_poses])}
        results = self.model.infer(self.preprocess(views), apply_mask=True, mask_edges=True)
        depth = torch.cat([result["depth_z"][..., 0] for result in results]).float()
        mask = torch.cat([result["mask"][..., 0] for result in results]).bool()
        depth = _undo_crop(torch.where(mask, depth, 0), size)
        return make_estimate(depth.to(frames.device), metric=cameras is None or self.metric_poses)


def _undo_crop(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Depth (T, h, w) of pictures that were scaled to cover (h, w) and cut around their middle, over the pictures'
    pixels (H, W); 0 where they were cut."""
    h, w = depth.shape[1:]
    scale = max(h / size[0], w / size[1])
    places = []
    for cells, pixels in ((h, size[0]), (w, size[1])):
        centres = torch.arange(pixels, dtype=torch.float64, device=depth.device) + 0.5
        places.append(((centres - pixels / 2) * scale + cells / 2).floor().long())
    row, column = places
    inside = ((row >= 0) & (row < h))[:, None] & ((column >= 0) & (column < w))
    picked = depth[:, row.clamp(0, h - 1)][:, :, column.clamp(0, w - 1)]
    return torch.where(inside, picked, 0)
