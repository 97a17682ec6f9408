# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage generate`` with filters, a mask and a depth network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_depth
from PIL import Image
from stopped_runs import stopped_after_a_chunk

from mirage.cli.main import main
from mirage.cli.run_checks import check_stored
from mirage.cli.run_store import RunStore
from mirage.filters import EdgeFilter, Filters
from mirage.io.files import read_image

SIZE = (64, 96)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(tmp_path / "room.png")
    depth = np.full(SIZE, 3, np.float32)
    depth[:, 45:] = 1.5
    np.save(tmp_path / "depth.npy", depth)
    mask = np.zeros(SIZE, np.uint8)
    mask[:8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "K.txt").write_text("90 90 48 32")
    (tmp_path / "edges.json").write_text(Filters([EdgeFilter(max_masked=0.0)]).to_json())
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    options = (
        f"generate --image {folder}/room.png --depth {folder}/depth.npy --intrinsics {folder}/K.txt --actions l*8 "
    )
    return [*f"{options} --block 8 --chunk 5 --out {folder}/out --overwrite".split(), *more]


def read_metrics(folder: Path) -> dict[str, object]:
    metrics: dict[str, object] = json.loads((folder / "out" / "metrics.json").read_text())
    return metrics


def test_filters_and_mask_exclude_cells(folder: Path) -> None:
    assert main(arguments(folder)) == 0
    plain = read_metrics(folder)
    assert plain["filters"] == []
    assert "cells" not in plain
    assert main(arguments(folder, "--filters", f"{folder}/edges.json", "--mask", f"{folder}/mask.png")) == 0
    made = read_metrics(folder)
    assert made["filters"] == Filters([EdgeFilter(max_masked=0.0)]).to_list()
    assert made["depth"] == "memory"
    cells = made["cells"]
    assert isinstance(cells, dict)
    assert sum(cells.values()) == pytest.approx(1)
    assert cells["edge"] > 0
    assert cells["excluded"] == pytest.approx(12 / 96 / 3, abs=1e-4), (
        "the upper row of cells of the first of three latents"
    )
    sheet = read_image(folder / "out" / "contact_sheet.png")
    assert main(arguments(folder)) == 0
    assert read_image(folder / "out" / "contact_sheet.png").shape[1] < sheet.shape[1], "one row less"
    assert main(arguments(folder, "--filters", "default")) == 0


def test_a_network_estimates_depth(folder: Path) -> None:
    for part in tiny_depth.depth_anything():
        part.save_pretrained(folder / "network")
    assert main(arguments(folder, "--depth-model", f"{folder}/network")) == 0
    made = read_metrics(folder)
    assert made["depth"] == "depth_anything"
    alignment = made["alignment"]
    assert isinstance(alignment, list)
    assert len(alignment) == 2
    assert {"scale", "residual", "inliers", "accepted", "reason"} <= set(alignment[0])


def test_an_interrupted_run_goes_on_with_its_network(folder: Path) -> None:
    """And with its filters and mask, and with the fits of the depth of the chunks before."""
    for part in tiny_depth.depth_anything():
        part.save_pretrained(folder / "network")
    options = ("--depth-model", f"{folder}/network", "--filters", "default", "--mask", f"{folder}/mask.png")
    assert main(arguments(folder, *options)) == 0
    undisturbed = read_metrics(folder)
    with stopped_after_a_chunk():
        assert main(arguments(folder, *options)) == 130
    stored = RunStore(folder / "out" / "resume").load()
    assert stored is not None
    (fit,) = stored.info["metrics"]["_alignments"]
    for wrong in (1, {**fit, "space": "x"}, {**fit, "reason": 1}, {**fit, "scale": "a"}, {"scale": 1.0}):
        stored.info["metrics"]["_alignments"] = [wrong]
        with pytest.raises((TypeError, ValueError), match=r"metrics\._alignments|required positional arguments"):
            check_stored(stored)
    assert main(["generate", "--resume", f"{folder}/out"]) == 0
    resumed = read_metrics(folder)
    for name in ("alignment", "cells", "points", "known_share"):
        assert resumed[name] == undisturbed[name], name


BAD = [
    (("--filters", "none.json"), "none.json"),
    (("--filters", "K.txt"), "filters: expected a JSON list"),
    (("--mask", "none.png"), "none.png"),
    (("--depth-model", "nowhere"), "nowhere"),
]


@pytest.mark.parametrize(("more", "message"), BAD)
def test_bad_options(
    folder: Path,
    more: tuple[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert main(arguments(folder, *more)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mirage: error: ")
    assert message in line
    assert not (folder / "out").exists()
