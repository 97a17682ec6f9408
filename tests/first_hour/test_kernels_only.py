# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``MIRAGE_KERNELS_ONLY=1 pip install .`` beside another distribution whose package and command are called mirage."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest
from fresh_environments import ROOT, Environment, copy_sources, interpreters

pytestmark = pytest.mark.install
FOREIGN = "original_mirage-1.0"
SAYS = "def main():\n    print('the original')\n"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("kernels only") / "env", interpreters()[0], "torch", "safetensors")


@pytest.fixture(scope="module")
def wheel(env: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the kernels alone, without native kernels: how these are built does not depend on it."""
    project, out = copy_sources(tmp_path_factory.mktemp("kernels") / "project"), tmp_path_factory.mktemp("wheels")
    # what a build of both packages left behind must not get into the wheel
    (project / "build" / "lib" / "mirage").mkdir(parents=True)
    (project / "build" / "lib" / "mirage" / "left.py").touch()
    words = ("wheel", "--no-deps", "--wheel-dir", out, ".")
    done = env.pip(*words, folder=project, MIRAGE_CPP="0", MIRAGE_KERNELS_ONLY="1")
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A wheel with a package and a script called mirage."""
    info = f"{FOREIGN}.dist-info"
    files = {
        "mirage/__init__.py": SAYS,
        "mirage/memory/__init__.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: original-mirage\nVersion: 1.0\n",
        f"{info}/entry_points.txt": "[console_scripts]\nmirage = mirage:main\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path = tmp_path / f"{FOREIGN}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def digest(env: Environment) -> dict[str, str]:
    """The files of the foreign package and its script."""
    (site,) = env.folder.glob("lib/python*/site-packages")
    paths = [env.folder / "bin" / "mirage", *site.glob("mirage/**/*.py")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def call(env: Environment, folder: Path, *words: str | Path) -> str:
    done = env.pip(*words, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_one_package_and_no_command(wheel: Path) -> None:
    assert wheel.name.startswith("mirage_kernels-")
    assert "+kernels-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"mirage_kernels"}
    assert not [name for name in names if name.endswith("entry_points.txt")]
    extras = [line for line in metadata.splitlines() if line.startswith("Provides-Extra: ")]
    assert extras == ["Provides-Extra: triton"]
    assert "numpy" not in metadata.partition("\n\n")[0]


@pytest.mark.parametrize("first", ["kernels", "foreign"])
@pytest.mark.parametrize("uninstalled", ["mirage-kernels", "original-mirage"])
def test_beside_a_foreign_mirage(
    env: Environment, wheel: Path, foreign: Path, first: str, uninstalled: str, tmp_path: Path
) -> None:
    order = [wheel, foreign] if first == "kernels" else [foreign, wheel]
    for path in order:
        call(env, tmp_path, "install", "--no-deps", path)
    both = digest(env)
    assert len(both) == 3
    assert env.run(env.folder / "bin" / "mirage", folder=tmp_path).stdout == "the original\n"
    tested = env.run(env.python, "-m", "mirage_kernels", folder=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    call(env, tmp_path, "uninstall", "--yes", uninstalled)
    if uninstalled == "mirage-kernels":
        assert digest(env) == both
        assert env.run(env.python, "-c", "import mirage; mirage.main()", folder=tmp_path).stdout == "the original\n"
        assert env.run(env.python, "-c", "import mirage_kernels", folder=tmp_path).returncode != 0
        call(env, tmp_path, "uninstall", "--yes", "original-mirage")
    else:
        assert digest(env) == {}
        assert env.run(env.python, "-m", "mirage_kernels", folder=tmp_path).returncode == 0
        call(env, tmp_path, "uninstall", "--yes", "mirage-kernels")


def test_pip_replaces_one_by_the_other(env: Environment, wheel: Path, tmp_path: Path) -> None:
    """Both have one name, so pip never has them at once, with shared files that either takes away."""
    both = copy_sources(tmp_path / "project")
    assert "+kernels" in call(env, tmp_path, "install", "--no-deps", wheel)
    done = env.pip("install", "--no-deps", ".", folder=both, MIRAGE_CPP="0")
    assert done.returncode == 0, done.stderr
    assert "Successfully uninstalled mirage-kernels-" in done.stdout
    assert env.run(env.python, "-c", "import mirage, mirage_kernels", folder=tmp_path).returncode == 0
    assert "Successfully uninstalled mirage-kernels-" in call(env, tmp_path, "install", "--no-deps", wheel)
    assert env.run(env.python, "-c", "import mirage", folder=tmp_path).returncode != 0
    assert not (env.folder / "bin" / "mirage").exists()
    call(env, tmp_path, "uninstall", "--yes", "mirage-kernels")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the hub's variants are for Linux")
def test_the_kernel_hub_loads_the_layout(env: Environment, tmp_path: Path) -> None:
    """With the library kernels itself, which the index has, and no installed package."""
    project, python = copy_sources(tmp_path / "project"), env.python
    done = env.pip("wheel", "--no-deps", "--wheel-dir", tmp_path, ".", folder=project, MIRAGE_KERNELS_ONLY="1")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    if "-none-any" in wheel.name:
        pytest.skip("no C++ compiler")
    call(env, tmp_path, "install", "kernels>=0.17")
    laid = env.run(python, ROOT / ".ci" / "hub_layout.py", wheel, tmp_path / "hub", folder=tmp_path)
    assert laid.returncode == 0, laid.stderr
    code = (
        "import kernels, pathlib; k = kernels.get_local_kernel(pathlib.Path('hub'), backend='cpu'); print(k.__file__)"
    )
    code += "; print(k.backends()['cpp'])"
    loaded = env.run(python, "-c", code, folder=tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    file, reason = loaded.stdout.splitlines()[-2:]
    assert Path(file).is_relative_to(tmp_path / "hub")
    assert reason == "None"
