# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a GPU does what CUDA does, and shows what CUDA leaves open."""

from __future__ import annotations

import ctypes

import emulated
import pytest
import torch
from torch import Tensor

LANES = range(32)


class Kernels:
    """The functions of emulation_module.cpp, over tensors and integers."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def __call__(self, name: str, *arguments: Tensor | int) -> str | None:
        function = self._library[f"run_{name}"]
        function.restype = ctypes.c_char_p
        plain = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_int(a) for a in arguments]
        failure = function(*plain)
        return None if failure is None else failure.decode()


@pytest.fixture(scope="module")
def run(pytestconfig: pytest.Config) -> Kernels:
    if emulated.compiler() is None or not emulated.CSRC.is_dir():
        pytest.skip("needs GCC and the sources")
    assert pytestconfig.cache is not None
    source = emulated.HEADER.parent / "emulation_module.cpp"
    return Kernels(ctypes.CDLL(str(emulated.build(pytestconfig.cache.mkdir("emulated"), [source], [], []))))


def ints(*size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.int32)


def test_barriers_make_shared_memory_visible(run: Kernels) -> None:
    numbers, out = torch.arange(640, dtype=torch.int32), ints(640)
    assert run("reverse", numbers, out, 10) is None
    assert out.tolist() == numbers.reshape(10, 64).flip(1).flatten().tolist()


def test_a_missing_barrier_shows(run: Kernels) -> None:
    out = ints(64)
    assert run("reverse_without_barrier", out) is None
    assert out.tolist() != list(reversed(range(64)))


def test_lanes_exchange(run: Kernels) -> None:
    out = ints(6, 32)
    assert run("lanes", out) is None
    thirds = sum(1 << lane for lane in LANES if lane % 3 == 0)
    assert out.tolist() == [
        [lane ^ 5 for lane in LANES],
        [lane - 3 if lane >= 3 else lane for lane in LANES],
        [lane + 3 if lane % 8 < 5 else lane for lane in LANES],
        [lane // 8 * 8 + 2 for lane in LANES],
        [thirds - (1 << 32) if thirds >> 31 else thirds] * 32,
        [sum(range(lane % 2, 32, 2)) for lane in LANES],
    ]
    values = torch.arange(32, dtype=torch.int32) // 3 % 4
    assert run("match", values, out) is None
    same = [sum(1 << k for k in LANES if values[k] == values[lane]) for lane in LANES]
    assert [x & (1 << 32) - 1 for x in out[0].tolist()] == same


def test_atomics_lose_nothing_and_the_order_is_another_one_every_time(run: Kernels) -> None:
    orders = []
    for _ in range(3):
        total, least, order = ints(1), torch.full((1,), 1 << 62), ints(640)
        assert run("count", total, least, order, 10) is None
        assert total.item() == 640
        assert least.item() == 1000 - 639
        assert sorted(order.tolist()) == list(range(640))
        orders.append(order.tolist())
    assert orders[0] != orders[1] != orders[2]
    blocks = [i // 64 for i in orders[0]]
    assert sorted(blocks) != blocks, "blocks in order"
    assert orders[0] != sorted(orders[0], key=lambda i: blocks.index(i // 64) * 64 + i % 64), "threads in order"


def test_shared_memory_starts_as_rubbish_in_every_block(run: Kernels) -> None:
    fixed, of_launch = ints(8, 32), ints(8, 32)
    assert run("look_at_shared", fixed, of_launch, 8) is None
    for seen in (fixed, of_launch):
        assert not (seen == 12345).any(), "left from another block"
        assert len(seen.unique()) > 1, "the same in all blocks"


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_copy_to_shared_memory_arrives_when_it_is_waited_for(run: Kernels, batches: int) -> None:
    numbers, out = torch.arange(2 * 32 * 4, dtype=torch.int32).reshape(2, 32, 4), ints(2, 32, 4)
    assert run("copy_to_shared", numbers, out, batches) is None
    arrived = [torch.equal(out[batch], numbers[batch].flip(0)) for batch in range(2)]
    assert arrived == [batch < batches for batch in range(2)]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("leave_early", (ints(64),), "threads wait for ones that have left"),
        ("other_masks", (), "the lanes of a warp name different masks"),
        ("load_beside", (ints(64), ints(64)), "a load from an address that is not aligned"),
        ("copy_beside", (ints(64),), "a copy between addresses that are not aligned"),
        ("part_of_a_warp", (ints(64),), "with a part of a warp"),
    ],
)
def test_what_a_device_leaves_undefined_is_an_error(
    run: Kernels, name: str, arguments: tuple[Tensor, ...], message: str
) -> None:
    assert message in str(run(name, *arguments))
    assert run("lanes", ints(6, 32)) is None, "and the next launch works"
