# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Fresh environments, as a new user makes them, in which torch need not be fetched again: it is linked from another."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CCACHE = Path(__file__).with_name("ccache")
# Programs on PATH: those that a compiler and make use, and no ninja.
PROGRAMS = ("g++", "gcc", "as", "ld", "make", "git", "sh", "env", "rm", "mkdir", "find", "sed", "ls", "touch", "test")

LIST_FILES = """
import importlib.metadata, json, sys
from pip._vendor.packaging.requirements import Requirement
seen, todo, found = set(), sys.argv[1:], set()
while todo:
    need = Requirement(todo.pop())
    name = need.name.lower().replace("_", "-")
    if name in seen or not (need.marker is None or need.marker.evaluate({"extra": ""})):
        continue
    seen.add(name)
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        continue  # for another system
    tops = {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}
    found |= {str(package.locate_file(top)) for top in tops}
    todo += package.requires or []
print(json.dumps(sorted(found)))
"""


def interpreters() -> list[str]:
    """Interpreters to install for: those of MIRAGE_INSTALL_PYTHONS, with a torch each, else this one."""
    named = os.environ.get("MIRAGE_INSTALL_PYTHONS")
    return named.split(os.pathsep) if named else [sys.executable]


def copy_sources(folder: Path) -> Path:
    """A copy of this checkout, without what was built in it."""
    left_out = ("build", "dist", "out", ".venv", ".git", "*.so", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*left_out))
    return folder


class Environment:
    """A new environment beside others.

    Args:
        folder: where it is made.
        interpreter: a Python that has the packages.
        packages: linked into it from that Python, with what they need.
    """

    def __init__(self, folder: Path, interpreter: str, *packages: str) -> None:
        self.folder, self.interpreter = folder, interpreter
        self.python = folder / "bin" / "python"
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
        self.share(*packages)
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name in PROGRAMS:
            found = shutil.which(name)
            if found:
                (self.tools / name).symlink_to(found)

    def share(self, *packages: str) -> None:
        """Link packages, and what they need, from the interpreter. Those that the environment has stay as they are."""
        listed = subprocess.run([self.interpreter, "-c", LIST_FILES, *packages], capture_output=True, check=True)
        (site,) = self.folder.glob("lib/python*/site-packages")
        for path in map(Path, json.loads(listed.stdout)):
            has = (site / re.split(r"-\d", path.name)[0]).exists()
            if path.exists() and not has:
                (site / path.name).symlink_to(path)

    def run(self, *command: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the environment's programs, and those that every machine has, on PATH."""
        left_out = ("PYTHONPATH", "CXX", "MIRAGE_CPP", "MIRAGE_CUDA", "MIRAGE_TORCH", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        environment |= {"PATH": f"{self.folder / 'bin'}{os.pathsep}{self.tools}", "MIRAGE_CUDA": "0"} | variables
        words = [str(word) for word in command]
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    def pip(self, *words: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-m", "pip", *words, folder=folder, **variables)
