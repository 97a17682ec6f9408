# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations under torch's transforms.

Each gives the values of plain autograd and of a loop, or raises an error that says what is not implemented. Nothing is
silently zero. The tests of compiled transforms are in ``test_compiled_transforms.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from every_backend import needs_grad
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils import checkpoint
from torch_releases import since

import mirage_kernels as mk
from mirage_kernels import Cameras, VoxelCache, _library, composite, splat, splat_sum, testing, unproject, visible

Loss = Callable[[Tensor], Tensor]
NAMES = "splat|splat_bilinear|splat_clouds|splat_layers|splat_sum|composite|unproject"
FORWARD = rf"^({NAMES}): forward-mode differentiation \(jvp, jacfwd, hessian\) is not implemented$"
SECOND = rf"^({NAMES}): second derivatives are not implemented$"
CAMERAS = testing.random_cameras(torch.Generator().manual_seed(0), 2, (6, 9))


class Differentiable(NamedTuple):
    """A scalar function of the parameter of one operation, and a value of the parameter."""

    loss: Loss
    value: Tensor


def of_splat(parameter: str, **options: Any) -> Differentiable:
    case = testing.splat_case(1, n=40)
    xyz, features = case.xyz, case.features

    def of_features(value: Tensor) -> Tensor:
        return splat(xyz, value, CAMERAS, **options).features.square().sum()

    def of_xyz(value: Tensor) -> Tensor:
        view = splat(value, features, CAMERAS, **options)
        return torch.where(view.mask, view.depth, 0).square().sum() + view.features.square().sum()

    return Differentiable(of_features, features) if parameter == "features" else Differentiable(of_xyz, xyz)


def of_unproject(parameter: str, **options: Any) -> Differentiable:
    depth, features = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(0)) + 1, torch.ones(2, 3, 2, 3)

    def of_depth(value: Tensor) -> Tensor:
        points = unproject(value, features, CAMERAS, **options)
        return points.xyz.square().sum() + points.footprint.square().sum()

    def of_features(value: Tensor) -> Tensor:
        return unproject(depth, value, CAMERAS, **options).features.square().sum()

    return Differentiable(of_features, features) if parameter == "features" else Differentiable(of_depth, depth)


def of_pool_depth() -> Differentiable:
    depth = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(0)) + 1
    return Differentiable(lambda value: mk.pool_depth(value, (2, 3)).square().sum(), depth)


def of_clouds(parameter: str) -> Differentiable:
    """Two clouds, each seen by one camera."""
    case = testing.splat_case(1, n=40)
    xyz, features = case.xyz.view(2, 20, 3), case.features.view(2, 20, -1)

    def loss(value: Tensor) -> Tensor:
        view = splat(*((xyz, value) if parameter == "features" else (value, features)), CAMERAS)
        return torch.where(view.mask, view.depth, 0).square().sum() + view.features.square().sum()

    return Differentiable(loss, features if parameter == "features" else xyz)


def of_layers() -> Differentiable:
    case = testing.splat_case(1, n=40)

    def loss(value: Tensor) -> Tensor:
        layers = splat(value, None, CAMERAS, radius=1.2, k=3)
        return torch.where(layers.mask, layers.depth * layers.distance2, 0).sum()

    return Differentiable(loss, case.xyz)


def of_composite(parameter: str) -> Differentiable:
    case = testing.splat_case(1, n=40)
    layers = splat(case.xyz, None, CAMERAS, radius=1.2, k=3)
    weights = torch.rand(layers.depth.shape, generator=torch.Generator().manual_seed(0))

    def loss(value: Tensor) -> Tensor:
        operands = (value, layers, weights) if parameter == "features" else (case.features, layers, value)
        return composite(*operands).square().sum()

    return Differentiable(loss, case.features if parameter == "features" else weights)


def of_sum(parameter: str) -> Differentiable:
    g = torch.Generator().manual_seed(0)
    given = {"uv": 6 * torch.rand(40, 2, generator=g), "features": torch.randn(40, 3, generator=g)}
    given["weights"] = torch.rand(40, generator=g)

    def loss(value: Tensor) -> Tensor:
        sums = splat_sum(size=(5, 6), **{**given, parameter: value})
        return sums.features.square().sum() + sums.weight.square().sum()

    return Differentiable(loss, given[parameter])


FUNCTIONS: dict[str, Differentiable] = {
    "splat, features": of_splat("features"),
    "splat, xyz": of_splat("xyz"),
    "splat with extent, features": of_splat("features", extent=0.3),
    "splat bilinear, features": of_splat("features", mode="bilinear"),
    "splat bilinear, xyz": of_splat("xyz", mode="bilinear"),
    "unproject, depth": of_unproject("depth"),
    "unproject bilinear, depth": of_unproject("depth", pooling="bilinear"),
    "unproject, features": of_unproject("features"),
    "pool_depth": of_pool_depth(),
    "splat clouds, features": of_clouds("features"),
    "splat clouds, xyz": of_clouds("xyz"),
    "splat layers, xyz": of_layers(),
    "composite, features": of_composite("features"),
    "composite, weights": of_composite("weights"),
    **{f"splat_sum, {parameter}": of_sum(parameter) for parameter in ("uv", "features", "weights")},
}


def gradient(loss: Loss, value: Tensor) -> Tensor:
    """Return the gradient by plain autograd, which is not zero."""
    leaf = needs_grad(value)
    (grad,) = torch.autograd.grad(loss(leaf), leaf)
    assert grad.count_nonzero() > 0
    return grad


@pytest.fixture(autouse=True)
def each_backend(backend: str) -> Iterator[None]:
    with mk.use_backend(backend):  # type: ignore[arg-type]
        yield


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_under_func_and_vmap(name: str) -> None:
    loss, value = FUNCTIONS[name]
    values = torch.stack([value, 1.5 * value], 1)
    expected = torch.stack([gradient(loss, v) for v in values.unbind(1)])
    assert torch.equal(torch.func.grad(loss)(value), expected[0])
    assert torch.equal(torch.func.vjp(loss, value)[1](torch.ones(()))[0], expected[0])
    assert torch.equal(torch.func.jacrev(loss)(value), expected[0])
    assert torch.equal(torch.vmap(torch.func.grad(loss), 1)(values), expected)
    of_both: Loss = lambda v: torch.vmap(loss, 1)(v).sum()  # noqa: E731
    assert torch.equal(torch.func.grad(of_both)(values).movedim(1, 0), expected)
    leaf = needs_grad(values)
    assert torch.equal(torch.autograd.grad(of_both(leaf), leaf)[0].movedim(1, 0), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_transforms_without_a_formula_raise(name: str) -> None:
    loss, value = FUNCTIONS[name]
    func = torch.func
    one = torch.ones_like(value)
    for call in (lambda: func.jvp(loss, (value,), (one,)), lambda: func.jacfwd(loss)(value)):
        with pytest.raises(NotImplementedError, match=FORWARD):
            call()
    with pytest.raises(NotImplementedError, match=FORWARD):
        func.jvp(func.grad(loss), (value,), (one,))
    with pytest.raises(NotImplementedError, match=FORWARD), forward_ad.dual_level():
        loss(forward_ad.make_dual(value, one))  # type: ignore[no-untyped-call]
    with pytest.raises(NotImplementedError, match=SECOND):
        func.grad(lambda v: func.grad(loss)(v).square().sum())(value)
    with pytest.raises(NotImplementedError, match=SECOND):
        torch.autograd.functional.hessian(loss, value)  # type: ignore[no-untyped-call]
    with pytest.raises(NotImplementedError, match=f"({FORWARD})|({SECOND})"):
        func.hessian(loss)(value)


class Net(nn.Module):
    """A layer before an operation."""

    def __init__(self, xyz: Tensor, **options: Any) -> None:
        super().__init__()
        self.layer, self.xyz, self.options = nn.Linear(3, 3), xyz, options

    def forward(self, features: Tensor) -> Tensor:
        return splat(self.xyz, self.layer(features), CAMERAS, **self.options).features


def trained(module: Callable[[Tensor], Tensor], weight: Tensor, features: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad(module(features).square().sum(), weight)
    return grad


def test_functional_call_and_checkpoint() -> None:
    case = testing.splat_case(1, n=40)
    net = Net(case.xyz)
    expected = trained(net, net.layer.weight, case.features)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        result: Tensor = torch.func.functional_call(net, parameters, (case.features,))
        return result.square().sum()

    parameters = {name: p.detach() for name, p in net.named_parameters()}
    assert torch.equal(torch.func.grad(loss)(parameters)["layer.weight"], expected)

    assert torch.equal(recomputed(net, case.features, use_reentrant=True), expected)
    assert torch.equal(recomputed(net, case.features, use_reentrant=False), expected)


def recomputed(net: Net, features: Tensor, **options: Any) -> Tensor:
    """Return the gradient of the weight under a checkpoint."""
    net.zero_grad()
    torch.autograd.backward(checkpoint.checkpoint(net, needs_grad(features), **options).square().sum())
    assert net.layer.weight.grad is not None
    return net.layer.weight.grad


@since(2, 5, "selective checkpoints")
def test_selective_checkpoint() -> None:
    case = testing.splat_case(1, n=40)
    net = Net(case.xyz)

    def save_matmuls(_: Any, operation: Any, *__: Any, **___: Any) -> checkpoint.CheckpointPolicy:
        saved = operation is torch.ops.aten.addmm.default
        return checkpoint.CheckpointPolicy.MUST_SAVE if saved else checkpoint.CheckpointPolicy.PREFER_RECOMPUTE

    def selective() -> Any:
        return checkpoint.create_selective_checkpoint_contexts(save_matmuls)  # type: ignore[no-untyped-call]

    expected = trained(net, net.layer.weight, case.features)
    assert torch.equal(recomputed(net, case.features, use_reentrant=False, context_fn=selective), expected)


def test_vmap_is_a_loop() -> None:
    case = testing.splat_case(1, n=40)
    clouds = torch.stack([case.xyz, 1.1 * case.xyz])
    run = lambda xyz: tuple(splat(xyz, case.features, CAMERAS, radius=1.0))  # noqa: E731
    for mapped, loop in zip(torch.vmap(run)(clouds), zip(*map(run, clouds), strict=True), strict=True):
        assert torch.equal(mapped, torch.stack(loop))
    assert [tuple(t.shape) for t in torch.vmap(run)(clouds[:0])] == [(0, *t.shape) for t in run(case.xyz)]  # type: ignore[no-untyped-call]
    radii = torch.stack([case.xyz[:, 0], case.xyz[:, 1]])
    run_radii = lambda radius: splat(case.xyz, None, CAMERAS, radius=radius).index  # noqa: E731
    assert torch.equal(torch.vmap(run_radii)(radii), torch.stack([run_radii(radius) for radius in radii]))
    bits = torch.vmap(lambda xyz: visible(xyz, CAMERAS))(clouds)
    assert torch.equal(bits, torch.stack([visible(xyz, CAMERAS) for xyz in clouds]))
    iou = torch.vmap(mk.overlap, (None, 0))(bits[0], bits)
    assert torch.equal(iou, torch.stack([mk.overlap(bits[0], b) for b in bits]))


@pytest.mark.parametrize("options", [{"occlusion": True}, {"count": [3, 40]}, {"occlusion": True, "count": [0, 17]}])
def test_vmap_of_visible_is_a_loop(options: dict[str, Any]) -> None:
    g = torch.Generator().manual_seed(0)
    cameras = testing.random_cameras(g, 2, (6, 9))
    xyz = torch.stack([testing.random_points(g, "room", 40) for _ in range(3)])
    valid, groups = torch.rand(3, 40, generator=g) < 0.7, torch.randint(-1, 6, (3, 40), generator=g)
    calls = (
        (lambda x, v, _: visible(x, cameras, valid=v, **options)),
        (lambda x, v, of: visible(x, cameras, valid=v, groups=of, num_groups=5, **options)),
    )
    for call in calls:
        expected = torch.stack([call(*one) for one in zip(xyz, valid, groups, strict=True)])
        assert expected.any()
        assert torch.equal(torch.vmap(call)(xyz, valid, groups), expected)


def test_vmap_over_a_cache() -> None:
    case = testing.splat_case(1, n=40)
    for storage in (None, "int8"):
        cache = VoxelCache(0.05, 3, storage=storage)
        cache.insert(case.xyz, case.features)
        valid = torch.rand(2, len(cache), generator=torch.Generator().manual_seed(0)) < 0.5
        read = lambda mask, cache=cache: tuple(cache.splat(CAMERAS, valid=mask))  # noqa: E731
        for mapped, loop in zip(torch.vmap(read)(valid), zip(*map(read, valid), strict=True), strict=True):
            assert torch.equal(mapped, torch.stack(loop))
        with pytest.raises(NotImplementedError, match=r"^voxel_cache_(insert|plan): vmap is not implemented;"):
            torch.vmap(lambda f, cache=cache: cache.insert(case.xyz, f).added)(case.features[None])


def test_vmap_over_cameras() -> None:
    mapped = torch.vmap(lambda m: Cameras(CAMERAS.intrinsics[0], m, (6, 9)).world2cam)(CAMERAS.cam2world)
    assert torch.equal(mapped[:, 0], CAMERAS.world2cam)


@pytest.mark.parametrize("name", ["splat, features", "splat bilinear, xyz", "unproject, depth"])
def test_outputs_used_twice_and_inputs_changed_in_place(name: str) -> None:
    loss, value = FUNCTIONS[name]
    leaf, scale = needs_grad(value), 1.0
    total = loss(leaf * scale)
    torch.testing.assert_close(torch.autograd.grad(2 * total + total, leaf)[0], 3 * gradient(loss, value))
    leaf = needs_grad(value)
    inputs = leaf * 1.0
    result = loss(inputs)
    inputs.mul_(2)
    if name == "splat, features":  # whose gradient does not need its values
        assert torch.equal(torch.autograd.grad(result, leaf)[0], gradient(loss, value))
    else:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(result, leaf)


def test_every_operation_with_a_gradient_is_tested() -> None:
    registered = {
        schema.name.split("::")[1]
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith(f"{_library.REFERENCE}::")
        and torch._C._dispatch_has_kernel_for_dispatch_key(schema.name, "Autograd")
    }
    backward = {name for name in registered if "backward" in name}
    of_splat = {"splat", "splat_symbolic", "splat_bilinear", "splat_clouds", "splat_layers"}
    assert registered - backward == {*of_splat, "splat_sum", "composite", "unproject"}
    assert len(backward) == 10
