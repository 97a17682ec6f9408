# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Shared by the studies: options, timing, and the files of results."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import atomic_write

from ..io.images import to_pil
from . import machine


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser of options with ``--out``.

    Args:
        module: name of the study.
        description: docstring of the study; its first line becomes the help.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m mirage.evaluation.{module}", description=(description or "").partition("\n")[0]
    )
    default = Path("out") / "evaluation"
    made.add_argument("--out", type=Path, default=default, metavar="DIR", help="for results (default: %(default)s)")
    return made


def write(folder: Path, kind: str, data: str, method: str, **content: Any) -> None:
    """Write ``folder/kind.json`` with the facts of the machine.

    Args:
        folder: is created when missing.
        kind: name of the study.
        data: one sentence about the input.
        method: one sentence about the method.
        content: the results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = {"kind": kind, "machine": machine.facts(), "data": data, "method": method, **content}
    with atomic_write(folder / f"{kind}.json") as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")


def save_image(path: Path, image: Tensor, width: int = 1400) -> None:
    """Write an image (3, H, W) as JPEG, at most so wide."""
    small = to_pil(image)
    small.thumbnail((width, 4 * width))
    with atomic_write(path) as partial:
        small.save(partial, format="JPEG", quality=78)


def medians(
    calls: dict[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 1,
    patience: float = math.inf,
    brief: float = 0.0,
) -> dict[str, float]:
    """Time several calls alternately, so that a change of the machine's speed affects all of them.

    Args:
        calls: by name.
        rounds: timed calls of each.
        warm_up: calls before those. A call that takes longer than ``patience`` needs no warm-up.
        patience: seconds; a call that took so long in total is not repeated after two rounds.
        brief: seconds; a call that takes less is made twice, and the second one counts: the call before it may have
            returned memory to the system, which has to be allocated again.

    Returns:
        The median of each call, in seconds.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    short = set()
    for turn in range(warm_up + rounds):
        for name, call in calls.items():
            if len(spent[name]) >= 2 and sum(spent[name]) >= patience:
                continue
            if name in short:
                call()
            begin = time.perf_counter()
            call()
            took = time.perf_counter() - begin
            if took < brief:
                short.add(name)
            if turn >= warm_up or took >= patience:
                spent[name].append(took)
    return {name: median(seconds) for name, seconds in spent.items()}


def touch_memory(gib: int) -> None:
    """Allocate and fill memory once: in a virtual machine the first use of a page waits for the host."""
    torch.empty(gib << 28, dtype=torch.float32, device="cpu").fill_(1)
