# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage train``: trains the memory adapter and LoRA."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import DataError, first_line
from ..models.nano.files import is_small_model
from .messages import assign, note
from .output_lock import OutputLock
from .signals import stop_on_signals

_DESCRIPTION = """\
Train the stages of a recipe on shards of 'mirage data build': base (a small backbone from nothing), adapter, lora. A
run that was stopped goes on from its last checkpoint when the command is started again.

Each stage has a folder in OUT with checkpoints, log.jsonl, pictures of held-out clips and its result:
base/transformer, adapter/adapter.safetensors, lora/pytorch_lora_weights.safetensors.
"""
_EXAMPLES = """\
examples:
  Adapter and LoRA for Wan2.2, on the GPU of this machine:
    mirage train release --data shards --model WAN --out runs/release

  Values of a recipe:
    mirage train paper --data shards --model WAN --out runs/a --set adapter.learning_rate=1e-4 adapter.steps=5000

  Several GPUs or machines, as 'accelerate config' has described them:
    accelerate launch -m mirage train release --data shards --model WAN --out runs/release
"""


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "train",
        help="train the memory adapter and LoRA",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="release, paper, or a TOML file")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="shards (no default: required)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the run (no default: required)")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="backbone in diffusers' layout, or Wan2.2 with "
                        "its autoencoder for pictures (default: what the stage base has trained)")  # fmt: skip
    parser.add_argument(
        "--adapter",
        type=Path,
        metavar="FILE",
        help="adapter to start from, or for the stage lora alone (default: none)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="values of the recipe to replace, such as adapter.steps=1000 (default: none)",
    )
    parser.add_argument("--tracker", metavar="NAME", help="tracker of accelerate for the curves, such as tensorboard, "
                        "besides log.jsonl (default: none)")  # fmt: skip
    parser.add_argument("--cpu", action="store_true", help="train on the CPU (default: on a GPU if there is one)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Train, and return a summary."""
    try:
        from ..training.loop import TrainingStoppedError
        from ..training.recipe import read_recipe
        from ..training.run import make_accelerator, train
    except ImportError as error:
        raise DataError(f"mirage train needs accelerate, diffusers and peft; install them with "
                        f"pip install 'mirage-kernels[train]' ({first_line(error)})") from None  # fmt: skip
    recipe = read_recipe(args.recipe, args.set)
    if args.adapter is not None and not args.adapter.is_file():
        raise DataError(f"{args.adapter}: no such file; expected an adapter (.safetensors)")
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"--out: expected a folder, got the file {args.out}")
    args.out.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator(recipe, args.out, args.tracker, cpu=args.cpu)
    lock = OutputLock(args.out) if accelerator.is_main_process else None
    results: dict[str, Any] = {}
    try:
        with stop_on_signals(note if accelerator.is_main_process else lambda _: None) as should_stop:
            try:
                results = train(
                    recipe, args.data, args.out, model=args.model, adapter=args.adapter, accelerator=accelerator,
                    note=note, should_stop=should_stop,
                )  # fmt: skip
            except TrainingStoppedError as error:
                note(f"{error}; start the command again to go on")
    finally:
        if lock is not None:
            lock.release()
    return _summary(args, results)


def _summary(args: argparse.Namespace, results: dict[str, Any]) -> str:
    lines = [f"{args.out / stage}: {result['steps']} steps" for stage, result in results.items()]
    is_pipeline = args.model is not None and (args.model / "model_index.json").is_file()
    is_small = is_small_model(args.out) and args.model is None
    files = []
    if "adapter" in results and not is_small:
        files.append(assign("--adapter", args.out / "adapter" / "adapter.safetensors"))
    if "lora" in results:
        files.append(assign("--lora", args.out / "lora" / "pytorch_lora_weights.safetensors"))
    if is_small or (files and is_pipeline):
        model = assign("--model", args.out if is_small else args.model)
        lines.append(f"use them: mirage generate {' '.join([model, *files])} --image FILE")
    return "\n".join(lines)
