# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the kernels' tests under other torches: ``python .ci/test_torches.py [TORCH ...]``.

Without arguments under all of .ci/torches.txt, which says whether the built wheel is installed or the sources, as ``pip
install .`` does it. Each has an environment in build/torches, which is kept. With nvcc the sources are built there too,
the CUDA ones included. A Python that is not on PATH is skipped, and named. At the end is a table: the backends under
each torch, and the times of some operations relative to those under the torch of .ci/constraints.txt, or the newest one
that ran. The torches run one after the other; what else the machine does at the time shows in the table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TORCHES = ROOT / "build" / "torches"
TOOLS = ["numpy", "pillow", "safetensors", "setuptools", "wheel", "ninja"]
TOOLS += ["pytest>=8", "pytest-xdist", "hypothesis", "pybind11"]
PIP_INSTALL = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
SOURCES = ["csrc", "mirage", "mirage_kernels", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"]


class Tested(NamedTuple):
    """A line of .ci/torches.txt."""

    python: str
    installed: str  # "wheel" or "sources"


def listed() -> dict[str, Tested]:
    """Every torch of .ci/torches.txt."""
    lines = (ROOT / ".ci" / "torches.txt").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return {torch: Tested(*others) for torch, *others in words}


def run(command: list[str | Path], folder: Path, **variables: str) -> None:
    """Run a command where neither the sources nor a constraint on torch are in reach."""
    subprocess.run(list(map(str, command)), cwd=folder, env=out_of_reach() | variables, check=True)


def out_of_reach() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_CONSTRAINT")}


def find_python(version: str) -> str | None:
    for name in (f"python{version}", sys.executable):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", code], capture_output=True, text=True).stdout.strip() == version:
            return found
    return None


def newest_wheel() -> Path:
    found = [path for path in (ROOT / "dist").glob("mirage_kernels-*.whl") if "+kernels-" not in path.name]
    wheels = sorted(found, key=lambda path: path.stat().st_mtime)
    if not wheels:
        sys.exit("dist: expected a wheel, got none; make wheel builds it")
    return wheels[-1]


def make_environment(torch: str, python: str) -> Path:
    """The interpreter of an environment with this torch."""
    folder = TORCHES / torch
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    run([interpreter, *PIP_INSTALL, f"torch=={torch}", *TOOLS], folder)
    return interpreter


def install(interpreter: Path, wheel: Path | None) -> None:
    """Install a wheel, or else the sources: then what the environment has must do, and stay."""
    folder = interpreter.parents[1]
    if wheel is None:
        run([interpreter, *PIP_INSTALL, copy_sources(folder)], folder, MIRAGE_CUDA="0")
    else:
        run([interpreter, *PIP_INSTALL, "--no-deps", "--force-reinstall", wheel], folder)


def test_installed(interpreter: Path) -> None:
    folder = interpreter.parents[1]
    run([interpreter, "-m", "mirage_kernels"], folder)
    pytest = [interpreter, "-m", "pytest", ROOT / "tests" / "kernels"]
    options = ["-o", f"cache_dir={folder / 'pytest_cache'}", "--numprocesses", "auto", "--dist", "worksteal", "--quiet"]
    # The CUDA code on a CPU, and many random examples, are for make test and make test-long.
    few = {"MIRAGE_TEST_EMULATION": "0", "MIRAGE_EXAMPLES": "30"}
    run([*pytest, *options], folder, OMP_WAIT_POLICY="PASSIVE", **few)


def measure(interpreter: Path) -> dict[str, Any]:
    """The backends of this torch, and the times of some operations."""
    command = [str(interpreter), str(ROOT / ".ci" / "measure_torch.py")]
    environment = out_of_reach() | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=interpreter.parent, env=environment, stdout=subprocess.PIPE, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def table(measured: dict[str, dict[str, Any]]) -> list[str]:
    """A Markdown table of what was measured; below 1 is faster than the torch that times are relative to."""
    pinned = re.search(r"^torch==(\S+)$", (ROOT / ".ci" / "constraints.txt").read_text(), re.MULTILINE)
    base = pinned[1] if pinned and pinned[1] in measured else list(measured)[-1]
    norm = measured[base]["milliseconds"]
    operations = list(next(iter(norm.values())))
    lines = [f"| torch | backends | measured | {' | '.join(f'{name}, ms' for name in operations)} |"]
    lines.append("|---" * (3 + len(operations)) + "|")
    for torch, found in measured.items():
        ready = ", ".join(name for name, reason in found["backends"].items() if reason is None)
        for backend, times in found["milliseconds"].items():
            norms = norm.get(backend, norm["reference"])
            cells = [f"{times[name]} ({times[name] / norms[name]:.2f} x {base}'s)" for name in operations]
            lines.append(f"| {torch} | {ready} | {backend} | {' | '.join(cells)} |")
    return lines


def copy_sources(folder: Path) -> Path:
    """A copy of the sources, so that the build of this folder stays as it is."""
    copy = folder / "sources"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    return copy


def build_sources(interpreter: Path) -> None:
    copy = copy_sources(interpreter.parents[1])
    run([interpreter, "setup.py", "--quiet", "build_ext", "--inplace"], copy, MIRAGE_CUDA="1")
    run([interpreter, "-m", "mirage_kernels"], copy)


def test_torch(torch: str, python: str, wheel: Path | None) -> dict[str, Any]:
    interpreter = make_environment(torch, python)
    install(interpreter, wheel)
    test_installed(interpreter)
    measured = measure(interpreter)
    if shutil.which("nvcc"):
        build_sources(interpreter)
    else:
        print(f"torch {torch}: the CUDA sources are not built, there is no nvcc", flush=True)
    return measured


def main(asked: list[str]) -> None:
    torches = listed()
    if unknown := set(asked) - set(torches):
        sys.exit(f"TORCH: expected one of {', '.join(torches)}, got {', '.join(sorted(unknown))}")
    outcomes, measured = {}, {}
    for torch in asked or torches:
        version, installed = torches[torch]
        python = find_python(version)
        if python is None:
            outcomes[torch] = f"skipped, there is no python{version} on PATH"
            continue
        wheel = newest_wheel() if installed == "wheel" else None
        print(f"torch {torch}, Python {version}: {wheel.name if wheel else 'the sources'}", flush=True)
        try:
            measured[torch] = test_torch(torch, python, wheel)
            outcomes[torch] = "passed"
        except subprocess.CalledProcessError as error:
            outcomes[torch] = f"FAILED: {' '.join(error.cmd)}"
    for torch, outcome in outcomes.items():
        print(f"torch {torch}: {outcome}")
    if measured:
        print(*table(measured), sep="\n")
    if "passed" not in outcomes.values() or any(outcome.startswith("FAILED") for outcome in outcomes.values()):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
