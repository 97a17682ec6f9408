# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""From JSON to RESULTS.md, figures and README's numbers; the committed RESULTS.md is what the committed JSON gives."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

import report_files as made

import benchmarks.report.__main__ as report
from benchmarks.report import captions, figures, memories, operations, readme, text
from benchmarks.report.markdown import digits, duration, paragraph, ratio, table
from benchmarks.report.read import read
from mirage.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = ("memories", "forgetting", "corridor", "depth_drift", "filters", "operations")
README = "".join(f"before\n<!-- numbers: {name} -->\nold 12,345\n<!-- end -->\nafter\n" for name in BLOCKS)
PICTURES = {
    "memories_5.png", "memories_50.png", "corridor.png", "depth_drift.png", "operations_speedup.png",
    "operations_roofline.png",
}  # fmt: skip


def results_of(folder: Path, **files: dict[str, Any]) -> Any:
    return read([made.save(folder, files)])


def section(told: str, title: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", told, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of files of every kind."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "README.md").write_text(README)
    arguments = [str(made.save(folder / "json", made.every())), "--out", str(folder / "bench")]
    assert report.main([*arguments, "--readme", str(folder / "README.md")]) == 0
    return folder


def test_every_section_has_its_numbers(whole: Path) -> None:
    told = (whole / "bench" / "RESULTS.md").read_text()
    assert "{{" not in told
    assert "Not measured." not in told
    for name in made.every():
        assert f"{name}.json" in section(told, "Where and how measured")
    assert "GB/s" in section(told, "Where and how measured")
    three = section(told, "Three memories on the same walk")
    assert "### 5 chunks" in three
    assert "### 50 chunks" in three
    assert "| own | RGB points | 29.40 | 0.900 | 0.880 |" in three
    assert "| own | the codec alone | 33.00 |" in three
    assert "encoded as a video in 120 s" in three
    assert len(re.findall(r"^\| \d+ \| (?:ours|append-only|RGB points) \|", three, re.MULTILINE)) == 3 * 55
    assert "| 10,000 | 10,000,000 |" in section(told, "Flat to ten thousand chunks")
    assert "| splat | 31,680 points | hololens | cpp |" in section(told, "Operations")
    assert "12.0 GB/s" in section(told, "Roofline")
    assert "| rollout | 480p, 81 frames | room | cpp | 900 ms | 81 | 11.1 ms |" in section(told, "Per frame")
    assert "**view rule, bfloat16, extents 0.65** (default)" in section(told, "What forgetting costs")
    assert "| cow | **consistency and motion** | 316 | 4.11% |" in section(told, "Filters")
    assert "| aligned | 100 | 0.180 |" in section(told, "Depth that drifts")
    beside = section(told, "The memory beside the diffusion model")
    assert beside.index("Wan2.2-TI2V-5B with the released kind of adapter, random") < beside.index("no figures of the")
    assert "| splat N=31,680 V=9 | 12 µs | 1.6 µs | cuda 11.0 µs |" in section(told, "On a GPU")
    assert "| culled read, 1e8 rows of which 1e6 visible, V=9 | 120 µs |  | cuda 111 µs |" in section(told, "On a GPU")
    assert "make bench-check" in section(told, "How to reproduce")


def test_headline_ratios_are_those_of_the_rows(tmp_path: Path) -> None:
    run = made.memories()["runs"][0]
    rgb, appended = memories.Comparison(run, "RGB points"), memories.Comparison(run, "append-only")
    ours = {chunk: made.memory_row("ours", chunk, True) for chunk in (1, 5)}
    other = {chunk: made.memory_row("RGB points", chunk, True) for chunk in (1, 5)}
    assert rgb.nbytes() == pytest.approx(235 / ours[5]["cache_mib"])
    assert rgb.nbytes(history=True) == pytest.approx(235 / (ours[5]["cache_mib"] + 1.0))
    assert rgb.nbytes(shrunk=True) == pytest.approx(235 / ours[5]["cache_mib"])
    times = rgb.seconds(memories.known)
    assert times[0] == min(times) == pytest.approx((other[1]["read"] + other[1]["condition"]) / ours[1]["read"])
    assert appended.seconds(memories.step)[-1] == pytest.approx((0.06 + 1.0 + 0.003) / (0.004 + 0.001 + 0.003))
    assert memories.growth(run, "ours") == pytest.approx(1)
    told = text.compose(results_of(tmp_path, memories=made.memories()), tmp_path)
    assert f"| bytes of the cache, RGB points / ours | {digits(rgb.nbytes() or 0)} | 55 (aim) |" in told
    assert "less than ours" not in told
    assert f"here 15 | {digits(1.6 * (rgb.nbytes() or 0))} |" in told


def test_a_memory_that_takes_less_than_ours_is_marked(tmp_path: Path) -> None:
    every = made.memories()
    for row in every["runs"][0]["rows"]:
        if row["memory"] == "append-only" and row["chunk"] == 1:
            row |= {"read": 0.002, "retrieve": 0.0, "write": 0.002}
    told = text.compose(results_of(tmp_path, memories=every), tmp_path)
    assert "memory step, append-only / ours, in the chunk where it is least | **0.500, less than ours** |" in told
    assert told.count("less than ours**") == 2, "its read and its step"


def test_rows_that_were_not_timed_are_left_out(tmp_path: Path) -> None:
    """Fifty chunks are read at nine of them."""
    run = made.memories()["runs"][1]
    assert len(memories.Comparison(run, "RGB points").seconds(memories.known)) == 9
    every = made.memories()
    for row in every["runs"][1]["rows"]:
        row["read"] = None
    told = text.compose(results_of(tmp_path, memories=every), tmp_path)
    assert "| memory step, RGB points / ours, in the last chunk | not measured |" in told
    figures.draw(read([tmp_path]), tmp_path)


def test_an_empty_set_is_not_measured_everywhere(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "README.md").write_text(README)
    arguments = [str(tmp_path / "json"), "--out", str(tmp_path / "bench"), "--readme", str(tmp_path / "README.md")]
    assert report.main(arguments) == 0
    told = (tmp_path / "bench" / "RESULTS.md").read_text()
    for title in (
        "Where and how measured", "Three memories on the same walk", "Flat to ten thousand chunks", "Operations",
        "Roofline", "Per frame", "What forgetting costs", "Filters", "Depth that drifts",
    ):  # fmt: skip
        assert "Not measured." in section(told, title), title
    assert "![" not in told
    assert "The tiny configuration: not measured." in told
    assert "Not yet run on a GPU" in section(told, "On a GPU")
    assert "| splat N=31,680 V=9 | 12 µs | 1.6 µs |  |" in told
    assert not list((tmp_path / "bench" / "results").iterdir())
    assert (tmp_path / "README.md").read_text().count("Not measured.") == len(BLOCKS)


@pytest.mark.parametrize("name", [name for name in made.every() if name not in ("wan_tiny", "wan_full")])
def test_a_report_of_one_file(tmp_path: Path, name: str) -> None:
    results = results_of(tmp_path, **{name: made.every()[name]})
    left_out = text.compose(results, tmp_path).count("Not measured.")
    assert left_out == {"operations": 5, "gpu": 8}.get(name, 7)


def test_nothing_changes_the_second_time(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in files}
    arguments = [str(whole / "json"), "--out", str(whole / "bench"), "--readme", str(whole / "README.md")]
    assert report.main(arguments) == 0
    assert "nothing has changed" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == files
    assert {path: path.stat().st_mtime_ns for path in files} == times


def test_every_figure_is_drawn_small_and_shown(whole: Path) -> None:
    drawn = {path.name: path.stat().st_size for path in (whole / "bench" / "results").iterdir()}
    assert set(drawn) == PICTURES
    assert max(drawn.values()) < 120_000
    told = (whole / "bench" / "RESULTS.md").read_text()
    assert set(re.findall(r"\]\(results/([^)]+)\)", told)) == PICTURES


def test_captions_carry_machine_date_commit_data_and_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = read([made.save(tmp_path / "json", made.every())])
    wanted = {"Abacus", "2 threads", "avx2", "torch 9.9.0", "commit abc1234", "2031-02-03", "Data: ", "Method: "}
    told = text.compose(results, tmp_path)
    under = re.findall(r"^!\[[^\]]*\]\(results/\S+\.png\)\n\n\*(.*?)\*$", told, re.MULTILINE | re.DOTALL)
    assert len(under) == len(PICTURES)
    for caption in under:
        assert all(part in " ".join(caption.split()) for part in wanted), caption

    in_pictures: list[str] = []
    from matplotlib.figure import Figure

    real = Figure.supxlabel
    monkeypatch.setattr(Figure, "supxlabel", lambda self, t, **k: (in_pictures.append(t), real(self, t, **k))[1])
    figures.draw(results, tmp_path)
    assert len(in_pictures) == len(PICTURES)
    for caption in in_pictures:
        assert all(part in " ".join(caption.split()) for part in wanted), caption


def test_a_caption_names_the_gpu() -> None:
    content = made.operations(device="Abacus X", ours="cuda")
    assert captions.machine(content["machine_info"]).startswith("Abacus X, Abacus, 2 threads")
    assert captions.machine(made.operations(device="Abacus")["machine_info"]).startswith("Abacus, 2 threads")


def test_a_way_that_is_faster_than_ours_is_marked_with_its_reason(tmp_path: Path) -> None:
    told = section(text.compose(results_of(tmp_path / "a", operations=made.slower()), tmp_path), "Operations")
    marked = [line for line in told.splitlines() if ", faster**" in line]
    assert len(marked) == 1
    assert marked[0].startswith("| build | 31,680 points | room | hash map | library | 100 µs | **0.09, faster** |")
    assert marked[0].endswith("| it keeps no order |")
    assert "* hash map, build, 31,680 points, room: 100 µs against 1.05 ms (0.09). It keeps no order." in told
    assert "Nothing is faster" not in told
    told = section(text.compose(results_of(tmp_path / "b", operations=made.operations()), tmp_path), "Operations")
    assert ", faster**" not in told, "a bound is no rival"
    assert "Nothing is faster: no reference, no method and no library" in told


def test_a_reference_that_is_faster_is_marked_too(tmp_path: Path) -> None:
    content = made.operations()
    content["benchmarks"].append(made.bench("overhead", "room", "tiny", "cpp", "ours", 2e-5))
    content["benchmarks"].append(made.bench("overhead", "room", "tiny", "reference", "reference", 1e-5))
    told = section(text.compose(results_of(tmp_path, operations=content), tmp_path), "Operations")
    assert "| 10.0 µs | **0.50, slower** |" in told
    assert "* reference, overhead, tiny, room: 10.0 µs against 20.0 µs (0.50). No reason is given." in told


def test_ratios_stay_inside_a_group_of_one_run(tmp_path: Path) -> None:
    """Two runs of the same groups, in one of which everything takes ten times as long."""
    slow = made.operations(device="Abacus X", ours="cuda")
    for bench in slow["benchmarks"]:
        bench["stats"]["median"] *= 10
    results = results_of(tmp_path, operations=made.operations(), graphics=slow)
    first, second = ([round(r.times, 6) for r in operations.ratios(source)] for source in results.operations)
    assert first == second
    told = section(text.compose(results, tmp_path), "Operations")
    assert told.index("### graphics") < told.index("### operations")
    assert "graphics_speedup.png" in told


def test_readme_gets_its_numbers_between_the_marks(whole: Path) -> None:
    filled = (whole / "README.md").read_text()
    assert "12,345" not in filled
    assert filled.count("before\n<!-- numbers: ") == filled.count("<!-- end -->\nafter\n") == len(BLOCKS)
    for part in (
        "an append-only cache 28.0 (12.8 times), coloured points 235 (107 times,",
        "31.2 dB by ours and 29.4 dB by coloured points in the views that were written",
        "](bench/results/memories_5.png)",
        "| **view rule, bfloat16, extents 0.65** (default) | 39,997 | .250 | 1.000 .001 .086 | .732 .021 .070 |",
        "1.02 times as long as one of a copy",
        "lie 0.18 of a cell from their places on average (0.36 in the worst frame), without alignment 10.6",
        "leave 316, and cost 1.8% of the static surface",
        "| splat | reference | 31,680 points; 316,800 points; 1,000,000 points | hololens 40, 40, 40; room 40, 40,",
        "Nothing is faster than ours.",
        "splat of 64 points into 8x8 (room) 14.0 µs",
        "Abacus, 2 threads, avx2, torch 9.9.0, commit abc1234, 2031-02-03",
    ):
        assert part in " ".join(filled.split()), part


@pytest.mark.parametrize(
    "spoilt",
    [
        README.replace("numbers: corridor", "numbers: corridors"),
        README.replace("<!-- end -->", "", 1),
        README.replace("numbers: corridor", "numbers: filters"),
        README + "<!-- end -->\n",
    ],
    ids=["unknown", "no end", "twice", "another end"],
)
def test_wrong_marks_are_told(tmp_path: Path, spoilt: str) -> None:
    results = results_of(tmp_path, **made.every())
    with pytest.raises(DataError, match=r"README\.md: expected"):
        readme.fill(spoilt, results, tmp_path, tmp_path / "README.md")


def test_the_committed_text_is_what_the_committed_files_give() -> None:
    root = ROOT / "benchmarks"
    old, new = (root / "RESULTS.md").read_text(), text.compose(read([root / "results"]), root)
    assert old == new, "run python -m benchmarks.report"


def test_committed_figures_are_those_that_are_shown() -> None:
    shown = re.findall(r"\]\((results/[^)]+)\)", (ROOT / "benchmarks" / "RESULTS.md").read_text())
    assert [name for name in shown if not (ROOT / "benchmarks" / name).is_file()] == []


def test_the_command_reads_what_is_committed_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["report", "--out", str(tmp_path)])
    assert report.main() == 0
    names = [path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    told = section((tmp_path / "RESULTS.md").read_text(), "Where and how measured")
    assert names
    assert all(f"[{name}.json]" in told for name in names)


def test_words() -> None:
    assert [duration(s) for s in (2.5, 0.12345, 1.4e-5, 0.0)] == ["2.50 s", "123 ms", "14.0 µs", "0 µs"]
    assert [digits(v) for v in (1234.5, 12.34, 0.01234, 0)] == ["1,234", "12.3", "0.0123", "0"]
    assert [ratio(v) for v in (2472.3, 10.57, 3.04, 1.1, 0.094)] == ["2,472", "11", "3.0", "1.10", "0.09"]
    assert table(("a", ">b"), [("x|y", None)]) == ["| a | b |", "|---|---:|", "| x\\|y |  |"]
    assert max(len(line) for line in paragraph("word " * 100)) <= 120


def test_made_up_files_are_json() -> None:
    for content in made.every().values():
        json.dumps(content, allow_nan=False)
