# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading recordings of every layout, whole and damaged."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path

import layouts
import numpy as np
import pytest
import torch
from layouts import LAYOUTS, Frames, make_frames, write_layout
from PIL import Image

from mirage.errors import DataError
from mirage.recordings import Recording, read_recording
from mirage.recordings.frames import center_window

FRAMES = make_frames()
UNITS = {"tum": 5000, "colmap-dense": 1, "npz": 1}  # values per meter; 1000 in other layouts


def read(name: str, folder: Path, frames: Frames = FRAMES) -> Recording:
    path, intrinsics = write_layout(name, folder, frames)
    return read_recording(path, intrinsics=intrinsics)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_frames(name: str, tmp_path: Path) -> None:
    recording = read(name, tmp_path / "recording")
    assert len(recording) == len(FRAMES.images)
    for n, frame in enumerate(recording):
        assert torch.equal(frame.image, torch.from_numpy(FRAMES.images[n]).movedim(2, 0).float() / 255)
        torch.testing.assert_close(frame.depth, torch.from_numpy(FRAMES.depth[n].astype(np.float32)) / 1000)
        torch.testing.assert_close(frame.camera.cam2world[0], torch.from_numpy(FRAMES.poses[n]).float())
        k = torch.from_numpy(FRAMES.k).float()
        k[:2, 2] += 0.5
        torch.testing.assert_close(frame.camera.intrinsics[0], k)
        assert frame.exclude is None
    assert recording[-1].name == recording[len(recording) - 1].name
    with pytest.raises(IndexError, match="expected a frame of 4, got 4"):
        recording[4]


@pytest.mark.parametrize("binary", [False, True])
def test_sparse_points_give_depth_at_their_pixels(binary: bool, tmp_path: Path) -> None:
    recording = read_recording(layouts.write_colmap(tmp_path / "r", FRAMES, binary=binary, depth="none"))
    assert "no depth maps" in recording.notes[0]
    for n in (0, 2, 3):
        depth = recording[n].depth
        assert depth.nonzero().tolist() == [[24, 48]]
        assert depth[24, 48].item() == pytest.approx(FRAMES.depth[n, 24, 48] / 1000, rel=1e-5)
        assert recording.read(n, (24, 32)).depth.nonzero().tolist() == [[12, 24]]  # a point is not lost by scaling
    with pytest.raises(DataError, match=r"001\.png: expected valid depth, got none"):
        recording[1]


def test_a_frame_is_cropped_around_its_center_and_scaled(tmp_path: Path) -> None:
    recording = read("folder", tmp_path / "r")
    full = recording[0]
    frame = recording.read(0, (48, 32))
    assert torch.equal(frame.image, full.image[:, :, 16:48])
    assert torch.equal(frame.depth, full.depth[:, 16:48])
    assert frame.camera.intrinsics[0, 0, 2].item() == full.camera.intrinsics[0, 0, 2].item() - 16
    half = recording.read(0, (24, 32))
    assert half.image.shape == (3, 24, 32)
    torch.testing.assert_close(half.camera.intrinsics, full.camera.rescale((24, 32)).intrinsics)
    assert recording.read(0, (32, 48), crop=True).camera.intrinsics[0, 0, 0] == full.camera.intrinsics[0, 0, 0]
    assert center_window((360, 540), (704, 1280)) == (31, 0, 297, 540)


def test_depth_of_another_size_is_resized_and_of_another_aspect_refused(tmp_path: Path) -> None:
    folder = layouts.write_folder(tmp_path / "r", FRAMES)
    np.save(folder / "depth" / "000.npy", np.full((24, 32), 2.0))
    (folder / "depth" / "000.png").unlink()
    np.save(folder / "depth" / "001.npy", np.full((48, 48), 2.0))
    (folder / "depth" / "001.png").unlink()
    recording = read_recording(folder)
    assert recording[0].depth.unique().tolist() == [2.0]
    with pytest.raises(DataError, match=r"001\.png: depth: expected the aspect of the image \(48, 64\), got size"):
        recording[1]


def test_options_replace_what_the_files_say(tmp_path: Path) -> None:
    folder = layouts.write_folder(tmp_path / "r", FRAMES)
    (tmp_path / "k.txt").write_text("50 50 30 20")
    frame = read_recording(folder, intrinsics=tmp_path / "k.txt", integer_centers=False, depth_scale=0.002)[0]
    assert frame.camera.intrinsics[0, :2].tolist() == [[50, 0, 30], [0, 50, 20]]
    assert frame.depth.max().item() == pytest.approx(5.0)
    with pytest.raises(DataError, match=r"--depth-scale: expected a number above 0, got -1"):
        read_recording(folder, depth_scale=-1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_depth_scale_is_the_unit_of_the_stored_values(name: str, tmp_path: Path) -> None:
    path, intrinsics = layouts.write_layout(name, tmp_path / "r", FRAMES)
    usual = read_recording(path, intrinsics=intrinsics)[0].depth.max().item()
    one = read_recording(path, intrinsics=intrinsics, depth_scale=1)[0].depth.max().item()
    given = read_recording(path, intrinsics=intrinsics, depth_scale=0.25)[0].depth.max().item()
    assert given == pytest.approx(one / 4)
    assert one / usual == pytest.approx(UNITS.get(name, 1000), rel=0.01)


def test_sparse_points_take_no_depth_scale(tmp_path: Path) -> None:
    folder = layouts.write_colmap(tmp_path / "r", FRAMES, depth="none")
    with pytest.raises(DataError, match=r"--depth-scale: expected depth maps in .*, got sparse points"):
        read_recording(folder, depth_scale=1)


def break_image(folder: Path) -> None:
    (folder / "images" / "001.png").write_bytes(b"\x89PNG broken")


def lose_depth(folder: Path) -> None:
    (folder / "depth" / "001.png").unlink()


def lose_track(folder: Path) -> None:
    lines = (folder / "poses.txt").read_text().splitlines()
    lines[1] = " ".join(16 * ["-inf"])
    (folder / "poses.txt").write_text("\n".join(lines))


def erase_depth(folder: Path) -> None:
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(folder / "depth" / "001.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_image, "expected an image, got"),
        (lose_depth, "001.png: expected an image and a depth map, got only one of them"),
        (lose_track, "001.png: cam2world[0]: "),
        (erase_depth, "001.png: expected valid depth, got none"),
    ],
)
def test_a_damaged_frame_leaves_the_others(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = layouts.write_folder(tmp_path / "r", FRAMES)
    damage(folder)
    recording = read_recording(folder)
    assert len(recording) == 4
    assert recording[0].name == "000.png"
    assert recording[2].name == "002.png"
    with pytest.raises(DataError) as error:
        recording[1]
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_tum_frames_without_a_pose_or_depth_in_time_are_refused(tmp_path: Path) -> None:
    folder = layouts.write_tum(tmp_path / "r", FRAMES)
    lines = (folder / "groundtruth.txt").read_text().splitlines()
    (folder / "groundtruth.txt").write_text("\n".join(lines[:4]))
    recording = read_recording(folder, intrinsics=folder / "K.txt")
    assert recording[1].camera.centers[0, 0].item() == pytest.approx(0.2)
    with pytest.raises(DataError, match=r"rgb/003\.png: pose: expected one within 0\.02 s of the image, got 0\.05"):
        recording[3]
    with pytest.raises(DataError, match=r"--intrinsics: expected a file, because the known ones are for 640x480"):
        read_recording(folder)[0]


def test_transforms_with_angles_scales_and_masks(tmp_path: Path) -> None:
    folder = layouts.write_transforms(tmp_path / "r", FRAMES)
    content = json.loads((folder / "transforms.json").read_text())
    for name in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        del content[name]
    content |= {"camera_angle_x": 2 * np.arctan(32 / 60), "depth_unit_scale_factor": 0.002}
    mask = np.full((48, 64), 255, np.uint8)
    mask[:8] = 0
    Image.fromarray(mask).save(folder / "mask.png")
    content["frames"][0]["mask_path"] = "mask.png"
    del content["frames"][1]["depth_file_path"]
    (folder / "transforms.json").write_text(json.dumps(content))
    recording = read_recording(folder)
    frame = recording[3]
    torch.testing.assert_close(
        frame.camera.intrinsics[0], torch.tensor([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]), atol=1e-4, rtol=0
    )
    assert frame.depth.max().item() == pytest.approx(5.0)
    assert frame.exclude is not None
    assert frame.exclude.nonzero()[:, 0].unique().tolist() == list(range(8))
    with pytest.raises(DataError, match=r"images/002\.png: expected depth_file_path, got none"):
        recording[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera_model": "OPENCV_FISHEYE"}, "camera_model: expected one of .*, got OPENCV_FISHEYE"),
        ({"frames": []}, "expected frames .transforms.json., got none"),
        ({"frames": [{"file_path": "a.png"}]}, "expected frames with depth_file_path, got none; a COLMAP model"),
        ({"frames": 3}, "expected JSON with frames, each with a file_path"),
    ],
)
def test_transforms_that_cannot_be_used(change: dict[str, object], message: str, tmp_path: Path) -> None:
    folder = layouts.write_transforms(tmp_path / "r", FRAMES)
    content = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps(content | change))
    with pytest.raises(DataError, match=message):
        read_recording(folder)


def test_an_archive_of_arrays_in_fortran_order_and_one_that_is_cut_off(tmp_path: Path) -> None:
    path = layouts.write_npz(tmp_path / "r", FRAMES)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(tmp_path / "fortran.npz", **(arrays | {"depths": np.asfortranarray(arrays["depths"])}))
    for n in (2, 0):  # back and forth
        assert torch.equal(read_recording(tmp_path / "fortran.npz")[n].depth, read_recording(path)[n].depth)
    one = arrays | {"frames": arrays["frames"][:1]}
    np.savez(tmp_path / "one.npz", **one)
    with pytest.raises(DataError, match="frames: expected an image for each of the 4 depth maps, got 1"):
        read_recording(tmp_path / "one.npz")
    np.savez(tmp_path / "none.npz", **{name: array for name, array in arrays.items() if name != "frames"})
    with pytest.raises(DataError, match=r"got no frames; .* mirage generate --geometry"):
        read_recording(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match="expected a geometry file, got a damaged file"):
        read_recording(tmp_path / "cut.npz")


def test_a_colmap_model_that_cannot_be_used(tmp_path: Path) -> None:
    folder = layouts.write_colmap(tmp_path / "r", FRAMES, binary=True)
    model = folder / "sparse" / "0"
    data = (model / "images.bin").read_bytes()
    for end in (4, 40, 90, len(data) - 5):
        (model / "images.bin").write_bytes(data[:end])
        with pytest.raises(DataError, match=r"images\.bin: expected a COLMAP model, got a damaged file"):
            read_recording(folder)
    text = layouts.write_colmap(tmp_path / "t", FRAMES)
    (text / "sparse/0/cameras.txt").write_text("1 OPENCV_FISHEYE 64 48 60 60 32 24 0 0 0 0\n")
    with pytest.raises(DataError, match=r"000\.png: camera: expected a model among .*, got OPENCV_FISHEYE"):
        read_recording(text)[0]
    (text / "sparse/0/cameras.txt").write_text("1 PINHOLE 48 64 60 60 32 24\n")
    with pytest.raises(DataError, match="camera: expected the aspect of the image"):
        read_recording(text)[0]


def test_folders_that_are_no_recording(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.jpg")
    with pytest.raises(DataError, match="got 1 images without depth maps and camera poses"):
        read_recording(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got an empty folder"):
        read_recording(tmp_path / "empty")
    with pytest.raises(DataError, match="no such recording"):
        read_recording(tmp_path / "nothing")
    folder = layouts.write_tum(tmp_path / "tum", FRAMES)
    (folder / "groundtruth.txt").unlink()
    with pytest.raises(DataError, match=r"expected rgb\.txt, depth\.txt and groundtruth\.txt, got no groundtruth\.txt"):
        read_recording(folder)
    folder = layouts.write_folder(tmp_path / "folder", FRAMES)
    (folder / "K.txt").unlink()
    with pytest.raises(DataError, match=r"expected K\.txt in the folder, or --intrinsics, got neither"):
        read_recording(folder)


@pytest.mark.parametrize("name", LAYOUTS)
def test_frames_are_not_kept(name: str, tmp_path: Path) -> None:
    recording = read(name, tmp_path / "r", make_frames(8, (16, 24)))
    alive = []
    for frame in recording:
        alive.append(weakref.ref(frame.image))
        del frame
        assert sum(reference() is not None for reference in alive) == 0


def test_photographs_alone_are_refused_in_one_line(data: Path) -> None:
    with pytest.raises(DataError, match="got 3 images in images/ without depth maps and camera poses"):
        read_recording(data / "opensfm_berlin_outdoor")


def test_a_kinect_recording_of_slambook2(data: Path) -> None:
    recording = read_recording(data / "slambook2_rgbd")
    assert recording.notes[0].endswith("using the intrinsics of slambook2, 518 519 325.5 253.5")
    assert [frame.name for frame in recording] == ["1.png", "2.png", "3.png", "4.png", "5.png"]
    assert recording[4].camera.centers[0].tolist() == pytest.approx([-1.55819, -0.301094, 1.6215])
