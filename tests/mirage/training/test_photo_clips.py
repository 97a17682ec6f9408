# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of photographs on a wall."""

from __future__ import annotations

import torch

from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec
from mirage.training.clips import SourceOptions, TrainingClip, open_sources
from mirage.training.photo_clips import PhotoClips
from mirage_kernels import unproject

SIZE = (64, 96)


def clip_of(seed: int, frames: int = 9) -> TrainingClip:
    clips = PhotoClips([seed], frames, SIZE)
    return clips.read(clips.names[0])


def test_points_lie_on_one_wall() -> None:
    for seed in range(3):
        clip = clip_of(seed)
        points = unproject(clip.depth, None, clip.cameras, grid=SIZE)
        assert points.valid.all()
        z = points.xyz[:, 2]
        assert (z - z.mean()).abs().max() < 1e-3 * z.mean()
        assert clip.depth.min() > 0.5


def test_the_path_returns() -> None:
    clip = clip_of(1)
    torch.testing.assert_close(clip.cameras.cam2world[-1], clip.cameras.cam2world[0], atol=1e-6, rtol=0)
    assert torch.equal(clip.frames[0], clip.frames[-1])
    assert not torch.equal(clip.frames[0], clip.frames[4])


def test_a_memory_shows_what_the_next_frame_shows() -> None:
    """Depth, poses and colors belong together: what a memory of the first frame shows is closer than that frame."""
    codec = DctCodec(8, 1)
    for seed in (0, 3):
        clip = clip_of(seed)
        latents = codec.encode(clip.frames.movedim(1, 0).float()[None] / 255)[0]
        memory = LatentSpatialMemory(codec.channels, codec=codec.name)
        memory.write(latents[:, :1], clip.cameras[0], clip.depth[:1])
        view = codec.render(memory, clip.cameras[2:3].rescale((8, 12)))
        mask = view.mask[0]
        assert mask.float().mean() > 0.3
        error, still = ((part - latents[:, 2])[:, mask].square().mean() for part in (view.latents[:, 0], latents[:, 0]))
        assert error < 0.5 * still


def test_seeds_determine_clips() -> None:
    first, again, other = clip_of(5), clip_of(5), clip_of(6)
    assert torch.equal(first.frames, again.frames)
    assert not torch.equal(first.cameras.cam2world, other.cameras.cam2world)
    (source,) = open_sources("photos:3-5", SourceOptions(4, SIZE, "a picture", None, None, 1))
    assert source.names == ["photo-00000003", "photo-00000004", "photo-00000005"]
    assert source.read(source.names[0]).caption == "a picture"
