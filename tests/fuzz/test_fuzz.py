# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The targets of ``make fuzz``, without atheris: their first inputs and those that showed a fault once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import fuzz_calls
import fuzz_files
import fuzz_operators
import pytest
import torch
from fuzz_calls import FaultError, run_on_both
from fuzz_input import Input
from fuzz_process import Recorder, signature
from fuzz_targets import OPERATIONS, REGRESSIONS, TARGETS, random_inputs, regressions
from reader_files import KINDS, Kind

import mirage_kernels as mk
from mirage.errors import DataError

pytestmark = pytest.mark.skipif("cpp" not in [n for n, why in mk.backends().items() if why is None], reason="no cpp")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_first_inputs(name: str) -> None:
    target = TARGETS[name]
    for data in {*target.seeds(), *random_inputs()}:
        target.run(data)


@pytest.mark.parametrize(
    "path", [p for name in TARGETS for p in regressions(name)], ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_a_mended_fault_stays_mended(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


def test_every_regression_has_a_target() -> None:
    assert {path.name for path in REGRESSIONS.glob("*")} <= set(TARGETS)


def test_the_operators_of_the_library_are_all_known() -> None:
    """Every argument of a schema has a value of its own, so that calls get as far as the kernels."""
    assert len(fuzz_operators.names()) > 15
    for name in fuzz_operators.names():
        given = fuzz_operators.arguments(Input(b""), name)
        schema = mk._library.overload("mirage_kernels", name)._schema
        unknown = [a.name for a, value in zip(schema.arguments, given, strict=True) if value is None]
        optional = {a.name for a in schema.arguments if "Optional" in str(a.type)}
        assert set(unknown) <= optional, name
        fuzz_operators.operator("cpp", name)(*given)


def test_the_first_input_is_a_call_that_works() -> None:
    """Zeros choose what is usual: nothing is refused, so that mutations begin from a whole call."""
    refused: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzz_calls, "check_message", lambda error, _: refused.append(error))
        for function in OPERATIONS.values():
            function(Input(b""))
    assert refused == []


def test_planted_faults_of_an_operation_are_found() -> None:
    """Another error, another message, other bits on one backend."""

    def on_cpp(value: float) -> torch.Tensor:
        return torch.tensor(value if mk.current_backend() == "cpp" else 0.0)

    def fail(error: Exception) -> Any:
        raise error

    with pytest.raises(FaultError, match="the backends differ"):
        run_on_both(lambda: on_cpp(-0.0), ())
    with pytest.raises(FaultError, match="begin with the name of an argument"):
        run_on_both(lambda: fail(ValueError("wrong")), ("xyz",))
    with pytest.raises(FaultError, match="several or many words"):
        run_on_both(lambda: fail(ValueError("xyz: two\nlines")), ("xyz",))
    with pytest.raises(RuntimeError, match="inside"):
        run_on_both(lambda: fail(RuntimeError("inside")), ("xyz",))
    assert run_on_both(lambda: fail(ValueError("xyz: expected a, got b")), ("xyz",)).kind is ValueError
    assert run_on_both(lambda: on_cpp(0.0), ()) == 0


def test_planted_faults_of_a_reader_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are recorded once for each place, with the shortest input."""

    def read(path: Path) -> None:
        data = path.read_bytes()
        if len(data) > 2:
            raise KeyError(f"{len(data)}")
        if data == b"2":
            raise DataError("without the file")

    monkeypatch.setitem(KINDS, "planted", Kind("a.txt", lambda path: path.write_text("1"), read))
    target = TARGETS["file-matrix"]._replace(run=lambda data: fuzz_files.read("planted", data))
    record = Recorder(target, tmp_path)
    for data in (b"1", b"2", b"abcd", b"abc", b"abcde"):
        record(data)
    texts = sorted(path.read_text().strip().splitlines()[-1] for path in tmp_path.glob("*.txt"))
    assert texts == ["KeyError: '3'", "fuzz_calls.FaultError: an error without the file: 'without the file'"]
    assert sorted(path.read_bytes() for path in tmp_path.iterdir() if not path.suffix) == [b"2", b"abc"]


def test_faults_that_differ_in_numbers_are_one() -> None:
    assert signature(FaultError("xyz: 1.5e3 of (3, 4)")) == signature(FaultError("xyz: -7 of (1,)"))
    assert signature(FaultError("xyz: 1")) != signature(FaultError("features: 1"))


def test_choices_of_bytes() -> None:
    data = Input(bytes([1, 0, 1, 255, 255]))
    assert (data.integer(5, 7), data.integer(0, 999), data.rarely(), data.choice("abc"), data.byte()) == (
        6,
        1,
        True,
        "a",
        0,
    )
    assert not data.rarely()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that ``make fuzz`` runs."""
    spec = importlib.util.spec_from_file_location("fuzz_command", Path(__file__).with_name("__main__.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "prepare", lambda: None)
    return module


def test_without_atheris_the_command_says_so(command: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "has_atheris", lambda: False)
    with pytest.raises(SystemExit, match=r"^make fuzz: atheris cannot be had for Python 3\.\d+ "):
        command.main(["--only", "splat"])


def test_an_input_is_run_again(command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "overlap" / "some"
    path.parent.mkdir()
    path.write_bytes(b"\x03")
    command.main(["--replay", str(path)])
    assert capsys.readouterr().out == "overlap: no fault\n"
    with pytest.raises(SystemExit, match=r"^--replay: expected a file in a folder with the name of a target, got "):
        command.main(["--replay", str(tmp_path / "some")])
