# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the files must hold, and the check that says what is wrong with one that does not.

A schema is a type; a set of allowed words; ``[schema]``, a list; ``{name: schema}``, an object that has these names
(those that end in ``?`` may be absent) and may have others; ``{"*": schema}``, an object of any names; or a tuple of
alternatives, of which ``None`` is null.
"""

from __future__ import annotations

from typing import Any

NUMBER = float  # integers too, but no truth values
MEMORIES = ("ours", "append-only", "RGB points")
WAYS = ("latent", "rgb_video", "rgb_frames")  # of wan_full to remember
KINDS = ("ours", "reference", "method", "library", "bound", "variant")

MACHINE = {
    "processor": str,
    "threads": int,
    "instruction_sets": [str],
    "torch": str,
    "commit": str,
    "date": str,
}
OPERATIONS = {
    "machine_info": {
        **MACHINE,
        "copy_bandwidth": NUMBER,
        "peak": NUMBER,
        "versions": {"*": str},
        "device": str,
        "data?": str,
        "method?": str,
    },
    "benchmarks": [
        {
            "group": str,
            "stats": {"median": NUMBER, "iqr": NUMBER, "rounds": int},
            "extra_info": {
                "operation": str,
                "scene": str,
                "size": str,
                "way": str,
                "kind": set(KINDS),
                "bytes?": (NUMBER, None),
                "operations?": (NUMBER, None),
                "share_of_copy?": (NUMBER, None),
                "frames?": (int, None),
                "note?": (str, None),
            },
        }
    ],
}
SIGNED = {"machine": MACHINE, "data": str, "method": str}
SECONDS = (NUMBER, None)
FILES: dict[str, dict[str, Any]] = {
    "memories": {
        **SIGNED,
        "runs": [
            {
                "name": str,
                "chunks": int,
                "frames_per_chunk": int,
                "rows": [
                    {
                        "memory": set(MEMORIES),
                        "chunk": int,
                        "stored": int,
                        "cache_mib": NUMBER,
                        "shrunk_mib": NUMBER,
                        "history_mib": (NUMBER, None),
                        "read": SECONDS,
                        "condition": SECONDS,
                        "retrieve": SECONDS,
                        "write": SECONDS,
                    }
                ],
                "psnr?": ({"*": {"*": {"psnr": NUMBER, "known": (NUMBER, None)}}}, None),
                "codec_psnr?": ({"*": NUMBER}, None),
                "compared?": ({"*": NUMBER}, None),
                "completeness?": ({"*": {"known": NUMBER, "behind": NUMBER, "front": NUMBER}}, None),
            }
        ],
        "vae?": ({"size": [int], "frames": int, "read": NUMBER, "condition": NUMBER}, None),
    },
    "corridor": {
        **SIGNED,
        "ratios": dict.fromkeys(("read", "read_worst", "insert", "insert_worst", "culling", "culling_least"), NUMBER),
        "voxel_cache": [
            {
                "chunk": int,
                **dict.fromkeys(("rows", "mib", "read", "first_read", "unculled", "culling", "insert"), NUMBER),
            }
        ],
        "append_only": [{"chunk": int, "rows": NUMBER, "mib": NUMBER, "insert": NUMBER, "read": NUMBER}],
    },
    "forgetting": {
        **SIGNED,
        "rows": [
            {
                "memory": str,
                "extents": NUMBER,
                "storage": str,
                "rows": int,
                "nbytes": int,
                "shrunk": int,
                "own": [NUMBER],
                "later": [NUMBER],
                "again": (int, None),
                "default": bool,
            }
        ],
    },
    "filters": {
        **SIGNED,
        "masks": [{"name": str, "cells": int, "strict": int, "nearest": int}],
        "sky": {"out": NUMBER, "lost": NUMBER},
        "things": [
            {
                "thing": str,
                "filters": str,
                "points": int,
                "share": NUMBER,
                "lost": NUMBER,
                "refused": NUMBER,
                "carved": int,
            }
        ],
        "stale": {"thing": int, "left": int, "others": int, "still": int, "anyway": int},
    },
    "depth_drift": {
        **SIGNED,
        "drift": NUMBER,
        "late_from": int,
        "walks": [
            {
                "name": str,
                "late": {"cells": int, "mean": NUMBER, "median": NUMBER, "95 %": NUMBER, "worst frame": NUMBER},
                "refused": [int],
                "visits": [[NUMBER]],
                "left": [[NUMBER]],
            }
        ],
    },
    "wan_full": {
        **SIGNED,
        "machine": {**MACHINE, "diffusers": str},
        "device": {"cuda", "cpu"},
        "settings": {"size": {"full", "tiny"}, "picture": [int], "chunks": int},
        "summary": {
            "denoise_step_ms": NUMBER,
            "ms": {way: {"*": NUMBER} for way in WAYS},
            "shares": {way: {"*": NUMBER} for way in WAYS},
            "chunk_ms": dict.fromkeys(WAYS, NUMBER),
            "memory_share": dict.fromkeys(WAYS, NUMBER),
            "memory_path_ratio": dict.fromkeys(WAYS[1:], NUMBER),
            "read_ratio": dict.fromkeys(WAYS[1:], NUMBER),
        },
    },
    "gpu": {
        **SIGNED,
        "machine": {**MACHINE, "triton": (str, None)},
        "copy_bandwidth": NUMBER,
        "rows": [
            {
                "what": str,
                "backend": str,
                "seconds": NUMBER,
                "goal": (NUMBER, None),
                "nbytes": (NUMBER, None),
                "how": str,
            }
        ],
        "argsort": {"*": int},
        "not measured": [str],
        "checks": {"*": str},
    },
}


def check(value: Any, schema: Any, where: str) -> None:
    """Hold a value against a schema.

    Raises:
        ValueError: it is not of that form; the message says where.
    """
    if isinstance(schema, tuple):
        _check_alternatives(value, schema, where)
    elif isinstance(schema, list):
        _require(isinstance(value, list), where, "a list", value)
        for index, item in enumerate(value):
            check(item, schema[0], f"{where}[{index}]")
    elif isinstance(schema, dict):
        _check_object(value, schema, where)
    elif isinstance(schema, set):
        _require(isinstance(value, str) and value in schema, where, f"one of {', '.join(sorted(schema))}", value)
    else:
        fits = isinstance(value, (int, float) if schema is NUMBER else schema)
        names = {str: "a text", int: "a whole number", NUMBER: "a number", bool: "true or false"}
        _require(fits and (schema is bool or not isinstance(value, bool)), where, names[schema], value)


def _check_alternatives(value: Any, schema: tuple[Any, ...], where: str) -> None:
    if value is None and None in schema:
        return
    check(value, next(part for part in schema if part is not None), where)


def _check_object(value: Any, schema: dict[str, Any], where: str) -> None:
    _require(isinstance(value, dict), where, "an object", value)
    prefix = f"{where}." if where else ""
    if "*" in schema:
        for name, item in value.items():
            check(item, schema["*"], f"{prefix}{name}")
        return
    for key, part in schema.items():
        name = key.removesuffix("?")
        if name in value:
            check(value[name], part, f"{prefix}{name}")
        elif name == key:
            raise ValueError(f"{prefix}{name}: expected in the file, got none")


def _require(fits: bool, where: str, expected: str, value: Any) -> None:
    if not fits:
        got = repr(value)
        raise ValueError(f"{where or 'file'}: expected {expected}, got {got if len(got) <= 60 else got[:60] + '...'}")
