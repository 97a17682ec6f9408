# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Fetches the headers of one torch: ``python .ci/torch_headers.py VERSION FOLDER``.

They lie in its wheels, of which macOS's is the smallest; nothing else of it is kept.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PLATFORMS = ("macosx_11_0_arm64", "macosx_12_0_arm64", "macosx_14_0_arm64")


def fetch(version: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version=3.11", "--dest", scratch]
        command += [f"--platform={platform}" for platform in PLATFORMS]
        # another torch may be asked for on purpose here, whatever the environment is held to
        environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        subprocess.run([*command, f"torch=={version}"], check=True, env=environment)
        (wheel,) = Path(scratch).glob("torch-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith("torch/include/")])


if __name__ == "__main__":
    fetch(sys.argv[1], Path(sys.argv[2]))
