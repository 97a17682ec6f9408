# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage generate --list``: many walks, by one process or many, which skip what is finished."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from ..errors import DataError
from .job_list import Job
from .messages import note, warn
from .output_files import RESUME, read_status
from .recording_options import parse_part
from .signals import raise_again

_INPUTS = ("image", "scene", "geometry", "memory")


def add_list_options(group: Any, what: str) -> None:
    """Add ``--list`` and ``--shard`` to an argument group.

    Args:
        group: of a parser.
        what: a line of the list is, in the help.
    """
    group.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help=f"JSON Lines: an object with the options of a {what} on each line, such as "
        '{"image": "room.jpg", "trajectory": "pan"}, and "name" for its folder in --out. What is finished is skipped, '
        "and what is unfinished goes on (default: none)",
    )
    group.add_argument(
        "--shard",
        metavar="I/N",
        help="do every N-th of the list, from the I-th on (default: as 'accelerate launch' or 'torchrun' numbers its "
        "processes; else all)",
    )


def find_shard(args: argparse.Namespace, *, listed: bool | None = None) -> tuple[int, int]:
    """The part of the list that this process does, from 0, and the number of parts.

    Args:
        args: the options.
        listed: whether there is a list; by default, if there is ``--list``.

    Raises:
        DataError: ``--shard`` is no part, or given without a list.
    """
    listed = args.list is not None if listed is None else listed
    if args.shard is not None:
        if not listed:
            raise DataError("--shard: expected --list as well, got none")
        part, count = parse_part("--shard", args.shard)
        return part - 1, count
    if not listed or "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return 0, 1
    rank, world = os.environ["RANK"], os.environ["WORLD_SIZE"]
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise DataError(f"RANK: expected a number below WORLD_SIZE in the environment, got {rank[:20]} of {world[:20]}")
    return int(rank), int(world)


def check_inputs(args: argparse.Namespace) -> None:
    """Check that what walks start from is in the list alone.

    Raises:
        DataError: an option of the command line gives it.
    """
    for name in _INPUTS:
        if getattr(args, name):
            raise DataError(f"--{name}: expected in the lines of --list, got it on the command line")


def generate_list(
    args: argparse.Namespace,
    jobs: list[Job],
    generate: Callable[[argparse.Namespace], Any],
    resume: Callable[[argparse.Namespace], Any],
) -> str:
    """Generate the walks of a list, each in a folder of its own.

    Args:
        args: the options of the command line.
        jobs: the walks.
        generate: generates one.
        resume: goes on with one.

    Returns:
        A summary of one line.

    Raises:
        DataError: some could not be generated. The others are finished.
    """
    shard, count = find_shard(args)
    chosen, failed, done = jobs[shard::count], [], 0
    for job in tqdm(chosen, unit="walk", desc="walks"):
        raise_again()
        out = args.out / job.name
        status = read_status(out)
        if status is not None and status.get("finished", True) and not args.overwrite:
            continue
        try:
            if (out / RESUME).is_dir() and not args.overwrite:
                resume(argparse.Namespace(**{**vars(job.args), "resume": out}))
            else:
                generate(argparse.Namespace(**{**vars(job.args), "out": out}))
            done += 1
        except (DataError, OSError) as error:
            warn(f"{job.name}: {error}")
            failed.append(f"{job.name}: {error}")
    if failed:
        raise DataError(f"--list: {len(failed)} of {len(chosen)} walks could not be generated, the first one because "
                        f"of {failed[0]}; the others are finished")  # fmt: skip
    if done < len(chosen):
        note(f"{len(chosen) - done} of {len(chosen)} walks were finished already")
    return f"{args.out}: {done} walks generated"
