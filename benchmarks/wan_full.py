# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The cost of the memory relative to the diffusion model: ``python -m benchmarks.wan_full``.

Wan2.2-TI2V-5B with the adapter of the release, random weights in bfloat16, 704x1280, 33 frames per chunk, on a GPU.
Without a GPU, a tiny configuration on the CPU, which only shows that the program runs. Needs diffusers, transformers
and accelerate; downloads nothing. The parts of a chunk are described in :mod:`benchmarks.wan_chunk`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import report

NEEDED = ("diffusers", "transformers", "accelerate", "tqdm", "av", "PIL")
INSTALL = "pip install 'diffusers>=0.41' 'transformers>=4.57' 'accelerate>=1.0' tqdm av pillow"
MIB = 2**20
NAMES = {
    "latent": "latent memory",
    "rgb_video": "RGB points, 33 frames as a video",
    "rgb_frames": "RGB points, 9 separate frames",
}
PARTS = ("read", "encode", "retrieve", "denoise", "decode", "depth", "write")


def missing() -> str | None:
    """What has to be installed, or None."""
    names = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"expected {', '.join(names)}, got none: {INSTALL}" if names else None


def check_memory(needed: dict[str, int], device: str) -> str:
    """One line about the memory that is needed.

    Raises:
        ValueError: the GPU has not enough memory for the weights.
    """
    parts = ", ".join(f"{name} {nbytes / MIB:,.1f}" for name, nbytes in needed.items())
    line = f"memory: about {sum(needed.values()) / MIB:,.1f} MiB ({parts})"
    if device == "cuda":
        free = torch.cuda.mem_get_info()[0]
        if needed["weights"] > free:
            expected = f"{needed['weights'] / MIB:,.1f} MiB for the weights"
            raise ValueError(f"GPU memory: expected {expected}, got {free / MIB:,.1f} free")
        line += f"; {free / MIB:,.1f} MiB are free"
    return line


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    from mirage.rollout import CHUNK

    m, summary, size = result["machine"], result["summary"], result["settings"]["size"]
    where = m["gpu"] if result["device"] == "cuda" else f"{m['processor']}, {m['threads']} threads"
    size_text = "x".join(str(side) for side in result["settings"]["image_size"])
    model = "Wan2.2-TI2V-5B with the adapter of the release" if size == "full" else "A tiny configuration"
    lines = [
        f"{model}, random weights, bfloat16, {size_text}, {CHUNK} frames per chunk; {where}, torch {m['torch']}, "
        f"diffusers {m['diffusers']}, commit {m['commit']}, {m['date']}. Medians over "
        f"{result['settings']['chunks']} chunks.",
        "",
    ]
    if size == "tiny":
        lines[:0] = [
            "**A tiny configuration: it only shows that the program runs, and has no figures of the model.**",
            "",
        ]
    lines += [
        f"| part of a chunk | {' | '.join(f'{NAMES[memory]}, ms | share' for memory in NAMES)} |",
        f"|---|{'---:|---:|' * len(NAMES)}",
    ]
    for part in PARTS:
        figures = [(summary["ms"][memory].get(part), summary["shares"][memory].get(part)) for memory in NAMES]
        cells = ["|" if ms is None else f"{ms:.2f} | {share:.3%}" for ms, share in figures]
        steps = f", 20 steps of {summary['denoise_step_ms']:.2f} ms" if part == "denoise" else ""
        lines.append(f"| {part}{steps} | {' | '.join(cells)} |")
    sums = " | ".join(f"{summary['chunk_ms'][memory]:.2f} | 100%" for memory in NAMES)
    lines.append(f"| the chunk | {sums} |")
    lines += ["", *conclusions(summary), ""]
    return "\n".join(lines)


def conclusions(summary: dict[str, Any]) -> list[str]:
    """The share of the memory, and the comparison with RGB points."""
    lines = [f"* The memory (read, retrieve, depth, write) takes {summary['memory_share']['latent']:.3%} of the chunk."]
    for memory, ratio in summary["memory_path_ratio"].items():
        share, read = summary["memory_share"][memory], summary["read_ratio"][memory]
        lines.append(
            f"* With {NAMES[memory]}, the memory takes {share:.3%} of the chunk ({ratio:.2f}x the latent memory); read "
            f"and encode alone take {read:.2f}x the time of the latent read."
        )
    return lines


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Build the models, measure, and return the result."""
    import diffusers

    from benchmarks import wan_chunk, wan_models
    from mirage.rollout import CHUNK

    models = wan_models.describe(args.size)
    parameters = wan_models.count_parameters(models)
    print("parameters:", ", ".join(f"{name} {count:,}" for name, count in parameters.items()))
    frames = 1 + (CHUNK - 1) // 4 * (args.warm_up + args.chunks)
    needed = wan_models.estimate_bytes(models, frames)
    print(check_memory(needed, args.device), flush=True)
    pipe = wan_models.build(models, args.device)
    measured, stored = wan_chunk.measure(
        pipe, models.size.image_size, chunks=args.chunks, warm_up=args.warm_up, steps=args.steps, budget=args.budget
    )
    settings = {
        "size": args.size, "image_size": models.size.image_size, "frames": CHUNK, "dtype": "bfloat16",
        "steps measured": args.steps, "chunks": len(measured), "warm-up": args.warm_up,
    }  # fmt: skip
    nbytes: dict[str, Any] = {"estimate": needed}
    if args.device == "cuda":
        nbytes["peak"] = torch.cuda.max_memory_allocated()
    return {
        "kind": "wan_full",
        "machine": {**report.facts(args.device), "diffusers": diffusers.__version__},
        "device": args.device,
        "data": "A synthetic relief; a camera that pans out and back.",
        "method": f"Medians over {len(measured)} chunks, after {args.warm_up} to warm up; random weights.",
        "settings": settings,
        "parameters": parameters,
        "bytes": nbytes,
        "stored": stored,
        "summary": wan_chunk.summarize(measured),
        "measured": measured,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wan_full", description=(__doc__ or "").splitlines()[0].split(":")[0]
    )
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--size", choices=["full", "tiny"], help="default: full on a GPU, tiny without one")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if on_gpu else "cpu")
    parser.add_argument("--chunks", type=int, default=5, help="to measure (default: 5)")
    parser.add_argument("--warm-up", type=int, default=2, help="chunks before those, at least 2 (default: 2)")
    parser.add_argument(
        "--steps", type=int, default=20, help="denoising steps to run; the result is for 20 (default: 20)"
    )
    parser.add_argument("--budget", type=float, default=1800, help="seconds after which no new chunk starts")
    parser.add_argument("--out", type=Path, default=Path("out/wan"), help="folder for wan_full.json and wan_full.md")
    args = parser.parse_args()
    args.size = args.size or ("full" if args.device == "cuda" else "tiny")
    for name, minimum in (("chunks", 1), ("warm_up", 2), ("steps", 2)):
        if getattr(args, name) < minimum:
            parser.error(f"--{name.replace('_', '-')}: expected at least {minimum}, got {getattr(args, name)}")
    if args.device == "cuda" and not on_gpu:
        parser.error("--device: expected a GPU for cuda, got none")
    if args.size == "full" and args.device == "cpu":
        parser.error("--size: expected a GPU for full, got none (tiny runs on a CPU)")
    if absent := missing():
        parser.error(absent)
    if args.size == "tiny":
        print("a tiny configuration, which only shows that the program runs", flush=True)
    try:
        result = run(args)
    except (ImportError, ValueError) as error:
        parser.error(f"{error} (needs {INSTALL})" if isinstance(error, ImportError) else str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "wan_full.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "wan_full.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
