# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Made-up files of every kind that a report takes in. Their numbers mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MACHINE: dict[str, Any] = {
    "processor": "Abacus",
    "threads": 2,
    "instruction_sets": ["baseline", "avx2"],
    "torch": "9.9.0",
    "commit": "abc1234",
    "date": "2031-02-03",
}
SIGNED: dict[str, Any] = {"machine": MACHINE, "data": "A made-up walk.", "method": "Medians of made-up rounds."}


def memory_row(memory: str, chunk: int, timed: bool) -> dict[str, Any]:
    size = {"ours": 1.3 + 0.4 * chunk**0.5, "append-only": 5.6 * chunk, "RGB points": 47.0 * chunk}[memory]
    read = {"ours": 0.004, "append-only": 0.012 * chunk, "RGB points": 0.25 + 0.1 * chunk}[memory]
    row: dict[str, Any] = {"memory": memory, "chunk": chunk, "stored": 9000 * chunk, "cache_mib": size}
    row |= {"shrunk_mib": 0.8 * size, "history_mib": None if memory == "RGB points" else 0.2 * chunk}
    row |= {"read": read, "condition": 0.6 if memory == "RGB points" else 0.0, "write": 0.003}
    row["retrieve"] = {"ours": 0.001, "append-only": 0.2 * chunk, "RGB points": None}[memory]
    return row if timed else {**row, "read": None, "condition": None, "retrieve": None}


def memories() -> dict[str, Any]:
    runs = []
    for chunks, checked in ((5, range(1, 6)), (50, (1, 2, 3, 5, 10, 20, 30, 40, 50))):
        rows = [
            memory_row(memory, chunk, chunk in checked)
            for memory in ("ours", "append-only", "RGB points")
            for chunk in range(1, chunks + 1)
        ]
        run = {
            "name": f"{chunks} chunks",
            "chunks": chunks,
            "frames_per_chunk": 33,
            "latents_per_chunk": 9,
            "rows": rows,
        }
        runs.append(run)
    own = {"ours": 31.2, "append-only": 30.1, "RGB points": 29.4}
    runs[0]["psnr"] = {
        views: {memory: {"psnr": value - less, "known": 0.9 - less / 10} for memory, value in own.items()}
        for views, less in (("own", 0.0), ("later", 2.0))
    }
    runs[0]["codec_psnr"] = {"own": 33.0, "later": 32.5}
    runs[0]["compared"] = {"own": 0.88, "later": 0.61}
    runs[0]["completeness"] = {"own": {"known": 1.0, "behind": 0.001, "front": 0.086}}
    vae = {"size": [704, 1280], "frames": 33, "read": 0.9, "condition": 120.0}
    return {"kind": "memories", **SIGNED, "runs": runs, "vae": vae}


def bench(operation: str, scene: str, size: str, way: str, kind: str, median: float, **extra: Any) -> dict[str, Any]:
    info = {"operation": operation, "scene": scene, "size": size, "way": way, "kind": kind, **extra}
    stats = {"median": median, "iqr": median / 20, "rounds": 9}
    return {"group": f"{operation}, {scene}, {size}", "stats": stats, "extra_info": info}


POINTS = {"31,680 points": 31_680, "316,800 points": 316_800, "1,000,000 points": 1_000_000}


def operations(device: str = "CPU", ours: str = "cpp") -> dict[str, Any]:
    """Reads, builds, retrieval, the memory step, a rollout and an overhead; nothing is faster than ours."""
    found = []
    for scene, slower in (("room", 1.0), ("hololens", 0.7)):
        for size, count in POINTS.items():
            least, asked = 12.0 * count + 5e6, 60.0 * count
            stated = {"bytes": least, "operations": asked, "share_of_copy": 0.4}
            base = 2e-9 * count * slower + 2e-4
            found += [
                bench("splat", scene, size, ours, "ours", base, **stated),
                bench("splat", scene, size, "reference", "reference", base * 40),
                bench("splat", scene, size, "argsort", "method", base * 100 / slower),
                bench("build", scene, size, ours, "ours", 4 * base, bytes=400.0 * count, operations=40.0 * count),
                bench("build", scene, size, "reference", "reference", 40 * base),
                bench("build", scene, size, "torch.unique", "library", 15 * base),
                bench("build", scene, size, "Open3D", "library", 30 * base),
                bench("build", scene, size, "copy of the features", "bound", base),
            ]
        found += [
            bench("retrieve", scene, "900,000 points, 100 frames", ours, "ours", 0.003),
            bench("retrieve", scene, "900,000 points, 100 frames", "Python sets", "method", 9.0),
            bench("memory step", scene, "704x1280, 33 frames", ours, "ours", 0.02),
            bench("memory step", scene, "704x1280, 33 frames", "reference", "reference", 0.9),
            bench("rollout", scene, "480p, 81 frames", ours, "ours", 0.9, frames=81),
        ]
    found.append(bench("overhead", "room", "splat of 64 points into 8x8", ours, "ours", 1.4e-5))
    facts = {**MACHINE, "copy_bandwidth": 1.2e10, "peak": 1.5e11, "versions": {"torch": "9.9.0"}, "device": device}
    return {"machine_info": facts, "benchmarks": found}


def slower() -> dict[str, Any]:
    """A library that beats ours."""
    result = operations()
    size = "31,680 points"
    note = "it keeps no order"
    result["benchmarks"].append(bench("build", "room", size, "hash map", "library", 1e-4, note=note))
    return result


def corridor() -> dict[str, Any]:
    checked = (10, 100, 1000, 10_000)
    ours = [
        {"chunk": c, "rows": 1000 * c, "mib": 0.2 * c, "read": 6e-4, "first_read": 6e-4, "unculled": 6e-4 + 2e-6 * c}
        | {"culling": 1 + c / 300, "insert": 1e-3, "visible": 0.6}
        for c in checked
    ]
    appended = [
        {"chunk": c, "rows": 1000 * c, "mib": 0.4 * c, "insert": 5e-6 * c, "read": 1e-3 + 1e-6 * c} for c in (10, 100)
    ]
    names = ("read", "read_worst", "insert", "insert_worst", "culling", "culling_least")
    ratios = dict(zip(names, (1.02, 1.14, 1.4, 2.2, 19.2, 1.0), strict=True))
    return {"kind": "corridor", **SIGNED, "ratios": ratios, "voxel_cache": ours, "append_only": appended}


def forgetting() -> dict[str, Any]:
    kinds = (
        ("append-only", 0.0, "float32", False),
        ("append-only", 0.5, "float32", False),
        ("voxels of 5 cm", 0.0, "bfloat16", False),
        ("view rule", 0.65, "bfloat16", True),
        ("view rule", 0.65, "int8", False),
    )
    rows = [
        {"memory": memory, "extents": extents, "storage": storage, "rows": 40_000 - n, "nbytes": 8_000_000 // (n + 1)}
        | {"shrunk": 7_000_000 // (n + 1), "own": [1.0, 0.001, 0.086], "later": [0.732, 0.021, 0.07]}
        | {"again": 0 if memory == "view rule" else None, "default": default}
        for n, (memory, extents, storage, default) in enumerate(kinds)
    ]
    return {"kind": "forgetting", **SIGNED, "rows": rows}


def filters() -> dict[str, Any]:
    things = [
        {"thing": "cow", "filters": name, "points": points, "share": points / 7694, "lost": 0.018, "refused": 0.03}
        | {"carved": 159}
        for name, points in (("no filter", 7694), ("consistency and motion", 316), ("perfect masks", 0))
    ]
    stale = {"thing": 883, "left": 0, "others": 8204, "still": 8194, "anyway": 10}
    masks = [{"name": "cow", "cells": 176, "strict": 0, "nearest": 41}]
    sky = {"out": 0.98, "lost": 0.004}
    return {"kind": "filters", **SIGNED, "masks": masks, "sky": sky, "things": things, "stale": stale}


def depth_drift() -> dict[str, Any]:
    walks = [
        {"name": name, "late": {"cells": 100, "mean": mean, "median": mean, "95 %": mean, "worst frame": 2 * mean}}
        | {"refused": [], "visits": [[20, mean / 2], [60, mean]], "left": [[0, 1.0], [60, 1 + mean / 10]]}
        for name, mean in (("as it is", 10.6), ("aligned", 0.18))
    ]
    return {"kind": "depth_drift", **SIGNED, "drift": 1.01, "late_from": 60, "walks": walks}


def wan(size: str) -> dict[str, Any]:
    parts = {"read": 0.1, "retrieve": 0.1, "denoise": 9.0, "decode": 0.5, "depth": 0.1, "write": 0.2}
    ways = ("latent", "rgb_video", "rgb_frames")
    summary = {
        "denoise_step_ms": 0.45,
        "ms": dict.fromkeys(ways, parts),
        "shares": {way: {part: ms / 10 for part, ms in parts.items()} for way in ways},
        "chunk_ms": dict.fromkeys(ways, 10.0),
        "memory_share": dict.fromkeys(ways, 0.05),
        "memory_path_ratio": dict.fromkeys(ways[1:], 7.5),
        "read_ratio": dict.fromkeys(ways[1:], 180.0),
    }
    machine = {**MACHINE, "diffusers": "9.1", "gpu": "Abacus X"}
    device = "cuda" if size == "full" else "cpu"
    settings = {"size": size, "picture": [704, 1280], "chunks": 3}
    return {
        "kind": "wan_full",
        **SIGNED,
        "machine": machine,
        "device": device,
        "settings": settings,
        "summary": summary,
    }


def gpu(on_gpu: bool = True) -> dict[str, Any]:
    names = {"splat N=31,680 V=9": 11e-6, "culled read, 99,999,999 rows V=9": 111e-6}
    rows = [
        {"what": what, "backend": "cuda", "seconds": seconds, "goal": 12e-6, "nbytes": 1000, "how": "graph replay"}
        for what, seconds in names.items()
    ]
    machine = {**MACHINE, "triton": None, **({"gpu": "Abacus X", "driver": "1"} if on_gpu else {})}
    more = {"argsort": {"cells": 9, "not the nearest": 1, "mixed": 1}, "not measured": [], "checks": {"tests": "ok"}}
    return {"kind": "gpu", **SIGNED, "machine": machine, "copy_bandwidth": 4.3e12, "rows": rows, **more}


def every() -> dict[str, dict[str, Any]]:
    """Files of every kind by name."""
    makers = (memories, operations, corridor, forgetting, filters, depth_drift, gpu)
    return {**{make.__name__: make() for make in makers}, "wan_full": wan("full"), "wan_tiny": wan("tiny")}


def save(folder: Path, files: dict[str, dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder
