# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What of mirage works where only torch, numpy and safetensors are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import mirage

OPTIONAL = ("PIL", "av", "tqdm", "diffusers", "transformers", "peft", "accelerate", "skimage", "OpenEXR", "torchvision")
# Names that need no optional package; the others need the extra "wan".
CORE = {
    "Chunk",
    "ChunkModel",
    "Codec",
    "DataError",
    "DctCodec",
    "FillModel",
    "Filters",
    "LatentSpatialMemory",
    "MemoryView",
    "RolloutSession",
}
INSTALL = "pip install 'mirage-kernels[{}]'"


def run_without_packages(program: str) -> Any:
    """Run a program in a new process in which the optional packages are absent; its last line is JSON."""
    absent = f"import sys\nfor name in {OPTIONAL}: sys.modules[name] = None\n"
    result = subprocess.run([sys.executable, "-c", absent + program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_every_name_imports_or_says_what_to_install() -> None:
    errors = run_without_packages("""
import json, mirage
errors = {}
for name in mirage.__all__:
    try:
        getattr(mirage, name)
    except ImportError as error:
        errors[name] = str(error)
print(json.dumps(errors))
""")
    assert set(errors) == set(mirage.__all__) - CORE
    for name, message in errors.items():
        assert message.startswith(f"mirage.{name} needs "), message
        assert message.endswith(INSTALL.format("wan")), message


def test_files_of_images_say_what_to_install() -> None:
    needs = {
        "from mirage.io.files import read_image; read_image('a.png')": "reading images needs Pillow",
        "from mirage.io.files import read_depth; read_depth('a.png')": "reading images needs Pillow",
        "from mirage.io.images import write_image; write_image('a.png', image)": "converting images needs Pillow",
        "from mirage.io.images import contact_sheet; contact_sheet([[image]], [['a']])": "a contact sheet needs Pillow",
        "from mirage.io.video import VideoWriter; VideoWriter('a.mp4', 16)": "writing videos needs av",
    }
    messages = run_without_packages(f"""
import json, torch
messages, image = {{}}, torch.ones(3, 2, 2)
for call in {list(needs)}:
    try:
        exec(call)
    except ImportError as error:
        messages[call] = str(error)
print(json.dumps(messages))
""")
    assert messages == {call: f"{need}: {INSTALL.format('pipeline')}" for call, need in needs.items()}


def test_a_rollout_runs_without_optional_packages() -> None:
    program = """
import json, tempfile, torch
from mirage import DctCodec, FillModel, Filters, LatentSpatialMemory, RolloutSession
from mirage.cameras import CameraController, read_cameras, write_cameras
from mirage_kernels import Cameras
camera = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
codec = DctCodec()
session = RolloutSession(torch.rand(3, 96, 128), torch.full((96, 128), 2.0), camera, codec=codec, filters=Filters(),
                         memory=LatentSpatialMemory(codec.channels), model=FillModel())
chunk = session.step(CameraController(camera).go("l*8"))
with tempfile.TemporaryDirectory() as folder:
    session.memory.save(folder + "/memory.safetensors")
    write_cameras(folder + "/cameras.json", chunk.cameras)
    count = len(read_cameras(folder + "/cameras.json", (96, 128)))
print(json.dumps([chunk.frames.shape[1], count]))
"""
    assert run_without_packages(program) == [9, 9]
