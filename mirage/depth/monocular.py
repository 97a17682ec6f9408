# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Monocular depth networks from Hugging Face transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..errors import DataError, first_line
from ..geometry.grids import resize_depth
from ..io.pretrained import IMPORT_ERRORS, check_folder, missing_transformers
from .estimator import DepthEstimate, check_frames, make_estimate
from .image_processors import PROCESSORS

if TYPE_CHECKING:
    import numpy as np

# model_type of the configuration -> weights on the Hub
WEIGHTS = {
    "depth_pro": "apple/DepthPro-hf",
    "depth_anything": "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf",
    "zoedepth": "Intel/zoedepth-nyu-kitti",
}


def to_images(frames: Tensor) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Convert frames (3, T, H, W), 0 to 1, to T images (H, W, 3) of uint8."""
    values = (frames.detach().float().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    return [image.numpy() for image in values.movedim(0, -1).contiguous()]


class MonocularDepth:
    """Estimates depth with Depth Pro (arXiv 2410.02073), metric Depth Anything V2 (2406.09414) or ZoeDepth
    (2302.12288).

    Frames are estimated independently, so each has its own error in scale. The network's image processor resizes the
    frames and post-processes the predictions:

    * Depth Pro predicts inverse depth and a field of view. If cameras are passed, their field of view replaces the
      predicted one.
    * Depth Anything V2 and ZoeDepth predict depth in meters. Depth Anything's networks for relative depth are not
      supported.

    Predictions are resized to the frames' size by nearest-neighbor sampling, so that no depths are averaged across an
    edge.

    Args:
        model: a ``DepthProForDepthEstimation``, ``DepthAnythingForDepthEstimation`` or ``ZoeDepthForDepthEstimation``,
            on the device to run on.
        processor: the model's image processor, that of transformers or one of ``mirage.depth.image_processors``.
        batch: number of frames per forward pass.

    Attributes:
        predicts_focal: whether the network predicts a focal length (Depth Pro with a field-of-view head).
        focal: (T,) float64, the focal lengths in pixels that the network predicted in the last call, of the frames'
            size; None if it was called with cameras or does not predict any.

    Raises:
        ValueError: the model is of another kind or for relative depth, or ``batch`` is less than 1.
    """

    def __init__(self, model: Any, processor: Any, *, batch: int = 1) -> None:
        _check_config(model.config)
        if batch < 1:
            raise ValueError(f"batch: expected at least 1, got {batch}")
        self.kind: str = model.config.model_type
        self.model, self.processor, self.batch = model.eval(), processor, batch
        self.name = self.kind
        self.predicts_focal = self.kind == "depth_pro" and bool(getattr(model.config, "use_fov_model", False))
        self.focal: Tensor | None = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch: int = 1,
    ) -> MonocularDepth:
        """Load a network from a folder. Nothing is downloaded.

        Args:
            folder: with the safetensors weights, config.json and preprocessor_config.json, as on the Hub.
            device: to run on.
            dtype: of the weights.
            batch: number of frames per forward pass.

        Raises:
            TypeError, ValueError: ``device`` is not a device of this machine, or ``batch`` not at least 1.
            DataError: weights or packages are missing; the message says what to download or install.
        """
        device, batch = check.device("device", device), check.integer("batch", batch, 1)
        folder = check_folder(folder, WEIGHTS["depth_pro"])
        try:
            from transformers import AutoConfig, AutoImageProcessor, AutoModelForDepthEstimation
        except IMPORT_ERRORS as error:
            raise missing_transformers(str(folder), "depth", error) from None
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            _check_config(config)
        except DataError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: {first_line(error)}") from None
        try:
            own = PROCESSORS.get(config.model_type)
            processor = own.load(folder) if own else AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model = AutoModelForDepthEstimation.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True
            )
            return cls(model.to(device), processor, batch=batch)
        except ImportError as error:
            raise missing_transformers(str(folder), "depth", error) from None
        except (OSError, ValueError) as error:
            weights = WEIGHTS[config.model_type]
            raise DataError(
                f"{folder}: expected weights and an image processor, got an incomplete folder ({first_line(error)}); "
                f"download them with 'hf download {weights} --local-dir FOLDER'"
            ) from None

    @torch.no_grad()
    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Estimate the depth of frames; see :meth:`mirage.depth.DepthEstimator.__call__`. Without cameras, a Depth Pro
        network that has no field-of-view head gives depth that is not metric."""
        count, size = check_frames(frames, cameras)
        images = to_images(frames)
        parts, metric, angles = [], True, []
        for start in range(0, count, self.batch):
            batch = images[start : start + self.batch]
            inputs = self.processor(images=batch, return_tensors="pt", input_data_format="channels_last")
            outputs = self.model(inputs["pixel_values"].to(self.model.device, self.model.dtype))
            # Some processors resample the prediction, which would lose precision in bfloat16.
            outputs.predicted_depth = outputs.predicted_depth.float()
            if self.kind == "depth_pro":
                self._set_field_of_view(outputs, None if cameras is None else cameras[start : start + self.batch])
                metric = metric and outputs.field_of_view is not None
                angles += [] if outputs.field_of_view is None else [outputs.field_of_view.double().reshape(-1).cpu()]
            parts.append(resize_depth(self._post_process(outputs, batch), size))
        half = None if cameras is not None or not angles else torch.cat(angles) * (math.pi / 360)
        self.focal = None if half is None else size[1] / (2 * torch.tan(half))
        if not parts:
            return make_estimate(frames.new_zeros(0, *size), metric=metric)
        return make_estimate(torch.cat(parts).to(frames.device), metric=metric)

    def _set_field_of_view(self, outputs: Any, cameras: Cameras | None) -> None:
        if cameras is not None:
            angle = 2 * torch.atan(cameras.size[1] / (2 * cameras.intrinsics[:, 0, 0].double()))
            outputs.field_of_view = (angle * (180 / math.pi)).to(outputs.predicted_depth)
        elif outputs.field_of_view is not None:
            outputs.field_of_view = outputs.field_of_view.float()

    def _post_process(self, outputs: Any, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> Tensor:
        """Depth (T, h, w) from the processor's post-processing. The requested sizes are those of the prediction, so
        that the processor does not interpolate between near and far."""
        sizes: dict[str, list[tuple[int, int]]] = {}
        if self.kind == "zoedepth":
            # The processor crops the padding at the resolution of the padded image, so resize the prediction to it.
            padded = self.processor(
                images=images[:1], return_tensors="pt", input_data_format="channels_last", do_resize=False
            )["pixel_values"]
            outputs.predicted_depth = resize_depth(outputs.predicted_depth, (padded.shape[2], padded.shape[3]))
            sizes["source_sizes"] = [(image.shape[0], image.shape[1]) for image in images]
        elif self.kind == "depth_pro":
            h, w = outputs.predicted_depth.shape[1:]
            sizes["target_sizes"] = [(h, w)] * len(images)
        results = self.processor.post_process_depth_estimation(outputs, **sizes)
        return torch.stack([result["predicted_depth"] for result in results])


def _check_config(config: Any) -> None:
    """Raise an error if a network is not supported."""
    kind = config.model_type
    if kind not in WEIGHTS:
        raise ValueError(f"model: expected one of {', '.join(WEIGHTS)}, got {kind}")
    if getattr(config, "depth_estimation_type", "metric") != "metric":
        raise ValueError(f"model: expected metric depth, such as {WEIGHTS[kind]}, got a network for relative depth")
