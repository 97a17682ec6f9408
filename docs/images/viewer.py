# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Draws viewer.webp, viewer_walk.webp and memory_frames.png: a memory of `mirage generate --scene motorcycle`.

mirage generate --scene motorcycle --out out/motorcycle
python docs/images/viewer.py out/motorcycle/memory.safetensors
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from mirage.cli.live_view import codec_of
from mirage.cli.main import main
from mirage.cli.start_options import scene_from_memory
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import FillModel
from mirage.rollout import RolloutSession
from mirage.viewer import MemoryViewer, Walk

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "tests" / "mirage"))
SECONDS = 10  # after which software rendering has caught up


def draw(path: str) -> None:
    from browsers import Browser, find_browser

    memory = LatentSpatialMemory.load(path)
    codec, program = codec_of(memory), find_browser()
    assert codec is not None
    assert program is not None
    scene = scene_from_memory(memory, codec)
    viewer = MemoryViewer(memory, codec, decodes_cells=True, title=Path(path).name, port=0)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        viewer,
        Browser(program, Path(profile), (1280, 860)) as browser,
    ):

        def save(name: str) -> None:
            time.sleep(SECONDS)
            browser.evaluate("[...document.querySelectorAll('[role=alert]')].map(part => part.remove())")
            image = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
            image.save(HERE / name, quality=80, method=6)

        browser.open(viewer.url)
        save("viewer.webp")
        session = RolloutSession(scene.image, None, scene.keys, memory=memory, codec=codec, model=FillModel())
        with Walk(viewer, session):
            time.sleep(1)
            browser.press("l")
            save("viewer_walk.webp")
    options = [f"--out={HERE / 'memory_frames.png'}", "--color=frame", "--height=360", "--width=480"]
    assert main(["view", path, *options]) == 0


if __name__ == "__main__":
    draw(sys.argv[1])
