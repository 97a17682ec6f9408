# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Try the built module under a CUDA build of torch, on a machine that needs no GPU.

The torches are that of the interpreter in MIRAGE_CUDA_PYTHON and those of `make test-torches`. Under each, the module
of this folder is imported, the lookup of torch's current stream is tried, and the self-test is run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROBE = ROOT / "tests" / "kernels" / "emulation" / "stream_probe.cu"
LOOK_UP = """
import ctypes, sys
import torch
import mirage_kernels._C
probe = ctypes.CDLL(sys.argv[1])
probe.why_no_stream.restype = ctypes.c_char_p
stream, why = probe.current_stream(), probe.why_no_stream().decode()
# without a GPU torch's own function is found, and fails
sys.exit(f"the stream of torch {torch.__version__} was not found: {why}" if "built without CUDA" in why else 0)
"""


def run(command: list[str], **options: bool) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, **options)


def cuda_torch(interpreter: str) -> str | None:
    """The version of its torch, None where that is built for CPUs only."""
    code = "import torch; print(torch.__version__ if torch.version.cuda else '')"
    return run([interpreter, "-c", code], capture_output=True, check=True).stdout.strip() or None


def interpreters() -> dict[str, str]:
    """Every interpreter at hand whose torch is built for CUDA, and the version of that torch."""
    named = os.environ.get("MIRAGE_CUDA_PYTHON")
    made = sorted(map(str, ROOT.glob("build/torches/*/bin/python")))
    if named and not shutil.which(named):
        sys.exit(f"MIRAGE_CUDA_PYTHON: expected the path of an interpreter, got {named!r}")
    found = {interpreter: cuda_torch(interpreter) for interpreter in [*([named] if named else []), *made]}
    if named and found[named] is None:
        sys.exit(f"MIRAGE_CUDA_PYTHON: expected the interpreter of a CUDA build of torch, got {named}, built for CPUs")
    return {interpreter: version for interpreter, version in found.items() if version}


def build_probe(nvcc: str, folder: str) -> str:
    from torch.utils import cpp_extension

    library = str(Path(folder, "stream_probe.so"))
    command = [nvcc, "-std=c++20", "-arch=sm_80", "-shared", "-Xcompiler=-fPIC", "-DUSE_CUDA", f"-I{ROOT / 'csrc'}"]
    command += [f"-isystem={path}" for path in cpp_extension.include_paths()]
    command += [f"-L{path}" for path in cpp_extension.library_paths()]
    command += ["-ltorch_cpu", "-DTORCH_TARGET_VERSION=0x020a000000000000", str(PROBE), "-o", library]
    subprocess.run(command, check=True)
    return library


def try_torch(interpreter: str, version: str, probe: str | None) -> None:
    tested = run([interpreter, "-m", "mirage_kernels"], capture_output=True)
    if tested.returncode != 0 or "self-test cpp on cpu" not in tested.stdout:
        sys.exit(f"torch {version}: the self-test of cpp did not pass\n{tested.stdout}{tested.stderr}")
    if probe is not None:
        looked = run([interpreter, "-c", LOOK_UP, probe], capture_output=True)
        if looked.returncode != 0:
            sys.exit(f"torch {version}: {looked.stderr}")
    print(f"torch {version}: imported, self-test of cpp passed, {'stream found' if probe else 'stream: needs nvcc'}")


def main() -> None:
    found, nvcc = interpreters(), shutil.which("nvcc")
    if not found:
        print("no CUDA build of torch at hand: name its interpreter in MIRAGE_CUDA_PYTHON, or run make test-torches")
        return
    with tempfile.TemporaryDirectory() as folder:
        probe = build_probe(nvcc, folder) if nvcc else None
        for interpreter, version in found.items():
            try_torch(interpreter, version, probe)


if __name__ == "__main__":
    main()
