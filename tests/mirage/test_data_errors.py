# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""An error about a file is one line of bounded length, whatever the file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirage.cameras import read_cameras
from mirage.errors import DataError


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x0bb\x0cc", "a\u2028b", "x" * 100_000])
def test_a_message_is_one_line_of_bounded_length(text: str) -> None:
    message = str(DataError(f"file: expected numbers, got {text}"))
    assert len(message.splitlines()) == 1
    assert message.startswith("file: expected numbers, got ")
    assert len(message) < 1000


def test_a_short_message_is_kept() -> None:
    assert str(DataError("file:  two  spaces")) == "file:  two  spaces"
    assert str(DataError()) == ""


def test_names_in_a_file_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({f"{number}" + "[" * 10_000: 1 for number in range(20)}))
    with pytest.raises(DataError, match="expected JSON with cam2world, cameras_interp or frames, got ") as error:
        read_cameras(path, (6, 8))
    assert len(str(error.value)) < 600 + len(str(path))
