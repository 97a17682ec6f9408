# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The command line ``mirage``."""

from __future__ import annotations

import argparse
import re
import sys
import time

from mirage_kernels import __version__

from ..errors import DataError, PartlyFailedError
from .launchers import is_launched
from .messages import show_warnings_in_a_line, warn
from .signals import Terminated, raise_on_signals

_DESCRIPTION = "Video world models with a latent spatial memory."
_EPILOG = """\
examples:
  A video from one photo, out and back; depth is guessed:
    mirage generate --image photo.jpg

  The options of a command, with their defaults:
    mirage generate --help

exit codes:
  0    success
  2    an option or a file cannot be used, or a package is missing; one line says what was expected
  130  interrupted with Ctrl-C
  143  terminated (SIGTERM)
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line. Every command sets ``run``, which takes the options and returns a summary."""
    # They import torch, which takes seconds: in reach of what catches Ctrl-C.
    from .data import add_data
    from .evaluate import add_eval
    from .export import add_export
    from .generate import add_generate
    from .remember import add_remember
    from .render import add_render
    from .train import add_train
    from .view import add_view
    from .worldscore import add_worldscore

    parser = argparse.ArgumentParser(
        prog="mirage",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mirage {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    add_generate(commands)
    add_remember(commands)
    add_render(commands)
    add_view(commands)
    add_worldscore(commands)
    add_eval(commands)
    add_data(commands)
    add_train(commands)
    add_export(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        The exit status: 0 on success, 2 after an error, 130 after an interrupt, 143 after SIGTERM (128 plus the number
        of the signal).
    """
    since = time.perf_counter()
    try:
        with raise_on_signals(), show_warnings_in_a_line():
            _check_not_empty(sys.argv[1:] if argv is None else argv)
            args = _parse(build_parser(), argv)
            args.since = since  # for the time that commands report
            summary = _run(args)
    except (ValueError, OSError) as error:  # DataError is a ValueError; a full disk or a read-only folder is an OSError
        print(f"mirage: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not (reason := _out_of_memory(error)):
            raise
        print(f"mirage: error: out of memory{reason}; use a smaller --height, --width or --chunk", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mirage: interrupted", file=sys.stderr)
        return 130
    except Terminated as error:
        print(f"mirage: ended by {error}", file=sys.stderr)
        return 128 + error.number
    print(summary)
    return 0


def _parse(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """Parse the arguments; where an option was left out before a file, name the option."""
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        option = {"generate": "--image", "render": "--memory"}.get(args.command)
        is_file = option is not None and not unknown[0].startswith("-")
        hint = f"; is {option} missing before {unknown[0]}?" if is_file else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return args


def _check_not_empty(argv: list[str]) -> None:
    """Refuse empty values: a variable of the shell that is not set would select the current folder, or nothing."""
    for before, value in zip(["", *argv], argv, strict=False):
        name, _, given = value.partition("=") if value.startswith("--") else (before, "", value)
        if not given.strip() and (value != name or "=" in value) and not name.endswith(("prompt", "actions")):
            option = name if name.startswith("-") else "arguments"
            raise DataError(f"{option}: expected a value, got an empty one; is a variable of the shell not set?")


def _run(args: argparse.Namespace) -> str:
    """Run the command. Under a launcher of several processes, jobs that fail are a warning: when a process ends with an
    error, launchers end the others in the middle of their work."""
    try:
        summary: str = args.run(args)
    except PartlyFailedError as error:
        if not is_launched():
            raise
        warn(str(error))
        return error.summary
    return summary


def _out_of_memory(error: MemoryError | RuntimeError) -> str:
    """The size that could not be allocated, in words; empty if this is not why the error was raised."""
    text = " ".join(str(error).split())
    if not isinstance(error, MemoryError) and not re.search(r"out of memory|can't allocate memory|alloc_cpu", text):
        return ""
    size = re.search(r"tried to allocate (\d+) bytes|[Tt]ried to allocate ([\d.]+ [KMG]iB)", text)
    if size is None:
        return " (an allocation failed)"
    return f" (tried to allocate {size[2] or f'{int(size[1]) / 2**20:.0f} MiB'})"


if __name__ == "__main__":
    sys.exit(main())
