# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads weights from files and folders, with one-line errors for missing, damaged or unsuitable ones."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from diffusers import ConfigMixin
from torch import Tensor

from mirage_kernels import read_safetensors

from ...errors import DataError, first_line, reading
from .presets import WAN
from .released_keys import raise_first

__all__ = ["is_on_hub", "load_strict", "reach_hub", "read_tensors", "require_pipeline", "require_transformer"]

MAX_NESTS = 8  # nested dicts of a file of torch.save
HUB_TIMEOUT = 10.0  # seconds until the Hub counts as unreachable
_WEIGHTS = ("*.safetensors", "*.bin")
# Arguments of from_pretrained that determine where files are loaded from.
_HUB_SETTINGS = (
    "subfolder", "revision", "token", "cache_dir", "force_download", "local_files_only", "proxies", "local_dir",
)  # fmt: skip


class _Config(ConfigMixin):  # type: ignore[misc]
    config_name = "config.json"


def read_tensors(path: str | Path, what: str, nests: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file.

    Args:
        path: a safetensors file, or a file of ``torch.save`` (``.pt``, ``.pth``, ``.ckpt``, ``.bin``), which is
            unpickled with ``weights_only=True``. Its tensors may be in nested dicts.
        what: the expected content, for error messages: ``"an adapter"``.
        nests: keys of nested dicts to descend into. Tensors outside these dicts are ignored with a warning.

    Returns:
        The tensors by name, on the CPU, and the metadata of the safetensors header.

    Raises:
        DataError: the file is missing or damaged, or holds something else than tensors.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file; expected {what}")
    with reading(path, what):
        if path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
            _check_archive(path)
            tensors = _flat(torch.load(path, map_location="cpu", weights_only=True), path, what, nests)
            metadata: dict[str, str] = {}
        else:
            tensors, metadata = read_safetensors(path)
        for name, tensor in tensors.items():
            _check_weights(f"{path}: {name}", tensor)
    return tensors, metadata


def _check_weights(name: str, tensor: Tensor) -> None:
    """Check that a tensor holds finite floats.

    Raises:
        DataError: it does not.
    """
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise DataError(f"{name}: expected a dense tensor, got another one")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():  # an expanded number, of any shape
        raise DataError(f"{name}: expected a tensor with memory of its own, got {tuple(tensor.shape)}")
    # Of integers, only single numbers: some files of LoRA have alpha as one.
    if not tensor.is_floating_point() and (tensor.ndim or tensor.is_complex() or tensor.dtype == torch.bool):
        raise DataError(f"{name}: expected floats, got {str(tensor.dtype).removeprefix('torch.')}")
    if not bool((tensor.float() if tensor.element_size() == 1 else tensor).isfinite().all()):
        raise DataError(f"{name}: expected finite numbers, got NaN or infinity")


def _check_archive(path: Path) -> None:
    """Check that a file of ``torch.save`` is not compressed: torch would allocate what it is inflated to."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
        if inflated > path.stat().st_size:
            raise ValueError("it is compressed, which torch.save does not do")


def _flat(tree: Any, path: Path, what: str, nests: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of the innermost nested dict."""
    left_out: list[str] = []
    depth = 0
    while isinstance(tree, dict) and (nest := next((name for name in nests if isinstance(tree.get(name), dict)), "")):
        left_out += [str(name) for name, value in tree.items() if name != nest and isinstance(value, Tensor | dict)]
        tree, depth = tree[nest], depth + 1
        if depth > MAX_NESTS:  # a dict of a file may hold itself
            raise DataError(f"{path}: expected {what} in at most {MAX_NESTS} nested dicts, got more")
    if not isinstance(tree, dict):
        raise DataError(f"{path}: expected {what}, got {type(tree).__name__}")
    for name, value in tree.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DataError(f"{path}: {str(name)[:60]}: expected a tensor, got {type(value).__name__}")
    if left_out:
        warnings.warn(f"{path}: ignored everything besides {what}: {', '.join(left_out)}", stacklevel=4)
    return tree


def load_strict(load: Callable[..., Any], path: str, **kwargs: Any) -> Any:
    """Call a ``from_pretrained`` of diffusers and check that the files held exactly the model's tensors.

    diffusers itself initializes missing tensors randomly, and ignores unexpected ones.

    Args:
        load: the method ``from_pretrained`` of a model class.
        path: a folder, or a model's name on the Hub.
        kwargs: passed on to ``load``.

    Returns:
        The model.

    Raises:
        DataError: a tensor is missing, unexpected or of another shape, or the folder cannot be read.
    """
    try:
        model, info = load(path, **{**kwargs, "output_loading_info": True})
    except (OSError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"{path}: the transformer cannot be loaded: {first_line(error)}") from None
    problems = [f"{name}: expected a tensor, got none" for name in sorted(info["missing_keys"])]
    problems += [f"{name}: expected a tensor of the model, got an unknown name" for name in info["unexpected_keys"]]
    try:
        raise_first(problems)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return model


def require_pipeline(path: str) -> None:
    """Check that a path is a folder with a diffusers pipeline. A name on the Hub is not checked.

    Raises:
        DataError: it is not; the message says what to download and where to put it.
    """
    if not is_on_hub(path) and not (Path(path) / "model_index.json").is_file():
        got = "a folder without that file" if Path(path).is_dir() else "no such folder"
        raise DataError(
            f"{path}: expected a folder with model_index.json, got {got}; download the weights with "
            f"'hf download {WAN} --local-dir {path}'"
        )


def is_on_hub(path: str) -> bool:
    """Whether a path is a name on the Hub (``owner/name``) rather than a local path."""
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).exists()


def reach_hub(path: str, file: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a model on the Hub can be loaded, with a single request.

    diffusers itself repeats the request for every file, which takes half a minute for each without a connection.

    Args:
        path: a model's name on the Hub.
        file: a file of the model, to find it in the local cache.
        settings: the arguments of ``from_pretrained``.

    Returns:
        Arguments to change: ``local_files_only=True`` if the Hub cannot be reached but the cache has the model.

    Raises:
        DataError: the model is neither in the cache nor can it be downloaded.
    """
    places = {name: settings[name] for name in ("cache_dir", "revision") if settings.get(name) is not None}
    is_cached = isinstance(huggingface_hub.try_to_load_from_cache(path, file, **places), str)
    if settings.get("local_files_only") or huggingface_hub.constants.HF_HUB_OFFLINE:
        problem = "downloads are turned off by local_files_only or HF_HUB_OFFLINE"
    else:
        try:
            huggingface_hub.HfApi().model_info(
                path, revision=settings.get("revision"), timeout=HUB_TIMEOUT, token=settings.get("token")
            )
            return {}
        except Exception as error:  # of an HTTP library that depends on the version of huggingface_hub
            problem = f"the Hub cannot be reached or refuses it ({first_line(error)})"
    if is_cached:
        return {"local_files_only": True}
    raise DataError(
        f"{path}: expected a folder, or a model in the local cache or on the Hub; it is not in the cache, and {problem}"
    )


def require_transformer(
    path: str, names: Sequence[str], settings: Mapping[str, Any], *, what: str | None = None, fix: str | None = None
) -> str:
    """Check that a folder holds the configuration and the weights of a transformer, in diffusers' layout.

    Args:
        path: a folder, or a model's name on the Hub.
        names: class names of the transformers that are accepted.
        settings: the arguments of ``from_pretrained``.
        what: the expected content, for error messages; by default the transformer of Wan2.2.
        fix: what to do about it, for error messages; by default what to download, and where to put it.

    Returns:
        The class name of the transformer.

    Raises:
        DataError: the folder, its config.json or its weights are missing, or the transformer is of another class; the
            message says how to mend it.
    """
    folder = Path(path) / (settings.get("subfolder") or "")
    what, fix = what or "the transformer of Wan2.2-TI2V-5B", fix or _how_to_download(folder)
    on_hub = is_on_hub(path)
    if not on_hub and not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with {what}, got no such folder; {fix}")
    for missing, patterns in (("no config.json", ("config.json",)), ("no weights", _WEIGHTS)):
        if not on_hub and not any(file for pattern in patterns for file in folder.glob(pattern)):
            raise DataError(f"{folder}: expected {what}, got a folder with {missing}; {fix}")
    try:
        where = {name: settings[name] for name in _HUB_SETTINGS if name in settings}
        config = _Config.load_config(path, **where)
    except OSError as error:
        raise DataError(f"{folder}: expected {what}, got an error: {first_line(error)}; {fix}") from None
    name = str(config.get("_class_name"))
    if name not in names:
        got = "a config.json without _class_name" if config.get("_class_name") is None else name
        raise DataError(f"{folder}: expected {' or '.join(names)}, got {got}")
    return name


def _how_to_download(folder: Path) -> str:
    # The files land in a subfolder `transformer` of the folder that is downloaded to.
    target = folder.parent if folder.name == "transformer" else folder
    command = f"download it with \"hf download {WAN} --include 'transformer/*' --local-dir {target}\""
    return command if folder == target / "transformer" else f"{command} and pass {target / 'transformer'}"
