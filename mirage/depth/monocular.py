# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Networks of transformers that estimate metric depth from one picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..errors import DataError, first_line
from ..geometry.grids import resize_depth
from ..io.pretrained import check_folder
from .estimator import DepthEstimate, check_frames, make_estimate

# model_type of the configuration: weights of that kind
WEIGHTS = {
    "depth_pro": "apple/DepthPro-hf",
    "depth_anything": "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf",
    "zoedepth": "Intel/zoedepth-nyu-kitti",
}


def to_pictures(frames: Tensor) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Frames (3, T, H, W), 0 to 1, as T pictures (H, W, 3) of bytes."""
    values = (frames.detach().float().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    return [np.ascontiguousarray(picture.numpy()) for picture in values.movedim(0, -1)]


class MonocularDepth:
    """Depth Pro (arXiv 2410.02073), Depth Anything V2 for metric depth (2406.09414) or ZoeDepth (2302.12288).

    Pictures pass through the network's own image processor, which brings them to sizes that it takes, and its results
    through that processor's post-processing:

    * Depth Pro gives inverse depth for a field of view of its own guess; the processor turns it into depth. Where a
      camera is given, its field of view takes the guess's place.
    * Depth Anything V2 and ZoeDepth give depth in metres. Networks of Depth Anything for relative depth, which give
      inverse depth up to scale and shift, are refused.

    Results come back to the frames' size by picking, never by mixing near and far. Frames are estimated one by one, so
    each has a scale of its own.

    Args:
        model: of class ``DepthProForDepthEstimation``, ``DepthAnythingForDepthEstimation`` or
            ``ZoeDepthForDepthEstimation``, on the device that it is to run on.
        processor: its image processor.
        batch: frames that pass through at once.
    """

    def __init__(self, model: Any, processor: Any, *, batch: int = 1) -> None:
        _check_config(model.config)
        if batch < 1:
            raise ValueError(f"batch: expected at least 1, got {batch}")
        self.kind: str = model.config.model_type
        self.model, self.processor, self.batch = model.eval(), processor, batch
        self.name = self.kind

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch: int = 1,
    ) -> MonocularDepth:
        """Load a network from a folder; nothing is downloaded.

        Args:
            folder: of weights as safetensors with their config.json and preprocessor_config.json, as the hub has them.
            device: to run on.
            dtype: of the weights.
            batch: frames that pass through at once.

        Raises:
            DataError: saying what to install or to download.
        """
        folder = check_folder(folder, WEIGHTS["depth_pro"])
        try:
            from transformers import AutoConfig, AutoImageProcessor, AutoModelForDepthEstimation
        except ImportError as error:
            raise DataError(f"{folder}: needs transformers (pip install 'mirage-kernels[depth]'): {error}") from None
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            _check_config(config)
        except DataError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: {first_line(error)}") from None
        try:
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model = AutoModelForDepthEstimation.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True
            )
            return cls(model.to(device), processor, batch=batch)
        except (OSError, ValueError) as error:
            weights = WEIGHTS[config.model_type]
            raise DataError(
                f"{folder}: expected weights with their image processor, as 'hf download {weights} --local-dir FOLDER' "
                f"fetches them: {first_line(error)}"
            ) from None

    @torch.no_grad()
    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """See :class:`mirage.depth.DepthEstimator`. Depth is metric, but for Depth Pro without its head for the field
        of view where no cameras are given."""
        count, size = check_frames(frames, cameras)
        pictures = to_pictures(frames)
        parts, metric = [], True
        for start in range(0, count, self.batch):
            some = pictures[start : start + self.batch]
            inputs = self.processor(images=some, return_tensors="pt", input_data_format="channels_last")
            outputs = self.model(inputs["pixel_values"].to(self.model.device, self.model.dtype))
            # Some processors resample again, which bfloat16 would coarsen.
            outputs.predicted_depth = outputs.predicted_depth.float()
            if self.kind == "depth_pro":
                self._set_field_of_view(outputs, None if cameras is None else cameras[start : start + self.batch])
                metric = metric and outputs.field_of_view is not None
            parts.append(resize_depth(self._post_process(outputs, some), size))
        if not parts:
            return make_estimate(frames.new_zeros(0, *size), metric=metric)
        return make_estimate(torch.cat(parts).to(frames.device), metric=metric)

    def _set_field_of_view(self, outputs: Any, cameras: Cameras | None) -> None:
        if cameras is not None:
            angle = 2 * torch.atan(cameras.size[1] / (2 * cameras.intrinsics[:, 0, 0].double()))
            outputs.field_of_view = (angle * (180 / math.pi)).to(outputs.predicted_depth)
        elif outputs.field_of_view is not None:
            outputs.field_of_view = outputs.field_of_view.float()

    def _post_process(self, outputs: Any, pictures: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> Tensor:
        """Depth (T, h, w) by the processor's own post-processing, kept from resampling by asking for sizes that are
        there already."""
        sizes: dict[str, list[tuple[int, int]]] = {}
        if self.kind == "zoedepth":
            # It removes the margin that it added, which it does at the pictures' size.
            whole = self.processor(
                images=pictures[:1], return_tensors="pt", input_data_format="channels_last", do_resize=False
            )["pixel_values"]
            outputs.predicted_depth = resize_depth(outputs.predicted_depth, (whole.shape[2], whole.shape[3]))
            sizes["source_sizes"] = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        elif self.kind == "depth_pro":
            h, w = outputs.predicted_depth.shape[1:]
            sizes["target_sizes"] = [(h, w)] * len(pictures)
        results = self.processor.post_process_depth_estimation(outputs, **sizes)
        return torch.stack([result["predicted_depth"] for result in results])


def _check_config(config: Any) -> None:
    """Raise where a network of that configuration cannot be used, here or at all."""
    kind = config.model_type
    if kind not in WEIGHTS:
        raise ValueError(f"model: expected one of {', '.join(WEIGHTS)}, got {kind}")
    if getattr(config, "depth_estimation_type", "metric") != "metric":
        raise ValueError(f"model: expected one of metric depth, such as {WEIGHTS[kind]}, got one of relative depth")
    if kind == "depth_anything":
        return
    # The image processor of Depth Pro and the post-processing of ZoeDepth have no other implementation.
    try:
        import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # one that was built for another torch raises the latter two
        raise DataError(
            f"{kind}: needs torchvision for the torch that is installed (pip install 'mirage-kernels[depth]'): "
            f"{first_line(error)}"
        ) from None
