# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the command line: ``python -m mirage``, and the script ``mirage``.

It can be imported where optional packages are missing, and then says what to install.
"""

from __future__ import annotations

import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        The exit status: that of :func:`mirage.cli.main.main`, also if the imports are interrupted, or 2 if a package is
        missing or cannot be loaded.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["train"]:
        _leave_cores_to_workers()
    try:
        from .cli.main import main as run

        _note_missing_kernels(arguments)
        return run(argv)
    except ImportError as error:
        own = (error.name or "").startswith("mirage.")
        if own:  # a fault of this package, whose place the traceback shows
            raise
        print(f"mirage: error: {_reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mirage: interrupted", file=sys.stderr)
        return 130


def _leave_cores_to_workers() -> None:
    """Let OpenMP's threads wait for work without spinning for long; to be called before torch is imported.

    By default they spin for milliseconds, on the cores that the processes that read samples need. Between 3,000 and
    30,000 rounds a step takes as long as by default; with OMP_WAIT_POLICY=PASSIVE it takes 1.5 times as long.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _note_missing_kernels(arguments: list[str]) -> None:
    """Print a note if there are no native kernels, and why: a walk takes several times as long without them."""
    if not arguments or {"-h", "--help", "--version"} & set(arguments):
        return
    import mirage_kernels

    if not mirage_kernels.build_info():
        print(f"mirage: note: {mirage_kernels.backends()['cpp']}; PyTorch is used, which is slower", file=sys.stderr)


def _reason(error: ImportError) -> str:
    """Return in one line why an import failed, and what to do."""
    reason = " ".join(str(error).split())
    if "pip install" in reason:  # mirage.errors.missing_package
        return reason
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name.split('.')[0]} is missing ({reason}): pip install 'mirage-kernels[pipeline]'"
    return f"a package cannot be loaded ({reason}); reinstall it for this torch"


if __name__ == "__main__":
    sys.exit(main())
