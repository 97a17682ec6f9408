# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Results of many samples in a folder that processes share: each sample has a file, and finished ones are skipped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import atomic_write

from ..errors import DataError
from ..io.files import read_json

__all__ = ["SampleResults"]

SAMPLES = "samples"


class SampleResults:
    """The results of samples.

    A result is in ``samples/NAME.json`` with a digest of what it depends on, so that results of other settings are not
    taken for those of these. A file appears as a whole or not at all.

    Args:
        folder: of the results; it is made when the first one is written.
        settings: JSON values that all results depend on.
        is_complete: whether a result that was read has what the summary needs.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], is_complete: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> None:
        self.folder, self.settings, self._is_complete = folder, settings, is_complete

    def _path(self, name: str) -> Path:
        return self.folder / SAMPLES / f"{name}.json"

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
        path = self._path(name)
        if not path.exists():
            return None
        content = read_json(path, "the result of a sample")
        if not isinstance(content, dict) or not isinstance(content.get("result"), dict):
            raise DataError(f"{path}: expected the result of a sample, got another file")
        if not self._is_complete(content["result"]):
            raise DataError(f"{path}: expected the result of a sample, got a damaged one; remove it to repeat that")
        if content.get("digest") != self._digest(sample):
            raise DataError(f"{path}: expected a result of these settings, got one of others; use another --out")
        result: dict[str, Any] = content["result"]
        return result

    def write(self, name: str, sample: Any, result: dict[str, Any]) -> None:
        """Write a result."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"digest": self._digest(sample), "sample": sample, "result": result}
        text = json.dumps(content, indent=1, allow_nan=False)
        with atomic_write(path) as partial:
            partial.write_text(text + "\n")

    def evaluate(
        self,
        samples: dict[str, Any],
        evaluate: Callable[[str], dict[str, Any]],
        *,
        shard: tuple[int, int] = (0, 1),
        on_sample: Callable[[], Any] = lambda: None,
    ) -> dict[str, dict[str, Any]] | None:
        """Evaluate samples that have no result yet.

        Args:
            samples: what the result of each depends on, as JSON values, by name.
            evaluate: makes the result of a sample of JSON values, by its name.
            shard: number of this process, from 0, and number of processes.
            on_sample: called before each sample.

        Returns:
            The results of all samples by name; None if other processes have not finished theirs.

        Raises:
            DataError: a file is damaged, or a result of other settings, and no sample was evaluated; or samples could
                not be evaluated, and the others are finished.
        """
        names = list(samples)
        mine = names[shard[0] :: shard[1]]
        failed: list[str] = []
        todo = [name for name in mine if self.read(name, samples[name]) is None]
        with tqdm(total=len(mine), initial=len(mine) - len(todo), unit="sample", desc="evaluating") as bar:
            for name in todo:
                on_sample()
                try:
                    self.write(name, samples[name], evaluate(name))
                except (DataError, OSError) as error:
                    failed.append(str(error))
                bar.update()
        if failed:
            raise DataError(
                f"{len(failed)} of {len(mine)} samples could not be evaluated, and the others are finished; the first "
                f"one: {failed[0]}"
            )
        return self.collect(samples)

    def collect(self, samples: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
        """The results of all samples by name; None if one is missing."""
        found: dict[str, dict[str, Any]] = {}
        for name, sample in samples.items():
            result = self.read(name, sample)
            if result is None:
                return None
            found[name] = result
        return found


def has_scores(result: dict[str, Any], names: list[str], *lists: str) -> bool:
    """Whether a result has, by these names, scores that are numbers or None, and lists of these names."""
    for name in names:
        part = result.get(name)
        if not isinstance(part, dict) or not all(isinstance(part.get(key), list) for key in lists):
            return False
        scores = part.get("scores", {})
        if not isinstance(scores, dict) or not all(isinstance(v, (int, float, type(None))) for v in scores.values()):
            return False
        if "scores" not in part and "views" not in part:
            return False
    return True
