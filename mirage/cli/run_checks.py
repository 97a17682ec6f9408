# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the state of an unfinished run, whose files may say anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..depth.alignment import Alignment, Space
from ..errors import DataError
from .run_store import StoredRun

MAX_FRAMES = 1 << 24
_INFO: dict[str, type] = {
    "options": dict, "settings": dict, "fps": int, "frames": int, "real": dict, "memory": dict, "session": dict,
    "metrics": dict, "labels": dict,
}  # fmt: skip
_SESSION: dict[str, type] = {"frame": int, "chunks": int, "stamp": int, "prompt": str}
_METRICS: dict[str, type] = {
    "frames_done": int, "known_share": list, "seconds": dict, "background_seconds": dict, "comparisons": dict,
    "_points_written": list, "_carved": list, "_cell_fractions": list, "_alignments": list, "_psnr": dict,
}  # fmt: skip
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@contextmanager
def unpacking(path: Path) -> Iterator[None]:
    """Turn what a state raises that does not fit together into an error of one line.

    Args:
        path: the folder of the state.

    Raises:
        DataError: the state does not fit together.
    """
    try:
        yield
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"{path}: expected an unfinished run, got one without {error}") from None
    except (ValueError, TypeError, RuntimeError, AttributeError, IndexError, ArithmeticError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: expected an unfinished run, got one that does not fit together ({reason})") from None


def check_stored(stored: StoredRun) -> None:
    """Check that a state could be that of a run.

    Args:
        stored: the state.

    Raises:
        KeyError, TypeError, ValueError: it could not; the message names the field.
    """
    info, fixed, changing = stored.info, stored.fixed, stored.changing
    _check_types("info", info, _INFO)
    _check_types("session", info["session"], _SESSION)
    _check_types("metrics", info["metrics"], _METRICS)
    check.integer("fps", info["fps"], 1, 1000)
    frames = check.integer("frames", info["frames"], 1, MAX_FRAMES)
    done = check.integer("frames_done", info["metrics"]["frames_done"], 1, frames)
    check.integer("session.frame", info["session"]["frame"], 0, done)
    check.integer("session.chunks", info["session"]["chunks"], stored.chunks, stored.chunks)
    check.integer("session.stamp", info["session"]["stamp"], -(1 << 62), 1 << 62)
    _check_metrics(info["metrics"])
    dims: check.Dims = {"frames": frames}
    check.tensor("scene:image", fixed["scene:image"], (3, "H", "W"), dims)
    for name in info["real"]:
        check.tensor(f"scene:real.{name}", fixed[f"scene:real.{name}"], (3, "H", "W"), dims)
        check.integer(f"real.{name}", info["real"][name], 0, len(fixed["scene:keys.cam2world"]) - 1)
    check.tensor("cameras:intrinsics", fixed["cameras:intrinsics"], ("frames", 3, 3), dims)
    cameras = {name.removeprefix("cameras:"): tensor for name, tensor in fixed.items() if name.startswith("cameras:")}
    Cameras.from_tensors({**cameras, "size": (dims["H"], dims["W"])})
    check.tensor("known_at_start", changing["known_at_start"], ("h", "w"), dims, (torch.bool,))
    check.tensor("session:mask", changing["session:mask"], ("T", "h", "w"), {}, (torch.bool,))
    for name, tensor in {**fixed, **changing}.items():
        _check_tensor(name, tensor, info)


def _check_tensor(name: str, tensor: Tensor, info: dict[str, Any]) -> None:
    """Check one of the tensors of which a run may have any number; those of the memory are checked when it is made."""
    part, _, rest = name.partition(":")
    if part == "picture":
        if not re.fullmatch(r"\w+\.png", rest):  # the name of a file that will be written
            raise check.value_error(name, "the name of a PNG file", rest[:60])
        check.tensor(name, tensor, ("bytes",), {}, (torch.uint8,))
    elif part == "sheet":
        check.tensor(name, tensor, (3, "h", "w"), {}, (torch.uint8,))
        if not isinstance(info["labels"].get(rest), str):
            raise check.value_error(f"labels.{rest}", "a text", info["labels"].get(rest))
    elif part in ("scene", "session") and tensor.is_floating_point():
        if not rest.endswith(".depth") and not bool(tensor.isfinite().all()):
            raise check.value_error(name, "finite numbers", "others")
    elif part == "session" and rest not in ("mask", "generator"):
        raise check.type_error(name, "floats", tensor)


def _check_types(name: str, values: Any, types: dict[str, type]) -> None:
    if not isinstance(values, dict):
        raise check.type_error(name, "an object", values)
    for key in values:
        if key not in types:
            raise check.value_error(name, f"entries {', '.join(types)}", str(key)[:60])
    for key, kind in types.items():
        if type(values[key]) is not kind:
            raise check.type_error(f"{name}.{key}", kind.__name__, values[key])


def _check_metrics(metrics: dict[str, Any]) -> None:
    """Check that metrics are numbers, and that alignments also have their two texts."""
    fits = []
    for values in metrics["_alignments"]:
        if not isinstance(values, dict):
            raise check.type_error("metrics._alignments", "objects", values)
        fit = Alignment(**values)
        if fit.space not in get_args(Space):
            raise check.value_error("metrics._alignments.space", " or ".join(get_args(Space)), str(fit.space)[:60])
        if not isinstance(fit.reason, str):
            raise check.type_error("metrics._alignments.reason", "a text", fit.reason)
        fits.append(fit._asdict() | {"space": None, "reason": None})
    _check_numbers("metrics", {**metrics, "_alignments": fits})


def _check_numbers(name: str, value: Any) -> None:
    """Check that what metrics hold are numbers, in lists and objects; None for a number that is not finite."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_numbers(f"{name}.{key}"[:100], item)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(name, item)
    elif value is not None and not (isinstance(value, (int, float, bool)) and abs(value) <= 1e18):
        if isinstance(value, float):  # JSON of Python may have NaN and infinity, as a PSNR may be
            return
        raise check.type_error(name, "numbers", value)


def check_options(options: Any, defaults: dict[str, Any]) -> None:
    """Check that the options of a run have the types of the command line's.

    Args:
        options: as :func:`mirage.cli.run_options.pack_options` returned them.
        defaults: of the command line.

    Raises:
        TypeError, ValueError: they have not; the message names the option.
    """
    if not isinstance(options, dict):
        raise check.type_error("options", "an object", options)
    for name, value in options.items():
        if name == "digests":
            if not isinstance(value, dict):
                raise check.type_error("options.digests", "an object", value)
            continue
        if name not in defaults:
            raise check.value_error("options", "those of mirage generate", str(name)[:60])
        default = defaults[name]
        paths = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict) and not isinstance(item.get("path"), str) for item in paths):
            raise check.type_error(f"options.{name}", "a path", value)
        same = isinstance(value, (int, float)) and isinstance(default, (int, float))
        both_bool = isinstance(value, bool) == isinstance(default, bool)
        if default is not None and not (same and both_bool) and not isinstance(value, (type(default), dict)):
            raise check.type_error(f"options.{name}", type(default).__name__, value)
