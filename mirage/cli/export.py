# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage export``: weights in the layout of the released checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import DataError, first_line
from .model_options import DTYPES

_DESCRIPTION = """\
Write an adapter or LoRA that 'mirage train' has made in the layout of the released checkpoints, for other programs. The
settings that it was trained with have no place there.
"""
_EXAMPLES = """\
examples:
  The adapter of a run, in half of its size:
    mirage export runs/release/adapter/adapter.safetensors --out released.safetensors --dtype bfloat16
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
    parser.add_argument("weights", type=Path, metavar="FILE", help=files)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the new file (no default: required)")
    parser.add_argument("--dtype", choices=DTYPES, help="of the new file (default: that of the weights)")
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
    if args.out.suffix != ".safetensors":
        raise DataError(f"--out: expected a name that ends in .safetensors, got {args.out}")
    if args.out.exists() and not args.overwrite:
        raise DataError(f"--out: {args.out} exists; pass --overwrite to replace it")
    names = write_released(args.weights, args.out, None if args.dtype is None else DTYPES[args.dtype])
    return f"{args.out}: {len(names)} tensors, {names[0]} and so on"
