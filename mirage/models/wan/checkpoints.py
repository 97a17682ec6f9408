# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders of weights: what is read of them, and what is said of those that cannot be."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import DataError, first_line
from .presets import WAN
from .released_keys import raise_first

__all__ = ["load_whole", "read_tensors", "require_pipeline", "require_transformer"]

_WEIGHTS = ("*.safetensors", "*.bin")
# Arguments of from_pretrained that say where to look.
_HUB_SETTINGS = (
    "subfolder", "revision", "token", "cache_dir", "force_download", "local_files_only", "proxies", "local_dir",
)  # fmt: skip


class _Config(ConfigMixin):  # type: ignore[misc]
    config_name = "config.json"


def read_tensors(path: str | Path, what: str, nests: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and the text in its header.

    Args:
        path: a safetensors file; or one of ``torch.save`` (``.pt``, ``.pth``, ``.ckpt``, ``.bin``), which may hold its
            tensors in dicts within dicts. It is unpickled as weights only.
        what: is expected, for errors: ``"an adapter"``.
        nests: names of such dicts. Tensors beside them are left out with a warning.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
            return _flat(torch.load(path, map_location="cpu", weights_only=True), path, what, nests), {}
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, file.metadata() or {}
    except DataError:
        raise
    except (SafetensorError, OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: expected {what}, got a damaged file ({first_line(error)})") from None


def _flat(tree: Any, path: Path, what: str, nests: Sequence[str]) -> dict[str, Tensor]:
    """The innermost of the nested dicts that hold tensors by name."""
    left_out: list[str] = []
    while isinstance(tree, dict) and (nest := next((name for name in nests if isinstance(tree.get(name), dict)), "")):
        left_out += [str(name) for name, value in tree.items() if name != nest and isinstance(value, Tensor | dict)]
        tree = tree[nest]
    if not isinstance(tree, dict):
        raise DataError(f"{path}: expected {what}, got {type(tree).__name__}")
    for name, value in tree.items():
        if not isinstance(value, Tensor):
            raise DataError(f"{path}: {name}: expected a tensor, got {type(value).__name__}")
    if left_out:
        warnings.warn(f"{path}: left out what is beside {what}: {', '.join(left_out)}", stacklevel=4)
    return tree


def load_whole(load: Callable[..., Any], path: str, **kwargs: Any) -> Any:
    """What a ``from_pretrained`` of diffusers loads, where it finds every tensor of the model and no other.

    diffusers itself makes up the tensors that are missing, and leaves out those that are too many.

    Raises:
        DataError: a tensor is missing, unknown or of another shape, or the folder cannot be read.
    """
    try:
        model, info = load(path, **{**kwargs, "output_loading_info": True})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a transformer, got: {first_line(error)}") from None
    problems = [f"{name}: expected a tensor, got none" for name in sorted(info["missing_keys"])]
    problems += [f"{name}: expected a tensor of the model, got a name that is none" for name in info["unexpected_keys"]]
    try:
        raise_first(problems)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return model


def require_pipeline(path: str) -> None:
    """Check that a path, unless it is a name on the Hub, is a folder of a pipeline.

    Raises:
        DataError: it is none; says what to download and where to put it.
    """
    if not _on_hub(path) and not (Path(path) / "model_index.json").is_file():
        got = "one without" if Path(path).is_dir() else "none"
        raise DataError(
            f"{path}: expected a folder with model_index.json, got {got}; download the weights there: "
            f"hf download {WAN} --local-dir {path}"
        )


def _on_hub(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).exists()


def require_transformer(path: str, names: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Check that a folder holds one of some kinds of transformers, in diffusers' layout, with weights.

    Args:
        path: of the folder, or a model's name on the Hub.
        names: of the classes to be met.
        settings: as given to ``from_pretrained``.

    Returns:
        The one it is.

    Raises:
        DataError: it is none; says what to download and where to put it.
    """
    folder = Path(path) / (settings.get("subfolder") or "")
    what = "the weights of Wan2.2-TI2V-5B's transformer"
    fix = f"put the folder transformer of {WAN} there: hf download {WAN} --include 'transformer/*'"
    on_hub = _on_hub(path)
    if not on_hub and not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with {what}, got none; {fix}")
    for missing, patterns in (("no config.json", ("config.json",)), ("no weights", _WEIGHTS)):
        if not on_hub and not any(file for pattern in patterns for file in folder.glob(pattern)):
            raise DataError(f"{folder}: expected {what}, got {missing}; {fix}")
    try:
        where = {name: settings[name] for name in _HUB_SETTINGS if name in settings}
        config = _Config.load_config(path, **where)
    except OSError as error:
        raise DataError(f"{folder}: expected {what}, got: {first_line(error)}; {fix}") from None
    name = str(config.get("_class_name"))
    if name not in names:
        raise DataError(f"{folder}: expected {' or '.join(names)}, got {name}")
    return name
