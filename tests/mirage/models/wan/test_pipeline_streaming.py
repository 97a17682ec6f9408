# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts whose path or prompt changes between chunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tiny_pipeline import DEPTH, IMAGE, PATH, START, make_pipeline, run

from mirage.models.wan.pipeline import MiragePipeline
from mirage.rollout import Chunk
from mirage_kernels import Cameras


@pytest.fixture(scope="module")
def pipe() -> MiragePipeline:
    return make_pipeline()


def steer(pipe: MiragePipeline, moves: list[Cameras | str]) -> list[Chunk]:
    return list(
        pipe.stream(
            IMAGE, "a room", START, moves, depth=DEPTH, chunk=17, num_inference_steps=2, max_sequence_length=12,
            generator=torch.Generator().manual_seed(0),
        )
    )  # fmt: skip


def test_streaming_gives_the_same_frames(pipe: MiragePipeline) -> None:
    expected = run(pipe, output_type="pt").frames[0].movedim(0, 1)
    chunks = steer(pipe, [PATH[1:17], PATH[17:]])
    assert torch.equal(torch.cat([chunk.frames for chunk in chunks], 1), expected)
    assert torch.equal(torch.cat([chunk.frames for chunk in steer(pipe, [PATH[1:]])], 1), expected)
    assert torch.equal(Cameras.cat([chunk.cameras for chunk in chunks]).cam2world, PATH.cam2world)


def test_a_changed_action_changes_only_what_comes_after(pipe: MiragePipeline) -> None:
    left, right = steer(pipe, ["w*16", "j*16"]), steer(pipe, ["w*16", "l*16"])
    assert torch.equal(left[0].frames, right[0].frames)
    assert not torch.equal(left[1].frames, right[1].frames)


def test_the_next_move_is_taken_after_the_last_chunk(pipe: MiragePipeline) -> None:
    starts: list[int] = []

    def player() -> Iterator[str]:
        assert starts == []
        yield "w*16"
        assert starts == [0]
        yield "s*4"
        assert starts == [0, 17]

    for chunk in pipe.stream(IMAGE, "a room", START, player(), depth=DEPTH, num_inference_steps=1,
                             max_sequence_length=12):  # fmt: skip
        starts.append(chunk.start)
    assert starts == [0, 17]


def test_the_prompt_may_change_between_chunks(pipe: MiragePipeline) -> None:
    results = []
    for prompt in ("a room", "a kitchen"):
        session = pipe.start_session(
            IMAGE, "a room", START, depth=DEPTH, num_inference_steps=2, max_sequence_length=12,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        results.append([session.step(PATH[1:17]), session.step(PATH[17:33], prompt=prompt)])
    assert torch.equal(results[0][0].frames, results[1][0].frames)
    assert not torch.equal(results[0][1].frames, results[1][1].frames)
