# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The build of the native kernels with other tools and in other folders. Compilers are scripts that log their words."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """csrc/native_build.py as a module, without the switches of the environment."""
    monkeypatch.chdir(ROOT)
    for name in (
        "CXX",
        "MIRAGE_CPP",
        "MIRAGE_CUDA",
        "MIRAGE_TORCH",
        "MIRAGE_WERROR",
        "MAX_JOBS",
        "TORCH_CUDA_ARCH_LIST",
    ):
        monkeypatch.delenv(name, raising=False)
    return load(monkeypatch, "native_build")


@pytest.fixture
def native_torch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """csrc/native_torch.py as a module, without the switches of the environment."""
    monkeypatch.delenv("MIRAGE_TORCH", raising=False)
    return load(monkeypatch, "native_torch")


def load(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """A module of csrc, as setup.py imports it; what the test changes in it is undone."""
    monkeypatch.syspath_prepend(str(ROOT / "csrc"))
    return importlib.import_module(name)


def fake_cxx(folder: Path, *, status: int = 0, says: str = "") -> Path:
    """A compiler that writes its words, one a line, to the file after -o."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "c++"
    path.write_text(f"""#!{sys.executable}
import sys
from pathlib import Path
words = sys.argv[1:]
if "--version" in words:
    print("fake c++ 1.0")
elif "-o" in words:
    Path(words[words.index("-o") + 1]).write_text("\\n".join(words))
    with open({str(folder / "outputs.txt")!r}, "a") as log: log.write(words[words.index("-o") + 1] + "\\n")
print({says!r}, file=sys.stderr)
sys.exit({status})
""")
    path.chmod(0o755)
    return path


def error(call: Any, *arguments: Any) -> str:
    """The line that a call ends the build with."""
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    message = str(caught.value.code)
    assert "\n" not in message
    return message


def test_a_compiler_may_have_options(native: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fake_cxx(tmp_path)
    spaced = fake_cxx(tmp_path / "a folder")
    for command, words in [
        (str(plain), [str(plain)]),
        (f"{plain} -m64", [str(plain), "-m64"]),
        (f"env {plain} -DX='a b'", ["env", str(plain), "-DX=a b"]),
        (str(spaced), [str(spaced)]),
        (f"'{spaced}' -m64", [str(spaced), "-m64"]),
    ]:
        monkeypatch.setenv("CXX", command)
        found = native.find_cxx()
        assert native.shlex.split(found) == words
        assert native.tool_version(found) == "fake c++ 1.0"


@pytest.mark.parametrize("named", ["no-such-c++", "no-such-ccache g++", "/usr/bin/none/g++ -O2", "g++ 'open"])
def test_a_named_compiler_that_is_not_there_is_an_error(
    native: ModuleType, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("CXX", named)
    for wanted in (None, "1"):
        if wanted:
            monkeypatch.setenv("MIRAGE_CPP", wanted)
        assert error(native.find_cxx).startswith(f"CXX: expected the command of a C++ compiler, got {named!r}")
    monkeypatch.setenv("MIRAGE_CPP", "0")
    assert native.find_cxx() is None


def test_no_compiler_at_all_is_an_error_only_where_one_is_asked_for(
    native: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.find_cxx() is None
    monkeypatch.setenv("MIRAGE_CPP", "1")
    assert error(native.find_cxx) == "MIRAGE_CPP=1, but no C++ compiler was found (looked for c++, g++, clang++)"


@pytest.mark.parametrize(("says", "reason"), [
    ("c++: error: unrecognized option '-std=c++20'", "c++: error: unrecognized option '-std=c++20'"),
    ("In file\nx.cpp:1:10: fatal error: Python.h: none\n 1 | #inc", "x.cpp:1:10: fatal error: Python.h: none"),
    ("ccache: error: Could not find compiler", "ccache: error: Could not find compiler"),
    ("", "it fails"),
])  # fmt: skip
def test_a_compiler_that_cannot_compile_ends_the_build_with_its_reason(
    native: ModuleType, tmp_path: Path, says: str, reason: str
) -> None:
    message = error(native.check_cxx, str(fake_cxx(tmp_path, status=1, says=says)))
    assert message.startswith(
        f"CXX: expected a compiler of C++20, with Python's headers (Debian, Ubuntu: python3-dev), got {tmp_path}"
    )
    assert f": {reason}; name another in CXX" in message
    native.check_cxx(str(fake_cxx(tmp_path)))


def test_the_compiler_of_this_machine_is_accepted(native: ModuleType) -> None:
    cxx = native.find_cxx()
    if cxx is None:
        pytest.skip("needs a C++ compiler")
    native.check_cxx(cxx)


def headers(folder: Path, release: str, place: str = "headeronly") -> Path:
    """A folder torch that has nothing but the header of its version."""
    major, minor, patch = release.split(".")
    header = folder / "torch" / "include" / "torch" / place / "version.h"
    header.parent.mkdir(parents=True)
    header.write_text(f"""#define TORCH_VERSION_MAJOR {major}
#define TORCH_VERSION_MINOR {minor}
#define TORCH_VERSION_PATCH {patch}
""")
    return folder / "torch"


def test_the_build_takes_the_headers_of_the_installed_torch(
    native_torch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    found = native_torch.find_torch()
    assert found.version == torch.__version__.split("+")[0]
    assert found.include.is_dir()
    old, new = headers(tmp_path / "old", "2.3.1"), headers(tmp_path / "new", "3.0.0")
    monkeypatch.setattr(native_torch, "torch_folders", lambda: [tmp_path / "none", old, new])
    assert native_torch.find_torch().version == "3.0.0"
    monkeypatch.setattr(native_torch, "torch_folders", lambda: [tmp_path / "none", old])
    assert native_torch.find_torch() is None


@pytest.mark.parametrize(("release", "symbol", "new_strings"), [
    ("2.4.0", b"torchCheckFailEPKcS2_jRKSs", 0), ("2.6.0", b"torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_string", 1),
    ("2.6.0", None, 0), ("2.7.0", None, 1),
])  # fmt: skip
def test_an_older_torch_is_compiled_against_its_own_api(
    native: ModuleType, native_torch: ModuleType, tmp_path: Path, release: str, symbol: bytes | None, new_strings: int
) -> None:
    """Its version is in another header, and its library tells which std::string it was built with."""
    folder = headers(tmp_path, release, "csrc/api/include/torch")
    if symbol:
        (folder / "lib").mkdir()
        (folder / "lib" / "libc10.so").write_bytes(b"\0_ZN3c106detail14" + symbol + b"\0")
    torch = native_torch.Torch.read(folder)
    assert (torch.version, torch.is_stable) == (release, False)
    assert torch.module == f"_C_torch2_{release[2]}"
    assert f"-D_GLIBCXX_USE_CXX11_ABI={new_strings}" in torch.flags()
    assert not [flag for flag in torch.flags() if "TORCH_TARGET_VERSION" in flag]
    cxx = fake_cxx(tmp_path / "tools")
    build = native.NativeBuild(tmp_path / "build", str(cxx), None, torch)
    build.write(tmp_path / "out.so")
    command = build.rules()["cxx"]
    assert command.index("csrc/classic") < command.index("/csrc ")
    assert f"#define MIRAGE_MODULE {torch.module}\n" in (tmp_path / "build" / "build_info.h").read_text()
    flags = {edge.target: edge.flags for edge in build.edges}
    assert "-fopenmp" in flags["csrc/module.o"]
    assert "-fopenmp" not in flags["csrc/splat/splat_isa.baseline.o"], "loops keep their order of sums"


def test_an_isolated_build_finds_the_torch_that_is_hidden_from_it(native_torch: ModuleType) -> None:
    """pip takes the environment's packages off the path; the folder they lie in is listed all the same."""
    assert Path(native_torch.sysconfig.get_path("purelib"), "torch") in native_torch.torch_folders()


def test_a_named_torch_is_used_or_refused(
    native_torch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRAGE_TORCH", str(headers(tmp_path / "new", "2.12.3")))
    assert native_torch.find_torch() == native_torch.Torch("2.12.3", tmp_path / "new" / "torch" / "include")
    old = headers(tmp_path / "old", "2.3.1")
    for folder, got in [(old, "the headers of torch 2.3.1"), (tmp_path, "none there")]:
        monkeypatch.setenv("MIRAGE_TORCH", str(folder))
        assert error(native_torch.find_torch) == (
            f"MIRAGE_TORCH: expected a folder with the headers of torch 2.4 or newer, got {str(folder)!r} ({got})"
        )


@pytest.mark.parametrize(("asked", "arches"), [
    ("9.0", ["90"]), ("8.0;9.0+PTX", ["80", "90"]), ("12.0 8.6, 8.6", ["86", "120"]), ("7.5 9.0a", ["90"]),
    ("", ["80", "90", "100", "120"]),
])  # fmt: skip
def test_the_list_of_torch_names_the_architectures(
    native: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: str, arches: list[str]
) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\nfor arch in 75 80 86 90 100 120; do echo compute_$arch; done\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", asked)
    assert native.find_arches(str(nvcc)) == arches
    for wrong, said in [("Hopper", "got 'Hopper'"), ("9.0;x", "got 'x'"), ("7.5", "of 8.0 or newer"), ("8.9", "knows")]:
        monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", wrong)
        message = error(native.find_arches, str(nvcc))
        assert message.startswith("TORCH_CUDA_ARCH_LIST: expected ")
        assert said in message


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_a_number_of_jobs_is_a_number(native: ModuleType, monkeypatch: pytest.MonkeyPatch, jobs: str) -> None:
    monkeypatch.setenv("MAX_JOBS", jobs)
    assert error(native.max_jobs) == f"MAX_JOBS: expected a number of files of at least 1, got {jobs!r}"


@pytest.mark.parametrize("with_ninja", [True, False])
def test_folders_with_spaces_with_ninja_and_without(
    native: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_ninja: bool
) -> None:
    """Every object, and the binary, is made, and the compiler gets every folder as one word."""
    if with_ninja and native.find_ninja() is None:
        pytest.skip("needs ninja")
    project = tmp_path / "my $project: it's"
    (project / "csrc" / "op").mkdir(parents=True)
    for name in ("module.cpp", "op/op_cpu.cpp", "op/op_isa.cpp"):
        (project / "csrc" / name).touch()
    shutil.copytree(ROOT / "mirage_kernels", project / "mirage_kernels", ignore=shutil.ignore_patterns("*.so", "ops"))
    monkeypatch.setattr(native, "ROOT", project)
    monkeypatch.chdir(project)
    if not with_ninja:
        monkeypatch.setattr(native, "find_ninja", lambda: None)
    monkeypatch.setenv("CXX", str(fake_cxx(tmp_path / "tools")))
    torch = native.Torch("2.10.0", tmp_path / "torch folder" / "include")
    build = native.NativeBuild(project / "build", native.find_cxx(), None, torch)
    output = project / "out" / "_C.so"
    output.parent.mkdir()
    build.write(output)
    assert build.run()
    objects = sorted(path.name for path in project.glob("build/csrc/**/*.o"))
    assert objects == ["module.o", "op_cpu.o", *(f"op_isa.{isa}.o" for isa in sorted(build.isas))]
    words = (project / "build" / "csrc" / "module.o").read_text().splitlines()
    assert str(torch.include) in words
    assert "-I../csrc" in words
    linked = output.read_text().splitlines()
    assert [word for word in linked if word.endswith((".o", "_cpu.so", "c10.so"))] == [
        edge.target for edge in build.edges[:-1]
    ]
    made = (tmp_path / "tools" / "outputs.txt").read_text().splitlines()
    assert made[-1] == "../out/_C.so"
    assert sorted(made) == sorted(edge.target for edge in build.edges)


def test_a_file_that_does_not_compile_fails_the_build_without_ninja(
    native: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "find_ninja", lambda: None)
    monkeypatch.setenv("MAX_JOBS", "1")
    cxx = fake_cxx(tmp_path / "tools")
    build = native.NativeBuild(tmp_path / "build", str(cxx), None, native.Torch("2.10.0", tmp_path))
    build.write(tmp_path / "_C.so")
    fake_cxx(tmp_path / "tools", status=1)
    assert not build.run()
    assert not (tmp_path / "_C.so").exists()


def test_ninja_is_found_as_a_package(native: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ninja"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "ninja.py").write_text(f"BIN_DIR = {str(program.parent)!r}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "ninja", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert native.find_ninja() == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert native.find_ninja() == str(program)


def test_the_readme_of_the_package_has_absolute_links() -> None:
    """On the package index it stands beside no other file of the repository."""
    text = (ROOT / "README.md").read_text()
    spec = importlib.util.spec_from_file_location("mirage_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    published = setup.readme()
    targets = re.findall(r"\]\(([^)\s]+)\)", published)
    assert len(targets) == len(re.findall(r"\]\(([^)\s]+)\)", text))
    assert all(re.match(r"https?://", target) for target in targets)
    base = re.escape(setup.repository())
    inside = re.findall(rf"{base}/(?:blob|raw)/v[\d.]+/([^)#\s]+)", published)
    assert len(inside) > 5
    assert all((ROOT / name).exists() for name in inside)
    assert re.search(rf"!\[[^\]]*\]\({base}/raw/v[\d.]+/docs/images/", published)
    assert re.sub(rf"{base}/(blob|raw)/v[\d.]+/", "", published) == text
    assert f"repository-code: {setup.repository()}\n" in (ROOT / "CITATION.cff").read_text()
