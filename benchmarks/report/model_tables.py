# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of RESULTS.md about what small models generate.

A cell has a mean, and the interval that holds 95 % of the means of resampled rows.
"""

from __future__ import annotations

from statistics import median

from benchmarks.report.tables import Content, source_line
from mirage.evaluation.closed_loop import as_table


def image(name: str, what: str) -> list[str]:
    return [f"![{what}](results/{name}.jpg)", ""]


def closed_loop(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), as_table(content["summary"]), "", *image(name, "The walks")]


def holes(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), *_parts(content), *image(name, "Memory, truth, and what models put there")]


def depth_guess(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), *_parts(content), *image(name, "Depth of single images")]


def control_input(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), as_table(content["summary"])]


def denoising_steps(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), as_table(content["summary"])]


def lora_place(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), as_table(content["summary"]), "", *image(name, "Day and night")]


def nano_training(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), f"![Loss over steps of training](results/{name}.png)"]


def long_walk(name: str, content: Content) -> list[str]:
    seconds = content["seconds"]
    tenth = max(len(seconds) // 10, 1)
    text = (
        f"{len(seconds)} chunks of {content['frames_a_chunk']} frames, {median(seconds):.2f} s each on "
        f"{content['threads']} threads; the median of the last {tenth} is {content['late_over_early']:.2f} times that "
        f"of chunks 2 to {1 + tenth}."
    )
    return [*source_line(name, content), text, "", *image(name, "Frames of the walk")]


def processes(name: str, content: Content) -> list[str]:
    one, two = (median(content["seconds"][count]) for count in ("1", "2"))
    same = "the same numbers" if content["same_numbers"] else "other numbers"
    took = f"{one:.0f} s and two {two:.0f} s, {two / one:.2f} of it"
    text = f"{content['walks']} walks take one process {took}, with {same}."
    return [*source_line(name, content), text]


def _parts(content: Content) -> list[str]:
    """A table for each part of the data."""
    return [line for part, summary in content["summary"].items() for line in (f"{part}:", "", as_table(summary), "")]
