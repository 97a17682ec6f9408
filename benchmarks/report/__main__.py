# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.report [FILE or FOLDER ...] [--out ROOT] [--readme README.md]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.report import figures, readme, text
from benchmarks.report.links import REPOSITORY
from benchmarks.report.read import read
from mirage.errors import DataError

HERE = REPOSITORY / "benchmarks"


def write(inputs: list[Path], root: Path, readme_path: Path | None) -> list[Path]:
    """Make a report; every file is made beside its place first and moved there when all of them are whole.

    Returns:
        What changed.

    Raises:
        DataError: a file cannot be used; then nothing has changed.
    """
    results = read(inputs)
    made: dict[Path, bytes] = {root / "RESULTS.md": text.compose(results, root).encode()}
    if readme_path is not None:
        if not readme_path.is_file():
            raise DataError(f"{readme_path}: expected a file, got none")
        old = readme_path.read_text(encoding="utf-8")
        made[readme_path] = readme.fill(old, results, root, readme_path).encode()
    (root / "results").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=root) as folder:
        figures.draw(results, Path(folder))
        made |= {root / "results" / path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return replace(made)


def replace(made: dict[Path, bytes]) -> list[Path]:
    """Write files whole, all under temporary names beside their places, then rename each. What is the same stays."""
    changed = {path: content for path, content in made.items() if not path.exists() or path.read_bytes() != content}
    partial = {path: path.with_name(f".{path.name}.partial") for path in changed}
    try:
        for path, content in changed.items():
            partial[path].write_bytes(content)
        for path, name in partial.items():
            name.replace(path)
    finally:
        for name in partial.values():
            name.unlink(missing_ok=True)
    return list(changed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="From JSON files of benchmarks to RESULTS.md with its figures."
    )
    parser.add_argument(
        "inputs", nargs="*", type=Path, default=[HERE / "results"], metavar="FILE or FOLDER",
        help="JSON files, or folders of them (default: benchmarks/results)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=HERE, metavar="ROOT", help="for RESULTS.md and results/*.png")
    parser.add_argument("--readme", type=Path, metavar="README.md", help="make the numbers between its marks anew")
    args = parser.parse_args(arguments)
    try:
        changed = write(args.inputs, args.out, args.readme)
    except DataError as error:
        parser.error(str(error))
    print("\n".join(f"wrote {path}" for path in changed) or "nothing has changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
