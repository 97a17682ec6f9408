# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Three memories on the same input: each follows its method, and the results of the study are right."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as nnf

from benchmarks import wan_models
from mirage.evaluation import compared_memories, memories
from mirage.evaluation.baselines import argsort, python_sets, rgb_cloud
from mirage.evaluation.baselines.append_only import AppendOnly
from mirage.evaluation.compared_memories import Appended, Ours, RgbPoints
from mirage.evaluation.recording import Recording, describe
from mirage.memory.history import History
from mirage.models.embedded import DctCodec
from mirage_kernels import Cameras, unproject

SIZE, GRID = (128, 192), (8, 12)
INTRINSICS = torch.tensor([[150.0, 0, 96], [0, 150.0, 64], [0, 0, 1]])
BAR = SimpleNamespace(update=lambda: None)


@cache
def recording(frames: int = 20, *, still: bool = False) -> Recording:
    """A camera that passes a wavy wall; a band of it has no depth."""
    generator = torch.Generator().manual_seed(0)
    pose = torch.eye(4).repeat(frames, 1, 1)
    pose[:, 0, 3] = 0 if still else 0.11 * torch.arange(frames)
    across = 0.3 * torch.linspace(0, 9, SIZE[1]).sin()
    # no two points of different frames at the same depth, of which either could show
    depth = (3 + across) * (1 + 0.003 * torch.arange(frames)[:, None, None]).expand(-1, *SIZE)
    depth[:, :, 36:64] = 0
    coarse = torch.rand(1 if still else frames, 3, *GRID, generator=generator).expand(frames, -1, -1, -1)
    images = nnf.interpolate(coarse, SIZE, mode="bilinear")
    return describe(rgb_cloud.as_bytes(images), depth, Cameras(INTRINSICS, pose, SIZE))


def test_all_are_what_they_are_called() -> None:
    compared_memories.check(recording().pick(list(range(9))), DctCodec())


def spoil(function: Callable[..., Any], change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: change(function(*args, **kwargs))


@pytest.mark.parametrize(
    ("of", "name", "change"),
    [
        (argsort, "read", lambda view: (view[0], ~view[1])),
        (argsort, "read", lambda view: (view[0].roll(1, 1), view[1])),
        (python_sets, "ious", lambda ious: [0.99 * iou for iou in ious]),
        (rgb_cloud.RgbCloud, "render", lambda seen: seen._replace(images=seen.images.roll(1, 3))),
    ],
)
def test_what_is_wrong_is_not_timed(of: Any, name: str, change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of, name, spoil(getattr(of, name), change))
    with pytest.raises(AssertionError):
        compared_memories.check(recording().pick(list(range(9))), DctCodec())


def test_a_run_of_chunks() -> None:
    course = memories.Course(recording(), DctCodec(), 2)
    run = memories.measure(course, BAR)
    assert json.loads(json.dumps(run)) == run
    rows = {(row["memory"], row["chunk"]): row for row in run["rows"]}
    assert set(rows) == {(name, chunk) for name in ("ours", "append-only", "RGB points") for chunk in (1, 2)}
    for (name, _), row in rows.items():
        assert row["read"] > 0
        assert row["write"] > 0
        assert (row["condition"] > 0) == (name == "RGB points")
        assert (row["retrieve"] is None) == (name == "RGB points")
    assert rows["append-only", 2]["stored"] == 18 * 88, "every cell but those of the band"
    assert rows["append-only", 2]["cache_mib"] == 18 * 88 * (12 + 4 * 48) / 2**20
    assert rows["RGB points", 1]["cache_mib"] == 9 * 128 * 164 * 15 / 2**20
    ours = rows["ours", 2]
    assert 88 <= ours["stored"] < 18 * 88
    assert ours["shrunk_mib"] <= ours["cache_mib"]
    room = 32  # of surfaces, for 16 frames at a time
    least = (room * 96 * 4 + 18 * (96 * 48 + 48 * 4) + 18 * (36 + 64 + 48 + 8)) / 2**20
    assert least < ours["history_mib"] < 1.1 * least, "and the voxels that frames saw"
    assert set(run["psnr"]) == set(run["completeness"]) == {"own", "later"}
    assert run["completeness"]["own"]["known"] == run["psnr"]["own"]["ours"]["known"] == 1


def test_a_long_run_is_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "ROUNDS", 1)
    course = memories.Course(recording(3), DctCodec(), 11)
    run = memories.measure(course, BAR)
    assert [row["chunk"] for row in run["rows"] if row["memory"] == "ours"] == [1, 2, 3, 5, 10]
    assert "psnr" not in run
    assert course.steps == 11


def test_a_path_back_and_forth() -> None:
    assert memories.back_and_forth(4, 9) == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_a_still_camera_loses_what_the_codec_loses() -> None:
    codec, seen = DctCodec(), recording(4, still=True)
    compared = [Ours(codec), Appended(codec), RgbPoints(codec, seen.depth.numel())]
    memories.write(compared, seen, range(4))
    result = memories.compare(compared, seen, codec, range(4))
    for name, row in result["memories"].items():
        # bfloat16 latents cost a little; and RGB points the pixels of cells that are not wholly known
        assert row["psnr"] == pytest.approx(result["codec"], abs=0.5) or name == "RGB points"
    known = {name: row["known"] for name, row in result["memories"].items()}
    assert known == {"ours": 1, "append-only": 1, "RGB points": 10 / 11}, (
        "of a column of cells 4 pixels of 16 are known"
    )
    assert result["compared"] == 10 / 11
    decoded = codec.decode(codec.encode(seen.frames[:1, :, None] / 255))[0, :, 0]
    wrong = (decoded - seen.frames[0] / 255)[:, :, [*range(32), *range(64, 192)]].square().mean().item()
    assert result["codec"] == pytest.approx(-10 * math.log10(wrong), abs=1e-3), "in the cells that all know"
    whole = seen._replace(depth=torch.full_like(seen.depth, 3.0))
    compared = [RgbPoints(codec, whole.depth.numel())]
    memories.write(compared, whole, range(4))
    result = memories.compare(compared, whole, codec, range(4))
    assert result["memories"]["RGB points"]["psnr"] == pytest.approx(result["codec"], abs=1e-3)


def test_an_append_only_memory_finds_frames_as_ours_does() -> None:
    """Where every frame sees what no other does, so that what it saw is what lies in its view."""
    pose = torch.eye(4).repeat(6, 1, 1)
    pose[:, 0, 3] = 20.0 * torch.arange(6)
    apart = Cameras(INTRINSICS, pose, SIZE)
    latents, depth = torch.rand(6, 48, *GRID), torch.full((6, *SIZE), 3.0)
    cloud, history = AppendOnly(48), History(48)
    cloud.write(latents, depth, apart)
    points = unproject(depth, latents, apart)
    for t in range(6):
        history.add(latents[t], apart[t].rescale(GRID), torch.full(GRID, 3.0), t, points.xyz)
    views = apart[[4, 1]].rescale(GRID)
    found = history.retrieve(views, points.xyz)
    assert cloud.retrieve(views) == found.stamps.tolist()
    assert sorted(found.stamps.tolist()) == [1, 4]
    assert cloud.retrieve(views, threshold=0.6) == []
    assert cloud.history_nbytes > latents.nbytes


def test_renderings_of_rgb_points_are_encoded_as_a_video() -> None:
    codec = wan_models.build(wan_models.describe("tiny"), "cpu").codec
    seconds = memories.time_vae(recording(), codec, (64, 96))
    assert (seconds["size"], seconds["frames"]) == ([64, 96], 33)
    assert min(seconds["read"], seconds["condition"]) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--chunks", "5", "0"), "--chunks: expected at least 1, got 0"),
        (("--vae", "700x1280"), "--vae: expected HxW, multiples of 32, got 700x1280"),
    ],
)
def test_errors_are_one_line(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memories", *arguments])
    with pytest.raises(SystemExit):
        memories.main()
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_without_a_recording_nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("MIRAGE_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["memories", "--out", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="MIRAGE_DATA is not set"):
        memories.main()
    assert not (tmp_path / "none").exists()
