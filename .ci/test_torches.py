# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the kernels' tests on the built wheel under other torches: ``python .ci/test_torches.py [TORCH ...]``.

Without arguments under all of .ci/torches.txt. Each has an environment in build/torches, which is kept. With nvcc the
sources are built there too, the CUDA ones included. A Python that is not on PATH is skipped, and named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCHES = ROOT / "build" / "torches"
TOOLS = ["numpy", "safetensors", "setuptools", "wheel", "ninja", "pytest>=8", "pytest-xdist", "hypothesis", "pybind11"]
PIP_INSTALL = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
SOURCES = ["csrc", "mirage", "mirage_kernels", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"]


def listed() -> dict[str, str]:
    """Every torch of .ci/torches.txt and the Python it is tested with."""
    lines = (ROOT / ".ci" / "torches.txt").read_text().splitlines()
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def run(command: list[str | Path], folder: Path, **variables: str) -> None:
    """Run a command where neither the sources nor a constraint on torch are in reach."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    subprocess.run(list(map(str, command)), cwd=folder, env=environment | variables, check=True)


def find_python(version: str) -> str | None:
    for name in (f"python{version}", sys.executable):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", code], capture_output=True, text=True).stdout.strip() == version:
            return found
    return None


def newest_wheel() -> Path:
    wheels = sorted((ROOT / "dist").glob("mirage_kernels-*.whl"), key=lambda path: path.stat().st_mtime)
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


def test_wheel(interpreter: Path, wheel: Path) -> None:
    folder = interpreter.parents[1]
    run([interpreter, *PIP_INSTALL, "--no-deps", "--force-reinstall", wheel], folder)
    run([interpreter, "-m", "mirage_kernels"], folder)
    pytest = [interpreter, "-m", "pytest", ROOT / "tests" / "kernels"]
    options = ["-o", f"cache_dir={folder / 'pytest_cache'}", "--numprocesses", "auto", "--dist", "worksteal", "--quiet"]
    run([*pytest, *options], folder, OMP_WAIT_POLICY="PASSIVE")


def build_sources(interpreter: Path) -> None:
    """Build from a copy of the sources, so that the build of this folder stays as it is."""
    copy = interpreter.parents[1] / "sources"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    run([interpreter, "setup.py", "--quiet", "build_ext", "--inplace"], copy, MIRAGE_CUDA="1")
    run([interpreter, "-m", "mirage_kernels"], copy)


def test_torch(torch: str, python: str, wheel: Path) -> None:
    interpreter = make_environment(torch, python)
    test_wheel(interpreter, wheel)
    if shutil.which("nvcc"):
        build_sources(interpreter)
    else:
        print(f"torch {torch}: the CUDA sources are not built, there is no nvcc", flush=True)


def main(asked: list[str]) -> None:
    torches = listed()
    if unknown := set(asked) - set(torches):
        sys.exit(f"TORCH: expected one of {', '.join(torches)}, got {', '.join(sorted(unknown))}")
    wheel, outcomes = newest_wheel(), {}
    for torch in asked or torches:
        python = find_python(torches[torch])
        if python is None:
            outcomes[torch] = f"skipped, there is no python{torches[torch]} on PATH"
            continue
        print(f"torch {torch}, Python {torches[torch]}: {wheel.name}", flush=True)
        try:
            test_torch(torch, python, wheel)
            outcomes[torch] = "passed"
        except subprocess.CalledProcessError as error:
            outcomes[torch] = f"FAILED: {' '.join(error.cmd)}"
    for torch, outcome in outcomes.items():
        print(f"torch {torch}: {outcome}")
    if "passed" not in outcomes.values() or any(outcome.startswith("FAILED") for outcome in outcomes.values()):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
