# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Installs into fresh environments. ``make test-install`` runs these tests; they need the package index.

MIRAGE_INSTALL_PYTHONS names interpreters of other Pythons, separated by ``:``; torch must be installed for each.
"""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fresh_environments import CCACHE, Environment, copy_sources, interpreters

pytestmark = pytest.mark.install
Tried = Callable[[str, str, str], None]
PIPELINE = ("numpy", "pillow", "av", "tqdm")


@pytest.fixture(scope="module")
def cxx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A compiler with options, by way of a cache that all tests share: ``CXX="ccache g++"``."""
    shared = tmp_path_factory.getbasetemp().parent / "ccache"
    return {"CXX": f"'{CCACHE}' g++ -pipe", "MIRAGE_CCACHE": str(shared)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_sources(tmp_path / "my project")


def last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-30:])


def check_kernels(env: Environment, project: Path, tmp_path: Path, tried: Tried) -> None:
    """The installed kernels work in any folder, and in the sources it is said that those hide them."""
    tested = env.run(env.python, "-m", "mirage_kernels", folder=tmp_path)
    assert tested.returncode == 0, last_lines(tested.stdout + tested.stderr)
    assert "backend cpp: ready, used on cpu" in tested.stdout
    hidden = env.run(env.python, "-m", "mirage_kernels", folder=project)
    (line,) = [line for line in hidden.stdout.splitlines() if line.startswith("backend cpp: ")]
    assert f"you are importing the source tree in {project}, " in line
    assert "hides the installed package" in line
    tried("python -m mirage_kernels in the clone, after pip install .", "kernels are missing, reinstall", line[:90])


def check_command_line(env: Environment, tmp_path: Path) -> None:
    """The script says what to install, and works once that is there."""
    script = env.folder / "bin" / "mirage"
    without = env.run(script, "--help", folder=tmp_path)
    assert (without.returncode, without.stdout) == (2, "")
    assert without.stderr.startswith("mirage: error: the command line needs numpy, ")
    env.share(*PIPELINE)
    with_extras = env.run(script, "--help", folder=tmp_path)
    assert with_extras.returncode == 0, with_extras.stderr
    assert "generate" in with_extras.stdout


@pytest.mark.parametrize("python", interpreters())
@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "no-build-isolation"])
def test_pip_install(
    python: str, isolated: bool, project: Path, tmp_path: Path, cxx: dict[str, str], tried: Tried
) -> None:
    """From a folder with a space in its name, without numpy, without ninja on PATH, with a compiler cache."""
    env = Environment(tmp_path / "env", python, "torch", "safetensors")
    version = env.run(env.python, "-c", "import torch; print(torch.__version__)", folder=tmp_path).stdout.strip()
    options = [] if isolated else ["--no-build-isolation"]
    install = ("install", "-v", *options, ".")
    done = env.pip(*install, folder=project, **cxx)
    if not isolated and done.returncode != 0:  # a fresh environment has no wheel, or no setuptools
        said = re.findall(r"pip install wheel|Cannot import 'setuptools.build_meta'", done.stdout + done.stderr)
        assert said, last_lines(done.stdout + done.stderr)
        assert env.pip("install", "setuptools", "wheel", folder=tmp_path).returncode == 0
        done = env.pip(*install, folder=project, **cxx)
    assert done.returncode == 0, last_lines(done.stdout + done.stderr)
    assert (
        env.run(env.python, "-c", "import torch; print(torch.__version__)", folder=tmp_path).stdout.strip() == version
    )
    assert not re.search(r"(Collecting|Downloading) torch\b", done.stdout), "the torch that is there is built against"
    check_kernels(env, project, tmp_path, tried)
    check_command_line(env, tmp_path)
    how = f"pip install {' '.join(options)} ., {Path(python).name}, torch {version}, space, ccache, no ninja"
    tried(how, "no ninja: fails; space: fails; ccache: no kernels, silently", "works")


def test_a_named_compiler_that_is_not_there(project: Path, tmp_path: Path, tried: Tried) -> None:
    env = Environment(tmp_path / "env", interpreters()[0], "torch", "safetensors")
    assert env.pip("install", "setuptools", "wheel", folder=tmp_path).returncode == 0
    done = env.pip("install", "--no-build-isolation", "--no-deps", ".", folder=project, CXX="g++-99 -O2")
    assert done.returncode != 0
    (line,) = {line.strip() for line in (done.stdout + done.stderr).splitlines() if "CXX: " in line}
    assert line.startswith("CXX: expected the command of a C++ compiler, got 'g++-99 -O2', but 'g++-99' is not found")
    tried('CXX="g++-99 -O2" pip install .', "a wheel without kernels, silently", line)


def test_extras_leave_torch_as_it_is(project: Path, tmp_path: Path, tried: Tried) -> None:
    env = Environment(tmp_path / "env", interpreters()[0], "torch", "safetensors")
    report = tmp_path / "report.json"
    extras = ".[pipeline,depth,filters,scenes,exr]"
    words = ("install", "--dry-run", "--quiet", "--report", report, extras)
    done = env.pip(*words, folder=project, MIRAGE_CPP="0")
    assert done.returncode == 0, last_lines(done.stderr)
    names = {item["metadata"]["name"].lower() for item in json.loads(report.read_text())["install"]}
    assert {"mirage-kernels", "transformers", "numpy"} <= names
    assert not {name for name in names if re.match(r"torch|nvidia|cuda|triton", name)}
    tried("pip install '.[depth,filters]'", "replaces torch, and fetches torchvision and CUDA", "torch stays as it is")


def test_the_source_distribution_holds_what_is_needed_and_builds(project: Path, tmp_path: Path, tried: Tried) -> None:
    env = Environment(tmp_path / "env", interpreters()[0], "torch", "safetensors")
    assert env.pip("install", "setuptools", "wheel", folder=tmp_path).returncode == 0
    program = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    built = env.run(env.python, "-c", program, folder=project)
    assert built.returncode == 0, last_lines(built.stderr)
    (archive,) = (project / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    wanted = ["Makefile", "docs/start.md", "docs/images/contact_sheet.jpg", "csrc/module.cpp", "csrc/native_build.py"]
    weights = "mirage/models/nano/weights/"
    nano = {f"{weights}{name}" for name in ("adapter.safetensors", "depth.safetensors", "night.safetensors")}
    nano |= {f"{weights}transformer/{name}" for name in ("config.json", "diffusion_pytorch_model.safetensors")}
    wanted += ["csrc/native_torch.py", *nano]
    wanted += ["README.md", "CITATION.cff", ".ci/constraints.txt", "tests/conftest.py", "benchmarks/check.py"]
    assert set(wanted) <= names
    assert {name for name in names if name.startswith("examples/") and name.endswith(".py")}
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    words = ("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path / "wheels", archive)
    done = env.pip(*words, folder=tmp_path, MIRAGE_CPP="0")
    assert done.returncode == 0, last_lines(done.stderr)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (metadata,) = [name for name in opened.namelist() if name.endswith("dist-info/METADATA")]
        text = opened.read(metadata).decode()
        assert nano <= set(opened.namelist())
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links)
    assert re.search(r"^Project-URL: Source, https://", text, re.MULTILINE)
    tried("the source distribution", "without docs, examples, Makefile", f"{len(names)} files, builds a wheel")


def test_make_wheel_gives_a_true_tag_and_needs_no_torch(
    project: Path, tmp_path: Path, cxx: dict[str, str], tried: Tried
) -> None:
    env = Environment(tmp_path / "env", interpreters()[0], "torch", "safetensors")
    made = env.run("make", "wheel", f"PYTHON={env.python}", folder=project, **cxx)
    assert made.returncode == 0, last_lines(made.stdout + made.stderr)
    (wheel,) = (project / "dist").glob("*.whl")
    tag = re.search(r"-cp310-abi3-manylinux_2_(\d+)_x86_64\.whl$", wheel.name)
    assert tag is not None, wheel.name
    with zipfile.ZipFile(wheel) as opened:
        (library,) = [name for name in opened.namelist() if name.endswith(".so")]
        needed = {int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", opened.read(library))}
    assert max(needed) <= int(tag[1])
    assert not list((project / "build" / "wheel").glob("lib/python*/site-packages/torch*"))
    assert env.pip("install", "--no-deps", wheel, folder=tmp_path).returncode == 0
    check_kernels(env, project, tmp_path, tried)
    tried("make wheel", "linux_x86_64, in an environment of 2.4 GB", wheel.name)
