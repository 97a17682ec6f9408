# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Results of many samples in a folder that processes share: each sample has a file, and finished ones are skipped."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import atomic_write

from ..errors import DataError, PartlyFailedError
from ..io.files import read_json

__all__ = ["SampleResults"]

SAMPLES, FAILED, SUMMARY = "samples", "failed", "summary.md"


class SampleResults:
    """The results of samples.

    A result is in ``samples/NAME.json``, or the reason why there is none in ``failed/NAME.json``, with a digest of what
    it depends on, so that results of other settings are not taken for those of these. A file appears as a whole or not
    at all.

    Args:
        folder: of the results; it is made when the first one is written.
        settings: JSON values that all results depend on.
        is_complete: whether a result that was read has what the summary needs.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], is_complete: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> None:
        self.folder, self.settings, self._is_complete = folder, settings, is_complete

    def _path(self, name: str, kind: str) -> Path:
        return self.folder / kind / f"{name}.json"

    def _digest(self, sample: Any) -> str:
        return hashlib.sha256(json.dumps([self.settings, sample], sort_keys=True).encode()).hexdigest()[:16]

    def read(self, name: str, sample: Any) -> dict[str, Any] | None:
        """Read a result; None if there is none.

        Args:
            name: of the sample.
            sample: JSON values that this result depends on.

        Raises:
            DataError: the file is damaged, or a result of other settings.
        """
        path = self._path(name, SAMPLES)
        if not path.exists():
            return None
        content = read_json(path, "the result of a sample")
        if not isinstance(content, dict) or not isinstance(content.get("result"), dict):
            raise DataError(f"{path}: expected the result of a sample, got another file")
        if not self._is_complete(content["result"]):
            raise DataError(f"{path}: expected the result of a sample, got a damaged one; remove it to repeat that")
        if content.get("digest") != self._digest(sample):
            names = ", ".join(self._differences(content, sample)) or "files"
            raise DataError(f"{path}: expected a result of these settings, got one of other {names}; use another --out")
        result: dict[str, Any] = content["result"]
        return result

    def _differences(self, content: dict[str, Any], sample: Any) -> list[str]:
        """Names of what the result in a file depends on, and what differs from a sample and these settings."""
        found = []
        for stored, given in ((content.get("settings"), self.settings), (content.get("sample"), sample)):
            if isinstance(stored, dict) and isinstance(given, dict):
                found += differing_names(stored, json.loads(json.dumps(given)))
        return sorted(set(found))

    def write(self, name: str, sample: Any, result: dict[str, Any]) -> None:
        """Write a result."""
        self._write(SAMPLES, name, sample, result)

    def _write(self, kind: str, name: str, sample: Any, result: Any) -> None:
        path = self._path(name, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"digest": self._digest(sample), "settings": self.settings, "sample": sample, "result": result}
        text = json.dumps(content, indent=1, allow_nan=False)
        with atomic_write(path) as partial:
            partial.write_text(text + "\n")

    def _read_failure(self, name: str, sample: Any) -> str | None:
        """Why a sample of these settings could not be evaluated; None if it has not been tried."""
        content: Any = None
        with suppress(DataError):  # a missing or damaged file
            content = read_json(self._path(name, FAILED), "why a sample has no result")
        if not isinstance(content, dict) or content.get("digest") != self._digest(sample):
            return None
        return str(content.get("result"))

    def evaluate(
        self,
        samples: dict[str, Any],
        evaluate: Callable[[str], dict[str, Any]],
        report: Callable[[dict[str, dict[str, Any]], dict[str, str]], str],
        *,
        shard: tuple[int, int] = (0, 1),
        on_sample: Callable[[], Any] = lambda: None,
    ) -> str:
        """Evaluate samples that have no result yet, and write the summary once all were tried.

        Args:
            samples: what the result of each depends on, as JSON values, by name.
            evaluate: makes the result of a sample of JSON values, by its name.
            report: writes and returns the summary of results by name, and of reasons why others could not be made.
            shard: number of this process, from 0, and number of processes.
            on_sample: called before each sample.

        Returns:
            The summary; or a line that says so if other processes have not finished theirs.

        Raises:
            DataError: a file is damaged, or a result of other settings, and no sample was evaluated.
            PartlyFailedError: samples could not be evaluated. The summary is written without them, and the next call
                tries them again.
        """
        names = list(samples)
        mine = names[shard[0] :: shard[1]]
        todo = [name for name in mine if self.read(name, samples[name]) is None]
        for name in todo:
            self._path(name, FAILED).unlink(missing_ok=True)  # another process must not take it for this attempt's
        with tqdm(total=len(mine), initial=len(mine) - len(todo), unit="sample", desc="evaluating") as bar:
            for name in todo:
                on_sample()
                try:
                    if self.read(name, samples[name]) is not None:  # of another process in the meantime
                        continue
                    self.write(name, samples[name], evaluate(name))
                except (DataError, OSError) as error:
                    self._write(FAILED, name, samples[name], str(error))
                finally:
                    bar.update()
        found = {name: self.read(name, sample) for name, sample in samples.items()}
        failed = {name: self._read_failure(name, samples[name]) for name, result in found.items() if result is None}
        results = {name: result for name, result in found.items() if result is not None}
        reasons = {name: reason for name, reason in failed.items() if reason is not None}
        text = f"{self.folder}: this part is finished; the summary is written when the others are"
        is_whole = len(results) + len(reasons) == len(samples)
        if results and is_whole:
            text = report(results, reasons)
        if reasons:
            others = f"{self.folder / SUMMARY} is of the others" if is_whole else "the others are finished"
            raise PartlyFailedError(
                f"{len(reasons)} of {len(samples)} samples could not be evaluated{', and ' if results else ''}"
                f"{others if results else ''}; the first one: {next(iter(reasons.values()))}",
                text,
            )
        return text


def differing_names(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names whose values differ, or that only one of two dicts has."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def has_scores(result: dict[str, Any], names: list[str], numbers: Sequence[str] = (), **lists: int) -> bool:
    """Whether a result has what a summary needs.

    Args:
        result: as it was read.
        names: of all its parts; each has scores that are numbers or None, or a list ``views`` of them.
        numbers: names of numbers that the parts have besides.
        lists: what lists the parts have besides, and how many numbers each of their entries has; 0 for numbers alone.
    """
    if result.keys() != set(names):
        return False
    for part in result.values():
        if not isinstance(part, dict) or not ("scores" in part or "views" in part):
            return False
        scored = [part["scores"]] if "scores" in part else part["views"]
        if not isinstance(scored, list) or not all(map(_has_numbers, scored)):
            return False
        if not all(part.get(key) is not None and _is_number(part[key]) for key in numbers):
            return False
        for key, width in lists.items():
            rows = part.get(key)
            if not isinstance(rows, list) or not all(_is_row(row, width) for row in rows):
                return False
    return True


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value))


def _has_numbers(scores: Any) -> bool:
    return isinstance(scores, dict) and all(map(_is_number, scores.values()))


def _is_row(row: Any, width: int) -> bool:
    return _is_number(row) if width == 0 else isinstance(row, list) and len(row) == width and all(map(_is_number, row))
