# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where extras are not installed, every way in says in one line what to install."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

PACKAGES = ("numpy", "PIL", "av", "tqdm", "diffusers", "transformers", "peft", "accelerate", "skimage", "torchvision")
INSTALL = "pip install 'mirage-kernels[pipeline]'"


def run(program: str, *arguments: str, absent: tuple[str, ...] = PACKAGES) -> subprocess.CompletedProcess[str]:
    """Run a program in a process in which packages are absent."""
    program = f"import sys\nfor name in {absent}: sys.modules[name] = None\n{program}"
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# As the script of the entry point, and as `python -m mirage`.
WAYS_IN = {
    "mirage": "from mirage.__main__ import main; sys.exit(main())",
    "python -m mirage": "import runpy; runpy.run_module('mirage', run_name='__main__')",
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("arguments", [[], ["--help"], ["generate", "--scene", "motorcycle"]])
def test_the_command_line_says_what_to_install(
    way: str, arguments: list[str], tried: Callable[[str, str, str], None]
) -> None:
    result = run(WAYS_IN[way], *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"mirage: error: the command line needs numpy, Pillow, av, tqdm: {INSTALL}\n"
    tried(f"{way} {' '.join(arguments)}, no extras", "traceback, exit 1", result.stderr)


@pytest.mark.parametrize("way", WAYS_IN)
def test_an_interrupt_while_packages_are_imported_is_one_line(way: str) -> None:
    program = """
class Interrupts:
    def find_spec(self, name, *rest):
        if name == "torch":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
"""
    result = run(program + WAYS_IN[way], "--help", absent=())
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "mirage: interrupted\n")


@pytest.mark.parametrize("package", ["numpy", "PIL", "av", "tqdm"])
def test_each_missing_package_is_named(package: str) -> None:
    result = run(WAYS_IN["mirage"], "--help", absent=(package,))
    name = "Pillow" if package == "PIL" else package
    assert result.returncode == 2
    assert result.stderr == f"mirage: error: the command line needs {name}: {INSTALL}\n"


def test_every_package_imports_or_says_what_to_install(tried: Callable[[str, str, str], None]) -> None:
    program = """
import importlib, json, pkgutil
import mirage
errors = {}
for name in [module.name for module in pkgutil.iter_modules(mirage.__path__, "mirage.")] + ["mirage_kernels"]:
    if name != "mirage.__main__":
        try:
            importlib.import_module(name)
            errors[name] = None
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
print(json.dumps(errors))
"""
    result = run(program)
    assert result.returncode == 0, result.stderr
    errors = json.loads(result.stdout)
    failed = {name: error for name, error in errors.items() if error}
    assert {"mirage.depth", "mirage.filters", "mirage.cli"} <= set(failed)
    assert {"mirage_kernels", "mirage.memory", "mirage.geometry"} <= set(errors) - set(failed)
    for name, error in failed.items():
        assert error.startswith("ImportError: "), (name, error)
        assert error.endswith(INSTALL), (name, error)
    before = "ModuleNotFoundError: No module named 'numpy'"
    tried("import mirage.filters, import mirage.depth, no extras", before, failed["mirage.filters"])


@pytest.mark.parametrize(("raised", "said"), [
    ("ModuleNotFoundError(\"No module named 'yaml'\", name='yaml')", "the package yaml is missing"),
    ("ImportError('libGL.so.1: cannot open\\nshared file', name='av._core')", "libGL.so.1: cannot open shared"),
])  # fmt: skip
def test_a_package_that_cannot_be_loaded_is_one_line(raised: str, said: str) -> None:
    program = f"""
import types
module = types.ModuleType("mirage.cli.main")
def main(argv=None):
    raise {raised}
module.main = main
sys.modules["mirage.cli.main"] = module
{WAYS_IN["mirage"]}
"""
    result = run(program, absent=())
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("mirage: error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_fault_of_the_package_itself_is_not_hidden() -> None:
    program = "sys.modules['mirage.cli.generate'] = None\n" + WAYS_IN["mirage"]
    result = run(program, absent=())
    assert result.returncode == 1
    assert "Traceback" in result.stderr
