# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Options are checked before any image is read, and the error says what would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage.cli.main import main


@pytest.mark.parametrize(("command", "option"), [("generate", "--image"), ("render", "--memory")])
def test_a_file_without_its_option_is_answered_with_the_option(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "photo.jpg", *(["--memory", "m"] if command == "render" else [])])
    assert capsys.readouterr().err.endswith(f"photo.jpg; is {option} missing before photo.jpg?\n")


@pytest.mark.parametrize(("options", "message"), [
    (("--actions", "w*q"), "--actions: expected keys and a number of frames"),
    (("--worldscore", "push_in", "jump"), "--worldscore: expected moves among"),
    (("--poses", "cut.txt"), "cut.txt:1: expected a pose"),
    (("--frames", "50"), "--frames: expected 4 N + 1, got 50 (nearest: 49 or 53)"),
    (("--chunk", "2"), "--chunk: expected 4 N + 1, got 2 (nearest: 5)"),
])  # fmt: skip
def test_the_path_is_checked_before_the_image_is_read(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_text("no image")
    Path("cut.txt").write_text("1 0 0")
    assert main(["generate", "--image", "photo.jpg", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_link_to_nothing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert main(["generate", "--scene", "motorcycle", "--out", str(tmp_path / "link" / "out")]) == 2
    assert f"{tmp_path / 'link'} is a link to what does not exist" in capsys.readouterr().err
