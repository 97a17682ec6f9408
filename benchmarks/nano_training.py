# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Collects the curves of the runs that make mirage-nano (``make nano``) into one file, for the report.

``python -m benchmarks.nano_training [RUNS]`` reads the logs and writes ``nano_training.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mirage.evaluation import _studies

LOGS = {"backbone": "nano/base", "memory adapter": "nano/adapter", "LoRA night": "night/lora", "depth network": "depth"}
KEYS = {
    "loss": "training",
    "validation_loss": "validation",
    "validation_error": "validation",
}  # in the log, in the file
METHOD = (
    "The loss of the stage on a batch every so many steps, and on samples that are kept out of the training, for which "
    "the running average of the weights is used. For the depth network, validation is the mean error of the logarithm."
)


def read_log(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves of a log, as points (step, loss).

    A run that was resumed may have repeated steps, of which the last count.
    """
    curves: dict[str, dict[int, float]] = {}
    for line in path.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        for key in KEYS.keys() & entry.keys():
            curves.setdefault(KEYS[key], {})[entry["step"]] = float(f"{entry[key]:.4g}")
    return {name: sorted(points.items()) for name, points in curves.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nano_training", description="Collect training curves.")
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="folder (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks", "results"), help="folder (default: %(default)s)")
    args = parser.parse_args(arguments)
    stages = {name: read_log(args.runs / folder / "log.jsonl") for name, folder in LOGS.items()}
    _studies.write(args.out, "nano_training", "The data of mirage-nano's model card.", METHOD, stages=stages)


if __name__ == "__main__":
    main()
