# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of pretrained weights."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError


def check_folder(folder: str | Path, weights: str, setting: str | None = None) -> Path:
    """Check that a folder holds a downloaded network.

    Args:
        folder: with config.json and the weights, as the hub has them.
        weights: name on the hub of weights that would fit; the error says how to download them.
        setting: name of the setting that the folder was given by, for the error.

    Returns:
        The folder.

    Raises:
        DataError: the folder or its config.json does not exist.
    """
    if not (Path(folder) / "config.json").is_file():
        name = "" if setting is None else f"{setting}: "
        raise DataError(
            f"{name}expected a folder with config.json, got {str(folder)!r}; download the weights with "
            f"'hf download {weights} --local-dir FOLDER' and pass that folder"
        )
    return Path(folder)
