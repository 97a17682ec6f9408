# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The server of the viewer, through its HTTP and websocket interface."""

from __future__ import annotations

import io
import math
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from walls import CAMERA, CODEC, SHIFT, wall_memory

pytest.importorskip("viser", reason="the extra viewer is not installed")

from browsers import Messages

from mirage.filters import EdgeFilter, Filters
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import FillModel
from mirage.rollout import RolloutSession
from mirage.viewer import MemoryViewer, Walk

Message = dict[str, Any]
FOV = 2 * math.atan(1 / 3)  # of the cameras of the wall


@pytest.fixture
def memory() -> LatentSpatialMemory:
    return wall_memory()


@pytest.fixture
def viewer(memory: LatentSpatialMemory) -> Iterator[MemoryViewer]:
    with MemoryViewer(memory, CODEC, decodes_cells=True, title="wall", port=0) as viewer:
        yield viewer


@pytest.fixture
def page(viewer: MemoryViewer) -> Iterator[Messages]:
    page = Messages(viewer.url)
    page.send_camera((0.0, 0.0, 0.0))
    page.wait_for(is_cloud(1))
    page.wait_for(lambda message: image_of(message) is not None)
    yield page
    page.close()


def is_cloud(number: int) -> Callable[[Message], bool]:
    return lambda message: message["type"] == "PointCloudMessage" and message["name"] == f"/memory/{number:03}"


def updates(message: Message) -> Message:
    found: Message = message.get("updates", {}) if message["type"] == "GuiUpdateMessage" else {}
    return found


def image_of(message: Message) -> np.ndarray | None:
    data = updates(message).get("_data")
    return None if not data else np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def control(page: Messages, label: str) -> str:
    """The identifier of the control with a label."""
    return str(next(message["uuid"] for message in page.all if message.get("props", {}).get("label") == label))


def set_control(page: Messages, label: str, value: Any) -> None:
    uuid = control(page, label)
    page.forget()
    page.send("GuiUpdateMessage", uuid=uuid, updates={"value": value})


def is_text(text: str) -> Callable[[Message], bool]:
    return lambda message: text in str(updates(message).get("_markdown", ""))


def test_the_page_needs_no_other_machine(viewer: MemoryViewer) -> None:
    assert viewer.url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(viewer.url) as answer:
        page = answer.read().decode()
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<script" in page
    assert 'src="http' not in page


def test_a_browser_receives_the_points(page: Messages) -> None:
    first, second = (page.wait_for(is_cloud(number))["props"] for number in (0, 1))
    xyz = np.frombuffer(first["points"], np.float32).reshape(-1, 3)
    assert len(xyz) == 24 * 16
    assert np.allclose(xyz[:, 2], 2)
    assert np.frombuffer(first["colors"], np.uint8).reshape(-1, 3)[7].tolist() == [255, 0, 0]
    assert np.frombuffer(second["colors"], np.uint8).reshape(-1, 3)[7].tolist() == [0, 255, 0]
    page.wait_for(lambda message: message["type"] == "LineSegmentsMessage" and message["name"] == "/cameras/path")
    frustum = page.wait_for(lambda message: message.get("name") == "/cameras/0001")
    assert frustum["props"]["aspect"] == 1.5
    page.wait_for(is_text("frame 1 to 10 added **8** points; **32** of 32"))


def test_a_camera_change_reads_the_memory_from_there(page: Messages) -> None:
    image = page.wait_for(lambda message: image_of(message) is not None and image_of(message).max() > 0)  # type: ignore[union-attr]
    first = image_of(image)
    assert first is not None
    assert first.shape == (32, 48, 3)
    page.forget()
    page.send_camera((2.0, 0.0, 0.0), fov=FOV)  # 1 m to 3 m are in view; the wall ends at 1.67 m
    second = image_of(page.wait_for(lambda message: image_of(message) is not None))
    assert second is not None
    red, green = (np.abs(second - np.array(color)).max(2) < 60 for color in ((255, 0, 0), (0, 255, 0)))
    assert not red.any()
    assert green[:, :16].all()
    assert not green[:, 16:].any()  # a checkerboard
    page.wait_for(lambda message: "known" in str(updates(message).get("label")))


def test_the_slider_hides_what_later_frames_added(page: Messages) -> None:
    set_control(page, "up to frame", 0)
    hidden = page.wait_for(
        lambda message: message["type"] == "SetSceneNodeVisibilityMessage" and not message["visible"]
    )
    assert hidden["name"] == "/memory/001"
    page.wait_for(is_text("frame 0 added **24** points; **24** of 32"))
    set_control(page, "up to frame", 1)
    page.wait_for(lambda message: message.get("name") == "/memory/001" and message["visible"])
    set_control(page, "only what it added", True)
    page.wait_for(lambda message: message.get("name") == "/memory/000" and not message["visible"])


def test_another_coloring_sends_other_colors(page: Messages) -> None:
    set_control(page, "color", "frame")
    colors = page.wait_for(is_cloud(0))["props"]["colors"]
    assert np.frombuffer(colors, np.uint8).reshape(-1, 3)[0].tolist() == [68, 1, 84]


@pytest.mark.parametrize("way", ["button", "click"])
def test_it_flies_to_a_camera(page: Messages, way: str) -> None:
    if way == "button":
        set_control(page, "number", 1)
        page.send("GuiUpdateMessage", uuid=control(page, "fly to this camera"), updates={"value": True})
    else:
        page.forget()
        page.send("SceneNodeClickMessage", name="/cameras/0001", instance_index=None, ray_origin=(0.0, 0, 0),
                  ray_direction=(0.0, 0, 1), screen_pos=(0.5, 0.5), modifier=None, owner="")  # fmt: skip
    move = page.wait_for(lambda message: message["type"] == "SetCameraPositionMessage")
    assert move["position"] == pytest.approx([SHIFT, 0, 0], abs=1e-6)
    fov = page.wait_for(lambda message: message["type"] == "SetCameraFovMessage")
    assert fov["fov"] == pytest.approx(FOV)


def walking(memory: LatentSpatialMemory, **options: Any) -> RolloutSession:
    image = torch.tensor([0.0, 1.0, 0])[:, None, None].expand(3, 32, 48)
    camera = CAMERA.translate((SHIFT, 0, 0))
    return RolloutSession(image, None, camera, memory=memory, codec=CODEC, model=FillModel(), **options)


def press(page: Messages, key: str) -> None:
    page.forget()
    command = next(m for m in page.all if m["type"] == "RegisterCommandMessage" and m["props"]["hotkey"] == key)
    page.send("CommandTriggerMessage", uuid=command["uuid"])


def test_a_key_generates_frames_and_the_new_points_arrive(page: Messages, viewer: MemoryViewer) -> None:
    session = walking(viewer.memory)
    with Walk(viewer, session, frames=8, turn=5.0) as walk:
        press(page, "L")
        new = page.wait_for(is_cloud(2))["props"]["points"]
        assert len(new) > 0
        moved = page.wait_for(lambda message: message["type"] == "SetCameraLookAtMessage")
        assert moved["look_at"][0] > SHIFT + 0.5  # 40 degrees to the right
        page.wait_for(is_text("8 frames generated"))
        assert (walk.chunks, session.frame) == (1, 8)
        go = control(page, "go")
        set_control(page, "actions", "w*3 q")
        page.send("GuiUpdateMessage", uuid=go, updates={"value": True})
        page.wait_for(is_text("not possible: actions: expected keys"))
        assert (walk.chunks, session.frame) == (1, 8)


def test_the_reasons_of_filters_are_shown(page: Messages, viewer: MemoryViewer) -> None:
    chunk = walking(viewer.memory, filters=Filters([EdgeFilter()])).step(CAMERA.translate((SHIFT, 0, -0.5)))
    page.forget()
    viewer.show_chunk(chunk)
    page.wait_for(is_text("kept: "))


def test_a_memory_of_unknown_latents_shows_components() -> None:
    memory = LatentSpatialMemory(5)
    latents = torch.randn(5, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    memory.write(latents, CAMERA, torch.full((1, 32, 48), 2.0))
    with MemoryViewer(memory, port=0) as viewer:
        page = Messages(viewer.url)
        page.send_camera((0.0, 0.0, 0.0), fov=FOV)
        first = page.wait_for(is_cloud(0))["props"]
        assert len(np.frombuffer(first["colors"], np.uint8)) == 3 * 24 * 16
        image = page.wait_for(lambda m: image_of(m) is not None and len(np.unique(image_of(m))) > 20)
        assert image_of(image).shape == (32, 48, 3)  # type: ignore[union-attr]
        page.close()


def test_an_empty_memory_can_be_watched() -> None:
    memory = LatentSpatialMemory(CODEC.channels, codec=CODEC.name)
    with MemoryViewer(memory, CODEC, decodes_cells=True, port=0) as viewer:
        page = Messages(viewer.url)
        page.send_camera((0.0, 0.0, 0.0))
        page.wait_for(is_text("the memory is empty"))
        memory.write(torch.ones(48, 1, 4, 6), CAMERA, torch.full((1, 32, 48), 2.0))
        viewer.update("written")
        page.wait_for(is_cloud(0))
        page.wait_for(is_text("written"))
        page.close()


def test_unchanged_points_are_not_sent_again(page: Messages, viewer: MemoryViewer) -> None:
    page.forget()
    depth = torch.full((1, 32, 48), 2.0)
    viewer.memory.write(torch.ones(48, 1, 4, 6), CAMERA.translate((-SHIFT, 0, 0)), depth, stamps=[20])
    viewer.update()
    page.wait_for(is_cloud(2))
    assert not [message for message in page.new if is_cloud(0)(message) or is_cloud(1)(message)]


def test_wrong_arguments_are_named(memory: LatentSpatialMemory, viewer: MemoryViewer) -> None:
    with pytest.raises(ValueError, match="port: expected 0 to 65535, got 70000"):
        MemoryViewer(memory, port=70000)
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0"):
        Walk(viewer, walking(memory), frames=0)
