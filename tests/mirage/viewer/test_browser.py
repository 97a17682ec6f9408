# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The page of the viewer in a real browser; ``make test-viewer`` finds one and runs this."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from walls import CAMERA, CODEC, SHIFT, wall_memory

pytest.importorskip("viser", reason="the extra viewer is not installed")

from browsers import Browser, find_browser

from mirage.models.embedded import FillModel
from mirage.rollout import RolloutSession
from mirage.viewer import MemoryViewer, Walk

pytestmark = pytest.mark.browser
SECONDS = 60  # software rendering takes its time
CANVAS = 850  # pixels to the left of the controls


@pytest.fixture
def viewer() -> Iterator[MemoryViewer]:
    with MemoryViewer(wall_memory(), CODEC, decodes_cells=True, title="wall", port=0) as viewer:
        yield viewer


@pytest.fixture
def browser(tmp_path: Path, viewer: MemoryViewer) -> Iterator[Browser]:
    program = find_browser()
    assert program is not None, "no Chromium on PATH; make test-viewer installs one"
    with Browser(program, tmp_path / "profile") as browser:
        browser.open(viewer.url)
        yield browser
        assert not browser.errors


def pixels(browser: Browser) -> np.ndarray:
    image = browser.screenshot()
    if "MIRAGE_SCREENSHOTS" in os.environ:
        folder = Path(os.environ["MIRAGE_SCREENSHOTS"])
        folder.mkdir(parents=True, exist_ok=True)
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0]
        (folder / f"{name}.png").write_bytes(image)
    shown: np.ndarray = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))[:, :CANVAS].astype(int)
    return shown


def share(image: np.ndarray, channel: int) -> float:
    """Fraction of the scene that is purely of one color."""
    others = [other for other in range(3) if other != channel]
    return float(((image[..., channel] > 180) & (image[..., others].max(-1) < 40)).mean())


def wait_for(browser: Browser, fits: Callable[[np.ndarray], bool]) -> np.ndarray:
    """Wait until the page looks as it should, and return the screenshot."""
    until = time.monotonic() + SECONDS
    while True:
        image = pixels(browser)
        if fits(image):
            return image
        assert time.monotonic() < until, f"the page does not show it; it says: {browser.text()}"
        time.sleep(0.3)


def shows_the_wall(image: np.ndarray) -> bool:
    return share(image, 0) > 0.01 and share(image, 1) > 0.003


def test_it_shows_points(browser: Browser) -> None:
    image = wait_for(browser, shows_the_wall)
    red, green = ((image[..., c] > 180) & (image[..., 1 - c] < 40) for c in (0, 1))
    assert np.nonzero(red)[1].mean() < np.nonzero(green)[1].mean()  # green is on the right
    assert "frame 1 to 10 added 8 points; 32 of 32" in browser.text()


def test_it_reacts_to_a_camera_change(browser: Browser, viewer: MemoryViewer) -> None:
    before = wait_for(browser, shows_the_wall)
    (client,) = viewer._server.get_clients().values()
    viewer.fly(client, CAMERA.translate((2 * SHIFT, 0, 1)))
    wait_for(browser, lambda image: share(image, 1) > 3 * share(before, 1))
    (client,) = viewer._server.get_clients().values()
    position = client.camera.position.copy()
    browser.drag((300, 400), (420, 420))  # the mouse turns the camera, and the server reads from there
    until = time.monotonic() + SECONDS
    while np.abs(client.camera.position - position).max() < 0.05:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "memory, read from here:" in browser.text()


def test_it_reacts_to_a_key(browser: Browser, viewer: MemoryViewer) -> None:
    image = np.zeros((3, *CAMERA.size), np.float32)
    image[1] = 1
    session = RolloutSession(
        torch.from_numpy(image),
        None,
        CAMERA.translate((SHIFT, 0, 0)),
        memory=viewer.memory,
        codec=CODEC,
        model=FillModel(),
    )
    with Walk(viewer, session, turn=5.0) as walk:
        wait_for(browser, shows_the_wall)
        before = len(viewer.memory)
        browser.press("l")
        until = time.monotonic() + SECONDS
        while "8 frames generated" not in browser.text():
            assert time.monotonic() < until, browser.text()
            time.sleep(0.2)
        assert walk.chunks == 1
        assert len(viewer.memory) > before
        pixels(browser)
