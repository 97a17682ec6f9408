# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras built in functions that torch records: the program checks the values, with eager's errors."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch_releases import exports_of_variables, whole_graphs

from mirage_kernels import Cameras, splat, testing, unproject
from mirage_kernels._library import REFERENCE, overload
from mirage_kernels.testing import same_bits

K = torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]])
SIZE = (44, 80)
POSES = testing.random_cameras(torch.Generator().manual_seed(0), 2, SIZE).cam2world
XYZ = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([-0.5, -0.5, 1])
FEATURES = torch.randn(300, 4, generator=torch.Generator().manual_seed(1))
Function = Callable[[Tensor, Tensor], Tensor]


class Case(NamedTuple):
    """A function of intrinsics and another tensor, values that it takes, and values that it refuses."""

    run: Function
    good: tuple[Tensor, Tensor]
    bad: tuple[Tensor, Tensor]


def changed(x: Tensor, at: tuple[int, ...], value: float) -> Tensor:
    x = x.clone()
    x[at] = value
    return x


def rendered(k: Tensor, poses: Tensor) -> Tensor:
    return splat(XYZ, FEATURES, Cameras(k, poses, SIZE)).features


def lifted(k: Tensor, poses: Tensor) -> Tensor:
    """Uses no world2cam."""
    return unproject(torch.full((2, *SIZE), 2.0), torch.ones(2, 1, 4, 8), Cameras(k, poses, SIZE)).xyz


def read(k: Tensor, poses: Tensor) -> Tensor:
    """Uses no operation."""
    return Cameras(k, poses, SIZE).intrinsics * 2


def inverted(k: Tensor, poses: Tensor) -> Tensor:
    cameras = Cameras.from_world2cam(k, poses[:, :3], SIZE)
    return splat(XYZ, FEATURES, cameras[1:].rescale((22, 40))).features


def looking(k: Tensor, eye: Tensor) -> Tensor:
    cameras = Cameras.look_at(eye, torch.tensor([0.0, 0, 1]), k, SIZE)
    return splat(XYZ, FEATURES, Cameras.cat([cameras, cameras]).crop(1, 2, (30, 40)).to("cpu")).features


def between(k: Tensor, times: Tensor) -> Tensor:
    return splat(XYZ, FEATURES, Cameras(k, POSES, SIZE).interpolate(times)[torch.tensor([1, 0])]).features


def turned(k: Tensor, quaternions: Tensor) -> Tensor:
    moved = torch.zeros(2, 3)
    return rendered(k, Cameras.from_quaternion(k, quaternions, moved, SIZE, order="xyzw", pose="world2cam").cam2world)


WORLD2CAM = Cameras(K, POSES, SIZE).world2cam


def reloaded(k: Tensor, world2cam: Tensor) -> Tensor:
    tensors = {"intrinsics": k.expand(2, 3, 3), "cam2world": POSES, "world2cam": world2cam, "size": SIZE}
    return splat(XYZ, FEATURES, Cameras.from_tensors(tensors)).features


TURNS = torch.tensor([[0.0, 0.1, 0, 1], [0.1, 0, 0, 1]])
LOW = torch.tensor([[0.0, 0, -1]])
CASES = {
    "scaled": Case(rendered, (K, POSES), (K, 2 * POSES)),
    "mirrored": Case(rendered, (K, POSES), (K, POSES * torch.tensor([-1.0, 1, 1, 1]))),
    "NaN": Case(lifted, (K, POSES), (K, changed(POSES, (1, 0, 0), torch.nan))),
    "far": Case(lifted, (K, POSES), (K, changed(POSES, (1, 0, 3), 2e38))),
    "focal": Case(read, (K, POSES), (changed(K, (0, 0), 0.0), POSES)),
    "skew": Case(lifted, (K, POSES), (changed(K, (0, 1), 1.0), POSES)),
    "world2cam": Case(inverted, (K, POSES), (K, 2 * POSES)),
    "from_quaternion": Case(turned, (K, TURNS), (K, 0 * TURNS)),
    "from_tensors": Case(reloaded, (K, WORLD2CAM), (K, 2 * WORLD2CAM)),
    "look_at": Case(looking, (K, LOW), (K, -LOW)),
    "interpolate": Case(between, (K, torch.tensor([0.5, 1])), (K, torch.tensor([0.5, 1.5]))),
}


def compiled(run: Function, _: Any) -> Function:
    return torch.compile(run, fullgraph=True, backend="aot_eager")


def inductor(run: Function, _: Any) -> Function:
    return torch.compile(run, fullgraph=True)


class Module(torch.nn.Module):
    def __init__(self, run: Function) -> None:
        super().__init__()
        self.run = run

    def forward(self, k: Tensor, x: Tensor) -> Tensor:
        return self.run(k, x)


def exported(run: Function, args: Any) -> Function:
    return torch.export.export(Module(run), args).module()


def saved(run: Function, args: Any) -> Function:
    file = io.BytesIO()
    torch.export.save(torch.export.export(Module(run), args, strict=True), file)
    file.seek(0)
    return torch.export.load(file).module()


def traced(mode: str) -> Callable[[Function, Any], Function]:
    return lambda run, args: make_fx(run, tracing_mode=mode, _allow_non_fake_inputs=True)(*args)


SAVED = "exported and saved"
RECORDERS: dict[str, Callable[[Function, Any], Function]] = {
    "compile": compiled,
    "export": exported,
    SAVED: saved,
    **{f"make_fx {mode}": traced(mode) for mode in ("real", "fake", "symbolic")},
}


EVERY_RECORDER = [pytest.param(name, marks=exports_of_variables) if name == SAVED else name for name in RECORDERS]


def check(case: Case, record: Callable[[Function, Any], Function]) -> None:
    torch.compiler.reset()
    with pytest.raises(ValueError, match=": expected") as eager:
        case.run(*case.bad)
    program = record(case.run, case.good)
    assert same_bits(program(*case.good), case.run(*case.good))
    with pytest.raises(ValueError, match=": expected") as found:
        program(*case.bad)
    # torch 2.9 adds the node of the graph.
    assert str(found.value).partition("\n\nWhile executing ")[0] == str(eager.value)
    assert same_bits(program(*case.good), case.run(*case.good))


# A few of the combinations; the long run has all.
@whole_graphs
@pytest.mark.parametrize(
    "name", ["scaled", "focal", "world2cam", "from_quaternion", "from_tensors", "look_at", "interpolate"]
)
def test_a_compiled_function_checks_cameras(name: str) -> None:
    check(CASES[name], compiled)


# torch 2.10, in export.load
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")
@whole_graphs
@pytest.mark.parametrize("recorder", [name for name in EVERY_RECORDER if name != "compile"])
def test_a_recorded_function_checks_cameras(recorder: str) -> None:
    check(CASES["scaled"], RECORDERS[recorder])


@pytest.mark.long
@whole_graphs
@pytest.mark.parametrize("recorder", [*EVERY_RECORDER, "inductor"])
@pytest.mark.parametrize("name", CASES)
def test_every_recorder_checks_every_case(name: str, recorder: str) -> None:
    check(CASES[name], RECORDERS.get(recorder, inductor))


@whole_graphs
def test_other_poses_compile_nothing_anew() -> None:
    torch.compiler.reset()
    counter = torch._dynamo.testing.CompileCounter()
    program = torch.compile(rendered, fullgraph=True, backend=counter)
    for scale in (1.0, 1.5, 2.0):
        k = K * torch.tensor([[scale], [scale], [1.0]])
        assert same_bits(program(k, POSES), rendered(k, POSES))
    assert counter.frame_count == 1


@whole_graphs
def test_cameras_made_by_a_compiled_function_are_like_others() -> None:
    torch.compiler.reset()
    cameras = torch.compile(lambda k, m: Cameras(k, m, SIZE), fullgraph=True, backend="aot_eager")(K, POSES)
    expected = Cameras(K, POSES, SIZE)
    assert same_bits(cameras.world2cam, expected.world2cam)
    assert same_bits(cameras.rescale((4, 5)).intrinsics, expected.rescale((4, 5)).intrinsics)
    assert cameras.size == SIZE


def test_cameras_in_vmap() -> None:
    single = torch.func.vmap(lambda m: Cameras(K, m, SIZE).world2cam[0])
    assert same_bits(single(POSES), Cameras(K, POSES, SIZE).world2cam)
    with pytest.raises(ValueError, match=r"cam2world\[0\]: expected a last row"):
        single(2 * POSES)


OPERATORS: dict[str, tuple[Tensor, ...]] = {
    "check_cameras": (K.repeat(2, 1, 1), POSES),
    "check_world2cam": (K.repeat(2, 1, 1), POSES),
    "check_inverse": (POSES, WORLD2CAM),
    "poses_of_quaternions": (TURNS.double(), torch.zeros(2, 3).double()),
    "look_at": (torch.zeros(2, 3).double(), torch.ones(2, 3).double(), torch.tensor([0.0, -1, 0]).double()),
    "interpolate_cameras": (K.repeat(2, 1, 1), POSES, torch.tensor([0.0, 0.3, 1]).double()),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name: str) -> None:
    torch.library.opcheck(overload(REFERENCE, name), OPERATORS[name])


@whole_graphs
def test_a_recorded_program_cannot_tell_what_four_by_four_is() -> None:
    padded = torch.eye(4)
    padded[:3, :3] = K
    assert same_bits(rendered(padded, POSES), rendered(K, POSES))
    for record in (exported, traced("fake")):
        with pytest.raises(ValueError, match=r"intrinsics: expected \(V, 3, 3\) or \(V, 4\) in a program that is"):
            record(rendered, (padded, POSES))
    size = torch.tensor(SIZE)
    tensors = {"intrinsics": K.expand(2, 3, 3), "cam2world": POSES}
    assert Cameras.from_tensors(tensors | {"size": size}).size == SIZE
