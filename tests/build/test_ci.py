# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The scripts in .ci: they name what they cannot find in one line."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from front_ends import ROOT, versions

from mirage_kernels.version import OLDEST_TORCH, STABLE_TORCH


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_oldest_torch_is_the_one_that_the_package_asks_for() -> None:
    older = versions("sources")
    assert older[0] == "{}.{}.0".format(*OLDEST_TORCH)
    assert f'"torch>={older[0][:-2]}"' in (ROOT / "pyproject.toml").read_text()
    oldest = versions()[0]
    assert oldest == "{}.{}.0".format(*STABLE_TORCH)
    target = re.search(r'TORCH_TARGET = "0x(..)(..)0{12}"', (ROOT / "csrc" / "native_torch.py").read_text())
    assert target is not None
    assert f"{int(target[1], 16)}.{int(target[2], 16)}.0" == oldest
    torches = script("test_torches").listed()
    assert (
        list(torches)
        == [*older, *versions()]
        == sorted(torches, key=lambda version: [int(n) for n in version.split(".")])
    )


def test_a_python_that_is_not_there_is_not_taken_for_another() -> None:
    torches = script("test_torches")
    assert torches.find_python(".".join(map(str, sys.version_info[:2]))) is not None
    assert torches.find_python("2.1") is None


def test_an_unknown_torch_is_named() -> None:
    with pytest.raises(SystemExit, match=r"^TORCH: expected one of 2\.4\.0, .*, got 1\.0$"):
        script("test_torches").main(["1.0"])


def test_no_cuda_torch_at_hand_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = script("cuda_torch")
    monkeypatch.setattr(step, "ROOT", tmp_path)
    monkeypatch.delenv("MIRAGE_CUDA_PYTHON", raising=False)
    step.main()
    assert re.fullmatch(r"no CUDA build of torch at hand: .*MIRAGE_CUDA_PYTHON.*\n", capsys.readouterr().out)


def test_a_named_interpreter_must_be_one_with_a_cuda_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = script("cuda_torch")
    monkeypatch.setattr(step, "ROOT", tmp_path)
    monkeypatch.setenv("MIRAGE_CUDA_PYTHON", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match=r"^MIRAGE_CUDA_PYTHON: expected the path of an interpreter, got "):
        step.main()
    if torch.version.cuda is None:
        monkeypatch.setenv("MIRAGE_CUDA_PYTHON", sys.executable)
        with pytest.raises(SystemExit, match=r"^MIRAGE_CUDA_PYTHON: expected the interpreter of a CUDA build of torch"):
            step.main()


def workflows() -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(ROOT.glob(".github/workflows/*.yml"))}


def test_every_step_of_the_workflows_is_a_make_target() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [step for text in workflows().values() for step in re.findall(r"- run: (.*)", text)]
    assert len(steps) >= len(workflows())
    assert [step for step in steps if not step.startswith("make ") or step.split()[1] not in targets] == []


def test_the_workflow_tests_the_oldest_and_the_newest_torch() -> None:
    listed = script("test_torches").listed()
    rows = re.findall(r'- torch: "(.*?)"\n +python: "(.*?)"', workflows()["tests.yml"])
    wanted = [versions("sources")[0], versions()[0], versions()[-1]]
    assert rows == [(torch, listed[torch].python) for torch in wanted]
