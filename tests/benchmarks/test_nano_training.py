# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The curves of training runs."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.nano_training import LOGS, main, read_log
from benchmarks.report import plots
from benchmarks.report.model_tables import nano_training


def test_steps_that_a_resumed_run_repeats_count_once(tmp_path: Path) -> None:
    entries = [
        {"step": 50, "loss": 3.0},
        {"step": 100, "loss": 2.0},
        {"step": 100, "validation_loss": 1.23456},
        {"step": 50, "loss": 3.5},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert read_log(tmp_path / "log.jsonl") == {"training": [(50, 3.5), (100, 2.0)], "validation": [(100, 1.235)]}


def test_the_curves_are_written_and_drawn(tmp_path: Path) -> None:
    for folder in LOGS.values():
        (tmp_path / folder).mkdir(parents=True)
        lines = [json.dumps({"step": step, "loss": 1 / step, "validation_error": 0.5}) for step in range(1, 30)]
        (tmp_path / folder / "log.jsonl").write_text("\n".join(lines))
    main([str(tmp_path), "--out", str(tmp_path)])
    content = json.loads((tmp_path / "nano_training.json").read_text())
    assert list(content["stages"]) == list(LOGS)
    plots.draw_all({"nano_training": content}, tmp_path)
    assert (tmp_path / "nano_training.png").stat().st_size > 1000
    assert nano_training("nano_training", content)[-1].endswith("(results/nano_training.png)")
