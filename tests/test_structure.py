# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The house rules: which part may import which, and what every file carries."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KERNELS = sorted(ROOT.glob("mirage_kernels/**/*.py"))
PIPELINE = sorted(ROOT.glob("mirage/**/*.py"))
NATIVE = sorted(path for path in ROOT.glob("csrc/**/*") if path.suffix in (".h", ".cpp", ".cu", ".cuh"))


def imports(path: Path) -> set[str]:
    """Every module a Python file imports, relative ones made absolute."""
    package = path.relative_to(ROOT).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def top(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


def operation(path: Path) -> str | None:
    parts = path.relative_to(ROOT).parts
    if "ops" in parts and len(parts) > 3:
        return parts[parts.index("ops") + 1]
    return None


@pytest.mark.parametrize("path", KERNELS, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_kernels_need_only_torch(path: Path) -> None:
    standard = {name for name in sys.stdlib_module_names if name not in ("pickle", "shelve")}
    assert top(imports(path)) <= standard | {"torch", "safetensors", "triton", "mirage_kernels"}
    own = operation(path)
    if own:
        others = {m for m in imports(path) if m.startswith("mirage_kernels.ops.") and m.split(".")[2] != own}
        private = {m for m in others if not m.split(".")[3].endswith("_operators")}
        assert not private, "an operation imports the typed calls of another one, <op>_operators.py, and nothing else"


@pytest.mark.parametrize("path", KERNELS, ids=lambda p: str(p.relative_to(ROOT)))
def test_stand_ins_use_public_names_and_no_kernel_uses_them(path: Path) -> None:
    import mirage_kernels

    used = {m for m in imports(path) if m.startswith("mirage_kernels.")}
    own = {m for m in used if m.startswith("mirage_kernels.compat")}
    if path.parent.name != "compat":
        assert not own
        return
    assert used - own <= {f"mirage_kernels.{name}" for name in mirage_kernels.__all__}
    assert "torch.ops" not in path.read_text()


@pytest.mark.parametrize("path", PIPELINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_pipeline_uses_public_names_only(path: Path) -> None:
    import mirage_kernels

    used = {m for m in imports(path) if m.startswith("mirage_kernels")}
    allowed = {f"mirage_kernels.{name}" for name in mirage_kernels.__all__} | {"mirage_kernels"}
    stand_in = "mirage_kernels.compat.placement"  # the memory has its placement
    assert used <= allowed | {module for module in used if module.startswith(stand_in)}
    assert "torch.ops" not in path.read_text()
    assert not {"benchmarks", "tests"} & top(imports(path))


# The floors of mirage/, top down. A folder may import those of lower floors, and none of its own floor.
FLOORS = (
    ("cli",),
    ("training", "evaluation", "viewer"),
    ("models",),
    ("rollout", "recordings"),
    ("cameras", "depth", "filters"),
    ("data",),
    ("memory", "io"),
    ("geometry", "errors"),
)
FLOOR = {part: number for number, floor in enumerate(FLOORS) for part in floor}
# Hand out names of all floors, at their first use, and start the command line.
FRONT_DOORS = {"mirage.__init__", "mirage.__main__"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def walks_up(path: Path, modules: set[str]) -> list[str]:
    """What a file of mirage/ must not import: its own floor's other folders, and the floors above."""
    name = module_name(path)
    if name in FRONT_DOORS:
        return []
    mine = name.split(".")[1]
    others = {module.split(".")[1] for module in modules if module.startswith("mirage.")} - {mine}
    return sorted(other for other in others if FLOOR[other] <= FLOOR[mine])


@pytest.mark.parametrize("path", PIPELINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_the_floors(path: Path) -> None:
    assert not walks_up(path, imports(path))


def test_a_planted_import_breaks_a_floor() -> None:
    path = ROOT / "mirage" / "memory" / "latent_memory.py"
    assert walks_up(path, {"mirage.depth.align", "mirage.geometry.grids.resize_depth"}) == ["depth"]
    assert walks_up(path, {"mirage.io.files.read_image"}) == ["io"]
    wan = ROOT / "mirage" / "models" / "wan" / "codec.py"
    assert walks_up(wan, {"mirage.models.wan.presets", "mirage.cli.main.main"}) == ["cli"]


def depends_on(path: Path, modules: set[str]) -> set[Path]:
    """The files of a package that a file imports; a name that a package hands out comes from its __init__."""
    found = set()
    for module in modules:
        parts = module.split(".")
        for end in (len(parts), len(parts) - 1):
            base = ROOT.joinpath(*parts[:end])
            hit = next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)
            if hit is not None:
                found.add(hit)
                break
    return found - {path}


def circles(graph: dict[Path, set[Path]]) -> list[list[Path]]:
    """Import circles: strongly connected files, found by taking away whatever imports nothing that is left."""
    left = {path: set(others) & set(graph) for path, others in graph.items()}
    while free := [path for path, others in left.items() if not others & set(left)]:
        for path in free:
            del left[path]
    while free := [path for path in left if not any(path in others for others in left.values())]:
        for path in free:
            del left[path]
    return [sorted(left)] if left else []


@pytest.mark.parametrize("files", [KERNELS, PIPELINE], ids=["mirage_kernels", "mirage"])
def test_no_import_circle(files: list[Path]) -> None:
    """Imports for types count; a package's own __init__, which only hands out names, does not."""
    graph = {path: depends_on(path, imports(path)) for path in files if path.name != "__init__.py"}
    assert not circles(graph)


def test_few_loose_modules() -> None:
    assert len(list(ROOT.glob("mirage/*.py"))) <= 6


def body_lines(path: Path) -> dict[str, int]:
    """Lines of every function, its docstring not counted."""
    lines = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            text = node.body[0] if ast.get_docstring(node) is not None else None
            docstring = 0 if text is None else (text.end_lineno or 0) - text.lineno + 1
            lines[node.name] = (node.end_lineno or 0) - node.lineno + 1 - docstring
    return lines


@pytest.mark.parametrize("path", [*KERNELS, *PIPELINE], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert {name: lines for name, lines in body_lines(path).items() if lines > 60} == {}


# What a folder of csrc may include: csrc/common <- csrc/torch, csrc/cpu <- csrc/<op>
LAYERS = {"common": {"common"}, "cpu": {"common", "cpu"}, "torch": {"common", "torch"}}


@pytest.mark.parametrize("path", NATIVE, ids=lambda p: str(p.relative_to(ROOT)))
def test_native_includes_go_one_way(path: Path) -> None:
    folder = path.relative_to(ROOT / "csrc").parts[0]
    allowed = LAYERS.get(folder, {"common", "cpu", "torch", folder})
    for name in re.findall(r'#include "([^"]+)"', path.read_text()):
        parts = name.removeprefix("../").split("/")
        assert len(parts) == 1 or parts[0] in allowed or folder == "module.cpp", name
    header = path.suffix in (".h", ".cuh") and folder != "torch"
    torch_free = folder in ("common", "cpu") or (header and folder != "classic") or path.stem.endswith("_isa")
    assert not (torch_free and "<torch/" in path.read_text())


@pytest.mark.parametrize("path", [*KERNELS, *PIPELINE, *NATIVE], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_carries_its_licence(path: Path) -> None:
    mark = "#" if path.suffix == ".py" else "//"
    lines = path.read_text().splitlines()
    assert lines[0] == f"{mark} SPDX-FileCopyrightText: 2026 The Mirage authors"
    assert lines[1] == f"{mark} SPDX-License-Identifier: Apache-2.0"


def test_every_file_of_an_operation_carries_its_word() -> None:
    for path in ROOT.glob("mirage_kernels/ops/*/*.py"):
        assert path.stem.startswith(path.parent.name) or path.stem == "__init__"
    for word in (path.name for path in ROOT.glob("mirage_kernels/ops/*") if path.is_dir() and path.name[0] != "_"):
        assert all(path.name.startswith(word) for path in ROOT.glob(f"csrc/{word}/*"))


def counted_lines(paths: list[Path]) -> Counter[str]:
    """The lines of files that say something: 25 characters or more, without includes, the license, and the first lines
    of the functions that both sides have by contract."""
    lines = (line.strip() for path in paths for line in path.read_text().splitlines())
    left_out = ("#include", "// SPDX-", "static void ")
    return Counter(line for line in lines if len(line) >= 25 and not line.startswith(left_out))


def test_an_operation_is_not_written_twice() -> None:
    """What CPU and CUDA both need is in <op>.h and <op>_operands.h: few lines of .cpp files are in .cu or .cuh too."""
    same = {}
    for folder in sorted(path for path in ROOT.glob("csrc/*") if path.is_dir()):
        cpu = counted_lines(sorted(folder.glob("*.cpp")))
        cuda = counted_lines([*sorted(folder.glob("*.cu")), *sorted(folder.glob("*.cuh"))])
        same[folder.name] = (cpu & cuda).total()
    assert sum(same.values()) < 30, same


def test_a_guard_has_its_message_to_itself() -> None:
    messages = Counter(
        message
        for path in NATIVE
        for message in re.findall(
            r'"((?:associate|quantize|splat|composite|unproject|visible|overlap|project|voxel_cache)\w*: [^"]+)"',
            path.read_text(),
        )
    )
    assert len(messages) > 40
    assert not [message for message, count in messages.items() if count > 1]


def test_cuda_kernels_carry_the_name_of_their_operation() -> None:
    bounds = r"__launch_bounds__\((?:[^()]|\([^()]*\))*\)"
    kernels = 0
    for path in NATIVE:
        folder = path.relative_to(ROOT / "csrc").parts[0]
        for name in re.findall(rf"__global__ void(?:\s*{bounds})?\s*(\w+)\(", path.read_text()):
            kernels += 1
            assert re.fullmatch(rf"{'views' if folder == 'common' else folder}_\w+_kernel", name), f"{path}: {name}"
        assert "emulat" not in path.read_text().lower(), f"{path}: the tests replace headers instead"
    assert kernels == sum(path.read_text().count("__global__") for path in NATIVE)


def test_code_for_wide_instruction_sets_is_kept_to_itself() -> None:
    """An object built for AVX-512 must not define a symbol that the linker could pick for everyone."""
    built = sorted(ROOT.glob("build/**/*_isa.*.o"))
    objects = [path for path in built if "sanitize" not in path.parts]  # sanitizers add symbols, and stay here
    if not objects:
        pytest.skip("no objects of a build at hand")
    for path in objects:
        symbols = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout.splitlines()
        weak = [line for line in symbols if re.search(r" [WVu] ", line)]
        assert not weak, f"{path.name}: {weak}"
