# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Samples: what the memory shows in training is what a memory filled by hand shows."""

from __future__ import annotations

import pytest
import torch
from small_training import SIZE, TableClips

from mirage.errors import DataError
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec
from mirage.rollout import read_memory
from mirage.training.clips import ProceduralClips, TrainingClip
from mirage.training.samples import SampleSettings, make_samples

GRID = (4, 6)


def clip_of(seed: int = 3, frames: int = 45) -> TrainingClip:
    clips = ProceduralClips([seed], frames, SIZE)
    return clips.read(clips.names[0])


def written_by_hand(
    clip: TrainingClip, codec: DctCodec, first: int, last: int, extent_scale: float
) -> LatentSpatialMemory:
    """A memory with the latent frames from ``first`` to ``last``, each encoded alone."""
    memory = LatentSpatialMemory(codec.channels, codec=codec.name, extent_scale=extent_scale)
    for t in range(first, last + 1):
        frame = 4 * t
        latents = codec.encode(clip.frames[frame].float()[None, :, None] / 255)[0]
        assert clip.exclude is not None
        memory.write(
            latents, clip.cameras[frame], clip.depth[frame : frame + 1], mask=clip.exclude[frame : frame + 1],
            stamps=[frame], fill_depth=t == first,
        )  # fmt: skip
    return memory


@pytest.mark.parametrize("targets", [3, 4])
def test_the_view_is_that_of_a_memory_written_by_hand(targets: int) -> None:
    clip, codec = clip_of(), DctCodec(16)
    settings = SampleSettings(targets=targets, per_clip=6, dtype="float32")
    seen = set()
    for tensors, info in make_samples(clip, codec, settings, "clip"):
        start, before = info["first_frame"] // 4, info["before"]
        seen.add(before)
        memory = written_by_hand(clip, codec, start - before, start, info["extent_scale"])
        cameras = clip.cameras[4 * start : 4 * (start + targets) : 4].rescale(GRID)
        view = read_memory(memory, cameras, codec)
        assert torch.equal(tensors["mask"], view.mask)
        assert torch.equal(tensors["view"], view.latents)
        recent = 4 * (start - settings.num_preceding)
        expected = memory.retrieve(cameras, k=4, threshold=0.1, before=recent).latents
        assert torch.equal(tensors["references"], expected)
        assert torch.equal(tensors["cam2world"], clip.cameras.cam2world[4 * start : 4 * (start + targets) : 4])
        assert tensors["preceding"].shape[1] == min(2, before)
    assert len(seen) > 1


def test_preceding_latents_are_shown_as_when_they_were_generated() -> None:
    """The view of a preceding latent is rendered before its chunk is written: from the chunks before it."""
    clip, codec = clip_of(frames=61), DctCodec(16)
    settings = SampleSettings(targets=3, per_clip=12, extent_scales=(0.65,), dtype="float32")
    checked = 0
    for tensors, info in make_samples(clip, codec, settings, "clip"):
        start, before = info["first_frame"] // 4, info["before"]
        if before < 4 or before % 2:  # chunks of two new latents each
            continue
        checked += 1
        chunk = start - 2  # the last chunk before began with this latent
        memory = written_by_hand(clip, codec, start - before, chunk, 0.65)
        cameras = clip.cameras[4 * (start - 1)].rescale(GRID)
        view = read_memory(memory, cameras, codec)
        assert torch.equal(tensors["preceding_view"][:, 1:], view.latents)
        assert torch.equal(tensors["preceding_mask"][1:], view.mask)
        for n in (0, 1):
            frame = clip.frames[4 * (start - 2 + n)].float()[None, :, None] / 255
            assert torch.allclose(tensors["preceding"][:, n], codec.encode(frame)[0, :, 0], atol=1e-5)
    assert checked


def test_draws_depend_on_name_and_seed() -> None:
    clip, codec = TableClips(1).read("wall.0"), DctCodec(16)
    settings = SampleSettings(targets=2, per_clip=3)
    first, again = (list(make_samples(clip, codec, settings, "a")) for _ in range(2))
    assert [info for _, info in first] == [info for _, info in again]
    for (tensors, _), (same, _) in zip(first, again, strict=True):
        assert all(torch.equal(tensors[name], same[name]) for name in tensors)
    others = [info["before"] for seed in range(4) for _, info in make_samples(
        clip, codec, SampleSettings(targets=2, per_clip=3, seed=seed), "a")]  # fmt: skip
    assert len(set(others)) > 1


def test_moving_objects_and_sky_are_not_remembered() -> None:
    clip, codec = TableClips(1).read("wall.0"), DctCodec(16)
    exclude = torch.zeros(clip.depth.shape, dtype=torch.bool)
    exclude[:, 20:30] = True  # rows of pixels in the second row of cells
    settings = SampleSettings(targets=2, per_clip=2, extent_scales=(0.0,), max_before=0)
    for tensors, _ in make_samples(clip._replace(exclude=exclude), codec, settings, "a"):
        assert not tensors["mask"][0, 1].any()
        assert tensors["mask"][0, 2].all()


def test_a_first_frame_without_depth_is_refused() -> None:
    clip = TableClips(1).read("wall.0")
    with pytest.raises(DataError, match="expected depth in frame 0, got none"):
        list(make_samples(clip._replace(depth=0 * clip.depth), DctCodec(16), SampleSettings(targets=5), "a"))


class Drifting(DctCodec):
    """A codec whose latents depend on the frames before, as those of a video autoencoder do."""

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        latents = super().encode(frames)
        return latents + 0.1 * torch.arange(latents.shape[2]).reshape(-1, 1, 1)


def test_the_boundary_is_also_encoded_alone() -> None:
    clip = TableClips(1, frames=33).read("wall.0")
    settings = SampleSettings(targets=2, per_clip=6, dtype="float32")
    codec, plain = Drifting(16), DctCodec(16)
    befores = set()
    for tensors, info in make_samples(clip, codec, settings, "a"):
        befores.add(info["before"] > 0)
        alone = plain.encode(clip.frames[info["first_frame"]].float()[None, :, None] / 255)[0, :, 0]
        if info["before"]:
            assert torch.allclose(tensors["boundary"], alone, atol=1e-5)
            offset = 0.1 * info["first_frame"] / 4
            assert torch.allclose(tensors["targets"][:, 0], alone + offset, atol=1e-4)
        else:  # the session begins with this frame
            assert "boundary" not in tensors
            assert torch.allclose(tensors["targets"][:, 0], alone, atol=1e-5)
    assert befores == {True, False}


def test_what_is_generated_may_differ_from_what_is_remembered() -> None:
    clip, codec = clip_of(frames=17), DctCodec(16, 1)
    settings = SampleSettings(targets=3, per_clip=3, dtype="float32")
    inverted = clip._replace(targets=255 - clip.frames)
    pairs = zip(make_samples(clip, codec, settings, "a"), make_samples(inverted, codec, settings, "a"), strict=True)
    for (plain, info), (paired, _) in pairs:
        for name in plain.keys() - {"targets"}:
            assert torch.equal(plain[name], paired[name])
        assert torch.equal(plain["targets"][:, 0], paired["targets"][:, 0])
        first = info["first_frame"]
        frames = inverted.targets[first + 1 : first + 3].movedim(1, 0).float()[None] / 255  # type: ignore[index]
        torch.testing.assert_close(paired["targets"][:, 1:], codec.encode(frames)[0])


def test_clips_for_a_look_by_night() -> None:
    from mirage.training.clips import SourceOptions, open_sources

    options = SourceOptions(3, SIZE, "", None, None, 1)
    (source,) = open_sources("procedural:0-7:night", options)
    clips = [source.read(name) for name in source.names]
    assert all(clip.targets is not None and clip.caption.endswith("at night") for clip in clips)
    remembered = [bool(torch.equal(clip.frames, clip.targets)) for clip in clips if clip.targets is not None]
    assert 0 < sum(remembered) < len(clips)  # some by night, some by day
    (by_day,) = open_sources("procedural:0-7", options)
    assert source.described != by_day.described  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="SOURCE: expected procedural:FIRST-LAST"):
        open_sources("procedural:0-7:dusk", options)
