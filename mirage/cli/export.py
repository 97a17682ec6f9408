# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage export``: weights in the layout of the released checkpoints, and the files of a small model."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ..errors import DataError, first_line
from .model_options import DTYPES

_DESCRIPTION = """\
Write an adapter or LoRA that 'mirage train' has made in the layout of the released checkpoints, for other programs. The
settings that it was trained with have no place there. Of a run with the stages base and adapter, write the files of a
small model, which 'mirage generate --model FOLDER' takes.
"""
_EXAMPLES = """\
examples:
  The adapter of a run, in half of its size:
    mirage export runs/release/adapter/adapter.safetensors --out released.safetensors --dtype bfloat16

  A small model with two files of LoRA, in half of its size:
    mirage export runs/small --out small --lora night=runs/night/lora/pytorch_lora_weights.safetensors \\
        rain=runs/rain/lora/pytorch_lora_weights.safetensors
"""


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "export",
        help="write weights in the released layout",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    files = "adapter.safetensors or pytorch_lora_weights.safetensors"
    parser.add_argument("weights", type=Path, metavar="PATH", help=f"{files}, or the folder of a run")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="the new file or folder (no default: required)"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the new files (default: that of the weights; float16 for a small model)"
    )
    parser.add_argument(
        "--lora",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="LoRA of a small model, by the name that --lora of mirage generate takes (default: none)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file (default: refuse)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Write the file, and return a summary."""
    try:
        from ..models.wan.export import write_released
    except ImportError as error:
        raise DataError(
            f"mirage export needs diffusers; install it with pip install 'mirage-kernels[wan]' ({first_line(error)})"
        ) from None
    if args.weights.is_dir():
        return _write_folder(args)
    if args.lora:
        raise DataError(f"--lora: expected the folder of a small model, got the file {args.weights}")
    if args.out.suffix != ".safetensors":
        raise DataError(f"--out: expected a name that ends in .safetensors, got {args.out}")
    if args.out.exists() and not args.overwrite:
        raise DataError(f"--out: {args.out} exists; pass --overwrite to replace it")
    names = write_released(args.weights, args.out, None if args.dtype is None else DTYPES[args.dtype])
    return f"{args.out}: {len(names)} tensors, {names[0]} and so on"


def _write_folder(args: argparse.Namespace) -> str:
    from ..models.nano.packing import write_small_model

    loras = {}
    for text in args.lora:
        name, equals, path = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name) or name == "adapter":
            raise DataError(f"--lora: expected NAME=FILE, got {text[:80]!r}")
        loras[name] = Path(path)
    if args.out.resolve() == args.weights.resolve():
        raise DataError(f"--out: expected another folder than {args.weights}")
    if args.out.is_file() or (args.out.is_dir() and any(args.out.iterdir()) and not args.overwrite):
        raise DataError(f"--out: expected a new folder, got {args.out}; pass --overwrite to replace files in a folder")
    sizes = write_small_model(args.weights, args.out, loras, DTYPES[args.dtype or "float16"])
    return f"{args.out}: {', '.join(sizes)}; {sum(sizes.values()) / 1e6:.2f} MB"
