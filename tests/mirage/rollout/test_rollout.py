# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.cameras import dolly, out_and_back, pan, straight
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec, FillModel
from mirage.rollout import Chunk, RolloutSession, plan_chunks, rollout
from mirage_kernels import Cameras

SIZE = (48, 64)
START = Cameras(torch.tensor([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]), torch.eye(4), SIZE)
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
DEPTH = torch.full(SIZE, 3.0)


def run(frames: int = 41, chunk: int = 17, **options: Any) -> list[Chunk]:
    given = {
        "memory": LatentSpatialMemory(48),
        "codec": DctCodec(8),
        "model": FillModel(),
        "chunk": chunk,
    } | options
    return list(rollout(IMAGE, DEPTH, pan(START, out_and_back(frames), 20), **given))


@pytest.mark.parametrize(
    ("frames", "chunk", "expected"),
    [
        (1, 33, [(0, 1)]),
        (5, 33, [(0, 2)]),
        (33, 33, [(0, 9)]),
        (37, 33, [(0, 9), (8, 10)]),
        (97, 33, [(0, 9), (8, 17), (16, 25)]),
        (97, 5, [(k, k + 2) for k in range(24)]),
    ],
)
def test_the_plan_covers_every_latent_once(frames: int, chunk: int, expected: list[tuple[int, int]]) -> None:
    assert [(part.start, part.stop) for part in plan_chunks(frames, chunk)] == expected


@pytest.mark.parametrize(("frames", "chunk", "message"), [
    (96, 33, r"frames: expected 4 N \+ 1, got 96"),
    (0, 33, r"frames: expected 4 N \+ 1, got 0"),
    (97, 32, r"chunk: expected 4 N \+ 1, got 32"),
    (97, 1, "chunk: expected at least 5 frames, got 1"),
])  # fmt: skip
def test_impossible_plans(frames: int, chunk: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_chunks(frames, chunk)


def test_chunks_join_without_gap_or_overlap() -> None:
    chunks = run()
    assert [(c.start, c.frames.shape[1]) for c in chunks] == [(0, 17), (17, 16), (33, 8)]
    assert [c.latents.shape[1] for c in chunks] == [5, 4, 2]
    assert [len(c.written) for c in chunks] == [5, 4, 2]
    assert [c.view.mask.shape[0] for c in chunks] == [5, 5, 3]
    latents = torch.cat([c.latents for c in chunks], 1)
    frames = torch.cat([c.frames for c in chunks], 1)
    torch.testing.assert_close(frames[:, ::4], DctCodec(8).decode(latents[None])[0, :, ::4], rtol=0, atol=1e-6)


def test_the_first_frame_is_the_image_and_the_last_shows_it_again() -> None:
    chunks = run()
    coded = DctCodec(8).encode(IMAGE[None, :, None])[0]
    assert torch.equal(chunks[0].latents[:, 0], coded[:, 0])
    assert torch.equal(chunks[-1].latents[:, -1], coded[:, 0])


def test_filled_holes_are_written() -> None:
    chunks = run()
    written = [n for c in chunks for n in c.written]
    assert written[0] == 48
    assert sum(written[1:6]) > 0
    assert sum(written[6:]) == 0, "nothing new on the way back"
    assert chunks[-1].view.mask.all()


def test_the_same_seed_gives_the_same_bits() -> None:
    for a, b in zip(run(), run(), strict=True):
        assert torch.equal(a.frames, b.frames)
        assert torch.equal(a.latents, b.latents)


def test_the_model_gets_its_conditions() -> None:
    calls = []

    class Spy(FillModel):
        def __call__(self, view: Tensor, mask: Tensor, **given: Any) -> Tensor:
            calls.append({"view": view, "mask": mask} | given)
            return super().__call__(view, mask, **given)

    chunks = run(model=Spy(), prompt="a room")
    latents = torch.cat([c.latents for c in chunks], 1)
    assert [c["view"].shape[1] for c in calls] == [5, 5, 3]
    assert [c["preceding"].shape[1] for c in calls] == [0, 2, 2]
    assert torch.equal(calls[1]["first"], latents[:, 4])
    assert torch.equal(calls[1]["preceding"], latents[:, 2:4])
    assert torch.equal(calls[2]["preceding"], latents[:, 6:8])
    assert torch.equal(calls[1]["preceding_view"], calls[0]["view"][:, 2:4])
    assert torch.equal(calls[2]["preceding_view"], calls[1]["view"][:, 2:4])
    assert torch.equal(calls[2]["preceding_mask"], calls[1]["mask"][2:4])
    assert calls[0]["preceding_mask"].shape == (0, 6, 8)
    assert {c["prompt"] for c in calls} == {"a room"}


def test_one_frame_is_a_chunk() -> None:
    (chunk,) = run(frames=1)
    assert chunk.frames.shape == (3, 1, *SIZE)
    assert chunk.written == [48]


def test_a_session_gives_the_same_chunks() -> None:
    whole, path = run(), pan(START, out_and_back(41), 20)
    steered = RolloutSession(
        IMAGE, DEPTH, path[:1], memory=LatentSpatialMemory(48), codec=DctCodec(8), model=FillModel()
    )
    for chunk, (start, stop) in zip(whole, [(1, 17), (17, 33), (33, 41)], strict=True):
        same = steered.step(path[start:stop])
        assert torch.equal(same.frames, chunk.frames)
        assert (same.start, same.written) == (chunk.start, chunk.written)
        assert torch.equal(same.cameras.cam2world, chunk.cameras.cam2world)
        assert torch.equal(steered.camera.cam2world[0], path.cam2world[stop - 1])
    assert steered.frame == 40
    for wrong, message in (
        (path[:3], "cameras: expected a multiple of 4 frames, got 3"),
        (path[:0], "cameras: expected a multiple of 4 frames, got 0"),
        (path[:4].rescale((6, 8)), r"cameras: expected size \(H=48, W=64\), got \(6, 8\)"),
    ):
        with pytest.raises(ValueError, match=message):
            steered.step(wrong)


def test_preceding_latents_are_no_references() -> None:
    asked = []

    class Spy(LatentSpatialMemory):
        def retrieve(self, *cameras: Any, **options: Any) -> Any:
            asked.append(options["before"])
            return super().retrieve(*cameras, **options)

    run(memory=Spy(48))
    assert asked == [-8, 8, 24], "the first latent of a chunk and the two before it"


def test_frames_encoded_anew() -> None:
    """What the boundary and the history hold where they come from frames, not from a chunk's latents."""

    class Jumpy(DctCodec):
        def decode(self, latents: Tensor) -> Tensor:
            return super().decode(latents) * 0.5

    firsts = []

    class Spy(FillModel):
        def __call__(self, view: Tensor, mask: Tensor, **given: Any) -> Tensor:
            firsts.append(given["first"])
            return super().__call__(view, mask, **given)

    codec, memory = Jumpy(8), LatentSpatialMemory(48, history_storage=None)
    chunks = run(codec=codec, memory=memory, model=Spy(), boundary="frame", references="frame")
    last = codec.encode(chunks[0].frames[None, :, -1:])[0, :, 0]
    assert torch.equal(firsts[1], last)
    assert not torch.allclose(firsts[1], chunks[0].latents[:, -1])
    encoded = codec.encode(chunks[0].frames[None, :, 4:5])[0, :, 0]
    torch.testing.assert_close(memory.history.latents[:, 1], encoded, rtol=0, atol=1e-6)
    assert run(decode=False)[0].frames.shape == (3, 0, *SIZE)


def test_a_rollout_can_continue_in_the_same_memory() -> None:
    memory = LatentSpatialMemory(48)
    run(memory=memory)
    points = len(memory)
    assert sum(n for c in run(memory=memory) for n in c.written) == 0
    assert len(memory) == points


def test_a_view_that_showed_nothing_is_not_remembered() -> None:
    """Panning out of all that is known: the frames have the colors before them, and are not written."""
    memory, path = LatentSpatialMemory(48), pan(START, straight(33), 150)
    given: dict[str, Any] = {"memory": memory, "codec": DctCodec(8), "model": FillModel()}
    (chunk,) = rollout(IMAGE, DEPTH, path, **given)
    shown = chunk.view.mask.flatten(1).any(1)
    assert 2 < int(shown.sum()) < 8
    assert all(added == 0 for added, hit in zip(chunk.written, shown.tolist(), strict=True) if not hit)
    assert sum(chunk.written[1:]) > 0
    assert len(memory.history) == int(shown.sum())
    assert bool((memory.cache.features().abs().amax(1) > 0).all()), "no black rows"
    last = chunk.frames[:, -1]
    assert last.amin() > 0.3, "no black frames"
    assert last.std() < 0.1


def test_another_models_frames_are_remembered_wherever_it_looks() -> None:
    class Inventor(FillModel):
        needs_view = False

    path = pan(START, straight(33), 150)
    (chunk,) = rollout(IMAGE, DEPTH, path, memory=LatentSpatialMemory(48), codec=DctCodec(8), model=Inventor())
    assert all(chunk.written[k] for k in range(9))


@pytest.mark.parametrize("excluded", [False, True])
def test_pixels_without_depth_come_back(excluded: bool) -> None:
    depth, exclude = DEPTH.clone(), torch.zeros(SIZE, dtype=torch.bool)
    depth[:, 40:] = 0
    exclude[:, 48:] = excluded
    memory = LatentSpatialMemory(48)
    parts: dict[str, Any] = {"memory": memory, "codec": DctCodec(8), "model": FillModel(), "exclude": exclude}
    chunks = list(rollout(IMAGE, depth, dolly(START, out_and_back(17), 0.5), **parts))
    coded = DctCodec(8).encode(IMAGE[None, :, None])[0, :, 0]
    columns = 6 if excluded else 8
    assert torch.equal(chunks[-1].latents[:, -1, :, :columns], coded[:, :, :columns])
    assert torch.equal(memory.read(START.rescale((6, 8))).stamp[0, :, :columns], torch.zeros(6, columns).long())
    if excluded:
        assert not torch.isclose(chunks[-1].latents[:, -1, :, 6:], coded[:, :, 6:]).all(0).any()


@pytest.mark.parametrize(("change", "message"), [
    ({"image": IMAGE[:, :47]}, r"image: expected \(3, H, W\) with H and W multiples of 8, got \(3, 47, 64\)"),
    ({"depth": DEPTH[:, 1:]}, r"depth: expected \(H=48, W=64\), got \(48, 63\)"),
    ({"cameras": pan(START, out_and_back(40), 20)}, r"frames: expected 4 N \+ 1, got 40"),
    ({"cameras": START.rescale((24, 32))}, r"cameras: expected size \(H=48, W=64\), got \(24, 32\)"),
    ({"depth": None}, r"depth: expected \(H=48, W=64\) or an estimator with an empty memory, got None"),
    ({"generator": FillModel()}, "generator: expected a torch.Generator, got FillModel"),
    ({"boundary": "last"}, "boundary: expected 'latent' or 'frame', got 'last'"),
    ({"references": "frame", "decode": False}, "decode: expected True with references='frame', got False"),
])  # fmt: skip
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    memory = LatentSpatialMemory(48)
    given: dict[str, Any] = {"image": IMAGE, "depth": DEPTH, "cameras": START} | change
    with pytest.raises((TypeError, ValueError), match=message):
        next(rollout(**given, memory=memory, codec=DctCodec(8), model=FillModel()))
    assert len(memory) == 0
