# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of pretrained weights."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError


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
