# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.report [FOLDER] [--out ROOT]``: write RESULTS.md and the charts."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report import model_tables, plots, tables

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE / "RESULTS.template.md"
OPERATIONS = "operations"  # the files of pytest-benchmark, which name no kind
MAKERS: dict[str, Callable[[str, dict[str, Any]], list[str]]] = {
    maker.__name__: maker
    for maker in (
        tables.operations, tables.per_frame, tables.memories, tables.corridor, tables.completeness, tables.filters,
        tables.depth_drift, model_tables.closed_loop, model_tables.holes, model_tables.denoising_steps,
        model_tables.lora_place,
        model_tables.long_walk, model_tables.depth_guess, model_tables.nano_training, model_tables.control_input,
        model_tables.processes,
        tables.wan_full, tables.gpu,
    )
}  # fmt: skip


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Every ``*.json`` of a folder, by the name of the file."""
    results = {}
    for path in sorted(folder.glob("*.json")):
        try:
            results[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: expected JSON: {error}") from error
        if results[path.stem].get("kind", OPERATIONS) not in MAKERS:
            raise ValueError(f"{path}: expected the results of a benchmark ({', '.join(MAKERS)})")
    return results


def compose(results: dict[str, dict[str, Any]]) -> str:
    """The text of RESULTS.md: the template with the tables filled in."""

    def section(place: re.Match[str]) -> str:
        kind = OPERATIONS if place[1] == "per_frame" else place[1]
        found = {name: content for name, content in results.items() if content.get("kind", OPERATIONS) == kind}
        parts = [MAKERS[place[1]](name, content) for name, content in found.items()]
        return "\n".join("\n".join(lines).strip() + "\n" for lines in parts).strip() or "Not measured."

    return re.sub(r"\{\{(\w+)\}\}", section, TEMPLATE.read_text(encoding="utf-8"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Write RESULTS.md and the charts.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parent / "results", help="with the JSON files")
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder for RESULTS.md and results/*.png")
    args = parser.parse_args(arguments)
    try:
        results = load(args.folder)
    except ValueError as error:
        parser.error(str(error))
    text = compose(results)
    (args.out / "results").mkdir(parents=True, exist_ok=True)
    plots.draw_all(results, args.out / "results")
    (args.out / "RESULTS.md").write_text(text, encoding="utf-8")
    print(f"wrote {args.out / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
