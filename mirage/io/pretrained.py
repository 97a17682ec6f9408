# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of pretrained weights, and the packages that networks need."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from ..errors import DataError, first_line

# What the import of a package raises that is missing, or that was built for another torch.
IMPORT_ERRORS = (ImportError, OSError, RuntimeError, AttributeError)


def check_folder(folder: str | Path, weights: str, setting: str | None = None) -> Path:
    """Check that a folder contains a downloaded model.

    Args:
        folder: folder of ``config.json`` and weights, in the layout of the Hugging Face Hub.
        weights: repository of suitable weights on the Hub; for the error message.
        setting: name of the setting that contains the folder, for the error message.

    Returns:
        The folder.

    Raises:
        DataError: the folder has no ``config.json``.
    """
    if not (Path(folder) / "config.json").is_file():
        name = "" if setting is None else f"{setting}: "
        raise DataError(
            f"{name}expected a folder with config.json, got {str(folder)!r}; download the weights with "
            f"'hf download {weights} --local-dir FOLDER' and pass that folder"
        )
    return Path(folder)


def torchvision_install(torch_version: str = torch.__version__) -> str:
    """Return the command that installs the torchvision that is built for a torch, and leaves the torch as it is.

    Args:
        torch_version: by default that of the installed torch.

    Example:
        >>> torchvision_install("2.13.0+cpu")
        "pip install --no-deps 'torchvision==0.28.*' --index-url https://download.pytorch.org/whl/cpu"
        >>> torchvision_install("2.10.0")
        "pip install --no-deps 'torchvision==0.25.*'"
    """
    release, _, build = torch_version.partition("+")
    minor = int(release.split(".")[1])
    has_index = re.fullmatch(r"cpu|cu\d+|rocm[\d.]+|xpu", build)
    index = f" --index-url https://download.pytorch.org/whl/{build}" if has_index else ""
    return f"pip install --no-deps 'torchvision==0.{minor + 15}.*'{index}"


def missing_transformers(user: str, extra: str, error: Exception) -> DataError:
    """Build the error for transformers, or a package that it needs, that is missing or cannot be loaded.

    Args:
        user: the folder or the setting that needs it.
        extra: extra of ``mirage-kernels`` that installs transformers.
        error: what the import raised.

    Returns:
        The error, to be raised by the caller. Its message is one line, and says what to install.
    """
    # a torchvision for another torch fails on its operators (torchvision::nms), or on a symbol of its binary
    reason = " ".join(str(error).split())[:200]
    if "torchvision" in reason.lower():
        return DataError(
            f"{user}: needs a torchvision built for torch {torch.__version__}; install it with "
            f"{torchvision_install()} ({reason})"
        )
    return DataError(
        f"{user}: needs transformers; install it with pip install 'mirage-kernels[{extra}]' ({first_line(error)})"
    )
