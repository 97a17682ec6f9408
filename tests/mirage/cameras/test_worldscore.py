# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""WorldScore's moves, against world-to-camera poses worked out the way the benchmark does, in its own axes."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from mirage.cameras import WORLDSCORE_MOVES, read_worldscore, worldscore_path
from mirage_kernels import Cameras, testing

SIZE = (44, 80)
START = testing.random_cameras(torch.Generator().manual_seed(4), 1, SIZE)
ORIGIN = testing.plain_cameras(1, SIZE)
PYTORCH3D = torch.diag(torch.tensor([-1.0, -1, 1, 1], dtype=torch.float64))  # x left, y up
S, C = math.sin(math.radians(30)), math.cos(math.radians(30))


def world2cam(name: str, speed: float) -> torch.Tensor:
    """The end of a move from the identity, in PyTorch3D's axes: X left, Y up, Z ahead."""
    sine = {"pan_left": S, "pull_left": S, "orbit_right": S, "pan_right": -S, "pull_right": -S, "orbit_left": -S}
    s = sine.get(name, 0.0)
    c = C if s else 1.0
    pose = torch.tensor([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]], dtype=torch.float64)
    shift = {"push_in": (0, -1), "pull_out": (0, 1), "move_left": (-0.5, 0), "move_right": (0.5, 0),
             "pull_left": (-0.3, 0.3), "pull_right": (0.3, 0.3)}.get(name, (0, 0))  # fmt: skip
    pose[[0, 2], 3] = torch.tensor(shift, dtype=torch.float64) * speed
    if "orbit" in name:  # there to the point, turn, and back
        away = torch.eye(4, dtype=torch.float64)
        away[2, 3] = speed
        pose = away @ pose @ away.inverse()
    return pose


def benchmark(names: list[str], frames: int, speed: float) -> torch.Tensor:
    keys = [torch.eye(4, dtype=torch.float64)]
    for name in names:
        keys.append(world2cam(name, speed) @ keys[-1])
    path = [keys[0]]
    for a, b in itertools.pairwise(keys):
        turn = Slerp([0, 1], Rotation.from_matrix(torch.stack([a, b])[:, :3, :3].numpy()))
        for t in torch.linspace(0, 1, frames, dtype=torch.float64)[1:]:
            pose = torch.lerp(a, b, t)
            pose[:3, :3] = torch.from_numpy(turn(t.item()).as_matrix())
            path.append(pose)
    return torch.stack(path)


@pytest.mark.parametrize("names", [[name] for name in WORLDSCORE_MOVES] + [
    ["push_in", "pan_left"], ["orbit_left", "orbit_right", "pull_out"], ["pan_right", "move_right", "pull_left"],
])  # fmt: skip
@pytest.mark.parametrize("speed", [1.0, 0.25])
def test_moves_are_the_benchmarks(tmp_path: Path, names: list[str], speed: float) -> None:
    expected = benchmark(names, 5, speed)
    path = worldscore_path(ORIGIN, names, 5, speed=speed)
    ours = PYTORCH3D @ expected.inverse() @ PYTORCH3D
    torch.testing.assert_close(path.cam2world.double(), ours, rtol=0, atol=1e-6)
    # and so they are in the file that it writes: Blender's camera axes
    blender = (torch.diag(torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64)) @ expected).inverse()
    (tmp_path / "a.json").write_text(json.dumps({"focal_length": 500, "cameras_interp": blender.tolist()}))
    torch.testing.assert_close(read_worldscore(tmp_path / "a.json", SIZE).cam2world, path.cam2world, rtol=0, atol=1e-6)


def test_where_moves_lead() -> None:
    ends = {name: worldscore_path(ORIGIN, [name], 3)[-1] for name in WORLDSCORE_MOVES}
    for name, sign in (("left", -1), ("right", 1)):
        assert ends[f"move_{name}"].centers[0].tolist() == [sign * 0.5, 0, 0]
        assert ends[f"pan_{name}"].cam2world[0, 0, 2] == pytest.approx(sign * 0.5)
        assert ends[f"orbit_{name}"].centers[0, 0] == pytest.approx(sign * 0.5)
        assert ends[f"orbit_{name}"].cam2world[0, 0, 2] == pytest.approx(-sign * 0.5)
        middle = ends[f"orbit_{name}"].centers[0] + ends[f"orbit_{name}"].cam2world[0, :3, 2]
        torch.testing.assert_close(middle, torch.tensor([0.0, 0, 1]))
    assert ends["push_in"].centers[0].tolist() == [0, 0, 1]
    assert ends["pull_out"].centers[0].tolist() == [0, 0, -1]
    assert torch.equal(ends["fixed"].cam2world, ORIGIN.cam2world)


def test_a_path_begins_at_its_start() -> None:
    path = worldscore_path(START, ["orbit_left", "push_in"], 17)
    assert len(path) == 33
    assert torch.equal(path.cam2world[0], START.cam2world[0])
    assert torch.equal(path.intrinsics, START.intrinsics.expand(33, 3, 3))
    still = worldscore_path(START, ["fixed"], 5)
    assert torch.equal(still.cam2world, START.cam2world.expand(5, 4, 4))


@pytest.mark.parametrize(("names", "frames", "message"), [
    (["push_in", "fly"], 5, "names: expected moves among fixed, move_left"),
    (["push_in", "fly"], 5, "got 'fly' at index 1"),
    ([], 5, "names: expected at least one move, got none"),
    (["push_in"], 1, "frames: expected at least 2 per move, got 1"),
])  # fmt: skip
def test_bad_paths(names: list[str], frames: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        worldscore_path(START, names, frames)


def test_a_path_needs_one_camera_to_start_from() -> None:
    with pytest.raises(ValueError, match="start: expected one camera, got 2"):
        worldscore_path(Cameras.cat([START, START]), ["push_in"], 5)
