# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Options of ``mirage eval novel-view``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..evaluation.view_memories import MEMORIES
from .clip_options import add_clip_options


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command, but for those of the codec."""
    add_clip_options(parser, out="out/views", size=(352, 528), frames=1000)
    parser.add_argument(
        "--apart",
        type=int,
        default=64,
        metavar="N",
        help="frames between what is remembered and the target, at least; by the numbers at the ends of file names, if "
        "there are any (default: 64)",
    )
    parser.add_argument(
        "--memories",
        nargs="+",
        choices=MEMORIES,
        default=list(MEMORIES),
        metavar="NAME",
        help=f"to compare: {', '.join(MEMORIES)} (default: all)",
    )
    parser.add_argument(
        "--depth-model", type=Path, metavar="FOLDER", help="depth network for realestate10k:, or nano (default: none)"
    )
