# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Networks of transformers, loaded once from folders of weights that are already here."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from ..errors import DataError, first_line
from ..io.pretrained import check_folder


class Network:
    """A network and the processor that prepares what goes in and reads what comes out."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model.eval(), processor

    @property
    def kind(self) -> str:
        """transformers' name of the architecture."""
        return str(self.model.config.model_type)


@lru_cache(maxsize=4)
def load(setting: str, folder: str, weights: str, auto_class: str, device: torch.device) -> Network:
    """A network by one of transformers' auto classes. Nothing is downloaded.

    Args:
        setting: what to name in errors.
        folder: of weights as safetensors, with config.json and the processor's files, as the hub has them.
        weights: what to download where the folder is not such.
        auto_class: such as ``"AutoModelForSemanticSegmentation"``.
        device: to run on.

    Raises:
        DataError: saying what to install or to download.
    """
    check_folder(folder, weights, setting)
    try:
        import transformers
        from transformers import AutoProcessor

        model_class = getattr(transformers, auto_class)
    except (ImportError, AttributeError) as error:
        raise DataError(f"{setting}: needs transformers 5 (pip install 'mirage-kernels[filters]'): {error}") from None
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model = model_class.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except ImportError as error:
        raise DataError(
            f"{setting}: needs a package that is not there (pip install torchvision): {first_line(error)}"
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(
            f"{setting}: expected weights with their processor in {folder}, as 'hf download {weights} --local-dir "
            f"FOLDER' fetches them: {first_line(error)}"
        ) from None
    return Network(model.to(device), processor)
