# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Loads networks of Hugging Face transformers from local folders, and caches them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from ..errors import DataError, first_line
from ..io.pretrained import IMPORT_ERRORS, check_folder, missing_transformers


class Network:
    """A network and the processor for its inputs and outputs."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model.eval(), processor

    @property
    def kind(self) -> str:
        """The ``model_type`` of the configuration."""
        return str(self.model.config.model_type)


@lru_cache(maxsize=4)
def load(setting: str, folder: str, weights: str, auto_class: str, device: torch.device) -> Network:
    """Load a network from a folder. Nothing is downloaded. The last four networks are cached.

    Args:
        setting: name of the setting that the folder belongs to, for error messages.
        folder: with the safetensors weights, config.json and the processor's files, as on the Hub.
        weights: name on the Hub of suitable weights, for error messages.
        auto_class: class of transformers, such as ``"AutoModelForSemanticSegmentation"``.
        device: to run on.

    Raises:
        DataError: weights or packages are missing; the message says what to download or install.
    """
    check_folder(folder, weights, setting)
    try:
        import transformers
        from transformers import AutoProcessor

        model_class = getattr(transformers, auto_class)
    except IMPORT_ERRORS as error:
        raise missing_transformers(setting, "filters", error) from None
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model = model_class.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except ImportError as error:
        raise missing_transformers(setting, "filters", error) from None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(
            f"{setting}: expected weights and a processor in {folder}, got an incomplete folder ({first_line(error)}); "
            f"download them with 'hf download {weights} --local-dir FOLDER'"
        ) from None
    return Network(model.to(device), processor)
