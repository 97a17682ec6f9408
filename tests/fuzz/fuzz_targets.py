# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that is fuzzed: one target for each reader, and for each group of public operations."""

from __future__ import annotations

import functools
import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fuzz_cache
import fuzz_cameras
import fuzz_files
import fuzz_layers
import fuzz_operations
import fuzz_operators
from fuzz_input import Input
from reader_files import KINDS

HERE = Path(__file__).resolve().parent
REGRESSIONS = HERE / "regressions"  # a folder for each target, with inputs that showed a fault once


class Target(NamedTuple):
    """What is fuzzed.

    Attributes:
        name: letters, digits and dashes.
        run: takes bytes; whatever it raises is a fault.
        seeds: makes the first inputs.
        mutate: changes an input, with the given random numbers; None for any change of bytes.
        max_len: most bytes of an input.
        memory: bytes that a run may take.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, random.Random], bytes] | None
    max_len: int
    memory: int


def random_inputs() -> list[bytes]:
    """Return inputs of fixed random bytes. In the first one, all choices are the usual ones."""
    pick = random.Random(0)
    return [b"", *(pick.randbytes(length) for length in (4, 16, 64, 64, 256, 256))]


def _of_operation(name: str, function: Callable[[Input], None]) -> Target:
    def run(data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about sparse, quantized and nested tensors
            function(Input(data))

    return Target(name, run, random_inputs, None, 400, 2 << 30)


def _of_files(name: str) -> Target:
    def run(data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fuzz_files.read(name, data)

    seeds, mutate = (functools.partial(function, name) for function in (fuzz_files.seeds, fuzz_files.mutated))
    return Target(f"file-{re.sub(r'[^a-z0-9]+', '-', name.lower())}", run, seeds, mutate, 1 << 15, 3 << 29)


OPERATIONS: dict[str, Callable[[Input], None]] = {
    "splat": fuzz_operations.fuzz_splat,
    "layers": fuzz_layers.fuzz_layers,
    "clouds": fuzz_layers.fuzz_clouds,
    "occlusion": fuzz_layers.fuzz_occlusion,
    "unproject": fuzz_operations.fuzz_unproject,
    "pool-depth": fuzz_operations.fuzz_pool_depth,
    "visible": fuzz_operations.fuzz_visible,
    "overlap": fuzz_operations.fuzz_overlap,
    "group-voxels": fuzz_operations.fuzz_group_voxels,
    "check": fuzz_operations.fuzz_check,
    "cameras": fuzz_cameras.fuzz_constructors,
    "camera-methods": fuzz_cameras.fuzz_methods,
    "camera-forms": fuzz_cameras.fuzz_forms,
    "cache": fuzz_cache.fuzz_cache,
    "cache-state": fuzz_cache.fuzz_state,
    "operators": fuzz_operators.fuzz_operators,
}
TARGETS = {
    target.name: target
    for target in (
        *(_of_operation(name, function) for name, function in OPERATIONS.items()),
        *(_of_files(name) for name in KINDS),
    )
}


def regressions(name: str) -> list[Path]:
    """Return the files with inputs of a target that showed a fault once."""
    return sorted(path for path in (REGRESSIONS / name).glob("*") if path.is_file())
