# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The command line ``mirage``."""

from __future__ import annotations

import argparse
import sys

from mirage_kernels import __version__

from .generate import add_generate
from .remember import add_remember
from .render import add_render

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
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line. Every command sets ``run``, which takes the options and returns a summary."""
    parser = argparse.ArgumentParser(
        prog="mirage",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mirage {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    add_generate(commands)
    add_remember(commands)
    add_render(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        The exit status: 0 on success, 2 after an error, 130 after an interrupt.
    """
    args = build_parser().parse_args(argv)
    try:
        summary = args.run(args)
    except (ValueError, OSError) as error:  # DataError is a ValueError; a full disk or a read-only folder is an OSError
        print(f"mirage: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mirage: interrupted; no output was written", file=sys.stderr)
        return 130
    print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
