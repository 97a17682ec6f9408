# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of RealEstate10K with a local video, and of ViPE's results."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from mirage.data.procedural import ProceduralScene
from mirage.data.procedural_types import Clip
from mirage.depth.estimator import DepthEstimate, make_estimate
from mirage.errors import DataError
from mirage.io.images import write_image
from mirage.io.video import VideoWriter
from mirage.recordings import read_recording
from mirage.training.clips import RecordingClips, SourceOptions, open_sources
from mirage_kernels import Cameras

SIZE = (64, 96)
FPS = 8


@pytest.fixture(scope="module")
def scene() -> Clip:
    return ProceduralScene(1, frames=12).clip(size=SIZE)


class Scaled:
    """Estimates the true depth in another unit."""

    name = "scaled"

    def __init__(self, depth: torch.Tensor, unit: float) -> None:
        self.depth, self.unit = depth, unit

    def __call__(self, frames: torch.Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        assert cameras is not None
        return make_estimate(self.depth[: frames.shape[1]] / self.unit, metric=True)


def write_video(path: Path, scene: Clip, before: int = 0) -> None:
    with VideoWriter(path, FPS) as video:
        for _ in range(before):
            video.write(torch.zeros(3, *SIZE))
        for frame in scene.frames:
            video.write(frame.float() / 255)


def write_cameras(path: Path, scene: Clip, start: float = 0.0, url: str = "https://example.org/watch?v=abc-1") -> None:
    h, w = SIZE
    lines = [url]
    for t in range(len(scene.cameras)):
        k, pose = scene.cameras.intrinsics[t], scene.cameras.world2cam[t, :3]
        numbers = [k[0, 0] / w, k[1, 1] / h, k[0, 2] / w, k[1, 2] / h, 0, 0, *pose.flatten().tolist()]
        lines.append(" ".join([str(round((start + t / FPS) * 1e6)), *(f"{float(x):.9f}" for x in numbers)]))
    path.write_text("\n".join(lines) + "\n")


def options(folder: Path, scene: Clip, unit: float = 0.3) -> SourceOptions:
    return SourceOptions(12, SIZE, videos=folder, estimator=Scaled(scene.depth, unit))


@pytest.mark.parametrize("kind", ["named", "by url", "whole video", "images"])
def test_realestate10k_with_a_local_video(tmp_path: Path, scene: Clip, kind: str) -> None:
    start = {"named": 30.0, "by url": 0.0, "whole video": 1.0, "images": 30.0}[kind]
    write_cameras(tmp_path / "clip.txt", scene, start)
    if kind == "images":
        (tmp_path / "clip").mkdir()
        for t, frame in enumerate(scene.frames):
            write_image(tmp_path / "clip" / f"{round((start + t / FPS) * 1e6)}.png", frame.float() / 255)
    else:
        name = "abc-1.mp4" if kind == "by url" else "clip.mp4"
        write_video(tmp_path / name, scene, before=FPS if kind == "whole video" else 0)
    (source,) = open_sources(f"realestate10k:{tmp_path / 'clip.txt'}", options(tmp_path, scene))
    assert source.names == ["clip-000000"]
    clip = source.read("clip-000000")
    difference = (clip.frames.float() - scene.frames.float()).abs().mean(dim=(1, 2, 3))
    assert difference.max() < 6  # of a compressed video; another frame differs by more
    torch.testing.assert_close(clip.cameras.cam2world, scene.cameras.cam2world, atol=1e-5, rtol=0)
    torch.testing.assert_close(clip.cameras.intrinsics, scene.cameras.intrinsics, atol=1e-3, rtol=0)
    assert torch.isclose(clip.depth[scene.depth > 0].median(), scene.depth[scene.depth > 0].median(), rtol=0.15)


def test_realestate10k_needs_videos_and_depth(tmp_path: Path, scene: Clip) -> None:
    write_cameras(tmp_path / "clip.txt", scene)
    with pytest.raises(DataError, match="expected --videos FOLDER and --depth-model FOLDER"):
        open_sources(f"realestate10k:{tmp_path}", SourceOptions(12, SIZE))
    (source,) = open_sources(f"realestate10k:{tmp_path}", options(tmp_path, scene))
    with pytest.raises(DataError, match="expected a video named clip or abc-1, got none"):
        source.read("clip-000000")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected camera files of RealEstate10K, got none"):
        open_sources(f"realestate10k:{tmp_path / 'empty'}", options(tmp_path, scene))


def test_a_scale_that_cannot_be_found_refuses_the_clip(tmp_path: Path, scene: Clip) -> None:
    write_cameras(tmp_path / "clip.txt", scene)
    write_video(tmp_path / "clip.mp4", scene._replace(frames=torch.full_like(scene.frames, 90)))
    flat = scene._replace(depth=torch.rand(scene.depth.shape, generator=torch.Generator().manual_seed(0)) + 0.1)
    (source,) = open_sources(f"realestate10k:{tmp_path}", options(tmp_path, flat))
    with pytest.raises(DataError, match="depth: expected frames whose colors tell the scale"):
        source.read("clip-000000")


def write_vipe(folder: Path, scene: Clip, name: str = "walk", skipped: tuple[int, ...] = ()) -> None:
    for part in ("rgb", "depth", "pose", "intrinsics", "mask"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_video(folder / "rgb" / f"{name}.mp4", scene)
    inds = np.array([t for t in range(len(scene.frames)) if t not in skipped])
    k = scene.cameras.intrinsics
    rows = torch.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], 1).numpy()
    np.savez(folder / "pose" / f"{name}.npz", inds=inds, data=scene.cameras.cam2world.numpy()[inds])
    np.savez(folder / "intrinsics" / f"{name}.npz", inds=inds, data=rows[inds])
    (folder / "mask" / f"{name}.txt").write_text("1: person\n")
    with zipfile.ZipFile(folder / "depth" / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as depth:
        for t in range(len(scene.frames)):
            file = folder / "map.exr"
            channel = OpenEXR.Channel(scene.depth[t].half().numpy())
            OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, {"Z": channel}).write(str(file))
            depth.write(file, f"{t:05d}.exr")
            file.unlink()
    with zipfile.ZipFile(folder / "mask" / f"{name}.zip", "w") as masks:
        for t in range(len(scene.frames)):
            Image.fromarray((scene.sky[t].numpy() * 3).astype(np.uint8)).save(folder / "mask.png")
            masks.write(folder / "mask.png", f"{t:05d}.png")
    (folder / "mask.png").unlink()


def test_vipe(tmp_path: Path, scene: Clip) -> None:
    write_vipe(tmp_path, scene, skipped=(5,))
    recording = read_recording(tmp_path)
    assert len(recording) == 11
    assert recording.kind == "ViPE"
    for number, at in ((0, 0), (5, 6), (2, 2)):  # also backwards
        frame = recording[number]
        assert frame.name == f"walk, frame {at}"
        assert (frame.image - scene.frames[at].float() / 255).abs().mean() < 0.03
        torch.testing.assert_close(frame.depth, scene.depth[at], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(frame.camera.cam2world[0], scene.cameras.cam2world[at], atol=1e-6, rtol=0)
        torch.testing.assert_close(frame.camera.intrinsics[0], scene.cameras.intrinsics[at])
        assert frame.exclude is not None
        assert torch.equal(frame.exclude, scene.sky[at])


@pytest.mark.parametrize("mode", ["16 bits", "palette", "color"])
def test_masks_of_other_kinds(tmp_path: Path, scene: Clip, mode: str) -> None:
    write_vipe(tmp_path, scene)
    ids = scene.sky.to(torch.uint8).numpy() * 2
    with zipfile.ZipFile(tmp_path / "mask" / "walk.zip", "w") as masks:
        for t in range(len(ids)):
            if mode == "palette":
                image = Image.fromarray(ids[t]).convert("P")
                image.putpalette([90, 90, 90, 10, 10, 10, 0, 0, 0])
            elif mode == "16 bits":
                image = Image.fromarray(ids[t].astype(np.uint16))
            else:
                image = Image.fromarray(ids[t]).convert("RGBA")
            image.save(tmp_path / "mask.png")
            masks.write(tmp_path / "mask.png", f"{t:05d}.png")
        masks.writestr("__MACOSX/._00000.png", b"x")
    frame = read_recording(tmp_path)[3]
    assert frame.exclude is not None
    assert torch.equal(frame.exclude, scene.sky[3])


def test_several_videos_of_vipe(tmp_path: Path, scene: Clip) -> None:
    for name in ("a", "b"):
        write_vipe(tmp_path, scene, name)
    sources = open_sources(str(tmp_path), SourceOptions(6, SIZE))
    assert [source.names for source in sources] == [["a-000000", "a-000006"], ["b-000000", "b-000006"]]
    clip = sources[1].read("b-000006")
    assert clip.exclude is not None
    torch.testing.assert_close(clip.depth, scene.depth[6:], rtol=1e-3, atol=1e-3)
    assert isinstance(sources[0], RecordingClips)
    with pytest.raises(DataError, match=r"expected one clip, got 2; name it: .*a\.mp4"):
        read_recording(tmp_path)
    assert len(read_recording(tmp_path / "rgb" / "b.mp4")) == 12


def test_damaged_results_of_vipe(tmp_path: Path, scene: Clip) -> None:
    write_vipe(tmp_path, scene)
    np.savez(tmp_path / "pose" / "walk.npz", inds=np.arange(3), data=np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match=r"walk.npz: expected inds \(F,\) and data .* got \(3,\) and \(2, 4, 4\)"):
        read_recording(tmp_path)
    np.savez(tmp_path / "pose" / "walk.npz", data=np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match="expected arrays inds and data, got no inds"):
        read_recording(tmp_path)
    write_vipe(tmp_path, scene)
    (tmp_path / "depth" / "walk.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"walk.zip: expected a zip file of .exr files"):
        read_recording(tmp_path)
    write_vipe(tmp_path, scene)
    (tmp_path / "rgb" / "walk.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"walk.mp4: expected a video"):
        read_recording(tmp_path)


def test_some_frames_of_a_recording(tmp_path: Path, scene: Clip) -> None:
    write_vipe(tmp_path, scene)
    whole = SourceOptions(4, SIZE, "", None, None, 1)
    (source,) = open_sources(f"{tmp_path}@3-8", whole)
    assert [len(source.read(name).frames) for name in source.names] == [4, 2]
    (everything,) = open_sources(str(tmp_path), whole)
    assert len(everything.names) == 3
    first = source.read(source.names[0])
    torch.testing.assert_close(first.cameras.cam2world, scene.cameras.cam2world[3:7], atol=1e-6, rtol=0)
    assert source.described != everything.described  # type: ignore[attr-defined]
    for part in ("5-12", "8-3"):
        with pytest.raises(DataError, match=f"SOURCE: expected frames of 0 to 11, got {part}"):
            open_sources(f"{tmp_path}@{part}", whole)
