# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The layout of Hugging Face's kernel hub, made of a wheel that is zipped here from the built package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch
from test_ci import script

import mirage_kernels as mk
from mirage_kernels._native_module import NAME

PACKAGE = Path(mk.__file__).resolve().parent
WHEEL = "mirage_kernels-0.2.0+kernels-cp310-abi3-manylinux_2_27_x86_64.whl"
# How `kernels` imports a variant, without its package; torch's folder is the only one on the path.
LOAD = """
import importlib.util, json, pathlib, sys
variant, site = pathlib.Path(sys.argv[1]), sys.argv[2]
sys.path.append(site)
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
name = json.loads((variant / "metadata.json").read_text())["id"]
spec = importlib.util.spec_from_file_location(name, variant / "__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
import torch
cameras = module.Cameras(torch.tensor([[4.0, 0, 4], [0, 4, 3], [0, 0, 1]]), torch.eye(4), (6, 8))
view = module.splat(torch.tensor([[0.0, 0, 2]]), torch.ones(1, 3), cameras)
from mirage_kernels.compat.pose_bank import frustum_overlap
print(json.dumps([sys.modules["mirage_kernels"].__file__, module.backends()["cpp"], int(view.mask.sum()),
                  "splat" in dir(module)]))
"""


@pytest.fixture
def layout() -> ModuleType:
    return script("hub_layout")


def make_wheel(folder: Path, name: str = WHEEL) -> Path:
    natives = list(PACKAGE.glob("_C.*.so"))
    if not natives or NAME != "_C":
        pytest.skip("needs the native module on the stable ABI")
    wheel = folder / name
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in [*PACKAGE.rglob("*.py"), *natives]:
            archive.write(path, Path("mirage_kernels", path.relative_to(PACKAGE)))
        archive.writestr("mirage_kernels-0.2.0.dist-info/METADATA", "")
    return wheel


def test_a_variant_is_imported_as_the_hub_does(layout: ModuleType, tmp_path: Path) -> None:
    variant = layout.lay_out(make_wheel(tmp_path), tmp_path / "hub")[0]
    assert variant.relative_to(tmp_path) == Path("hub/build/torch-stable-abi210-cpu-x86_64-linux")
    assert json.loads((variant / "metadata.json").read_text())["backend"] == {"type": "cpu"}
    site = Path(torch.__file__).parents[1]
    command = [sys.executable, "-I", "-c", LOAD, str(variant), str(site)]
    environment = {name: value for name, value in os.environ.items() if name != "MIRAGE_KERNELS_BACKEND"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    file, reason, seen, is_listed = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(variant)
    assert (reason, seen, is_listed) == (None, 1, True)


def test_a_build_with_cuda_has_a_variant_for_it(layout: ModuleType) -> None:
    info = {"cuda_arches": ["80", "90", "120"], "nvcc": "Cuda compilation tools, release 12.8, V12.8.93"}
    assert layout.backends(info) == {
        "cpu": {"type": "cpu"}, "cu128": {"type": "cuda", "archs": ["8.0", "9.0", "12.0"]},
    }  # fmt: skip
    assert list(layout.backends({"cuda_arches": [], "nvcc": None})) == ["cpu"]


@pytest.mark.parametrize("name", ["mirage_kernels-0.2.0-py3-none-any.whl", "x-0-cp310-abi3-macosx_11_0_arm64.whl"])
def test_wheels_without_native_kernels_are_refused(layout: ModuleType, tmp_path: Path, name: str) -> None:
    wheel = tmp_path / name
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mirage_kernels/__init__.py", "")
    with pytest.raises(SystemExit, match=f"WHEEL: expected one for Linux with mirage_kernels/_C, got {name}"):
        layout.lay_out(wheel, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()
