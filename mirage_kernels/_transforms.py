# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What torch's transforms see of the operations: gradients under ``torch.func``, and ``vmap``.

``torch.library.register_autograd`` supports neither the transforms of ``torch.func`` nor forward-mode differentiation:
the first raise an error about ``setup_context``, the second is silently 0. The kernels made here support reverse-mode
differentiation under every transform, raise an error for forward mode, and run ``vmap`` in a loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import CInterpreter, peek_interpreter_stack
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling

from ._torch_compat import (
    any_requires_grad,
    guard_scalar,
    has_static_value,
    is_exporting,
    is_in_torch_dispatch_mode,
)

_READ_ON_THE_HOST = ("voxel_cache_plan",)  # operations whose results decide what the host does next


def is_in_functorch() -> bool:
    """Return whether a transform of ``torch.func`` runs."""
    # Not `peek_interpreter_stack() is not None`, which torch.compile always evaluates to True, and not
    # torch._C._are_functorch_transforms_active(), which it leaves in the graph.
    return isinstance(peek_interpreter_stack(), CInterpreter)


def is_active() -> bool:
    """Return whether a call may be differentiated although no argument requires a gradient.

    That is so under the transforms of ``torch.func``, in forward mode, and while a graph is recorded that may be
    trained later (``torch.export``, ``make_fx``). ``torch.compile`` alone is not such a case: it compiles again when an
    argument requires a gradient.
    """
    if is_dynamo_compiling():
        return is_exporting() or is_in_functorch() or forward_ad._current_level >= 0
    # Every call with few points pays for this, so it does not look for a transform: under torch.func.grad a tensor
    # requires a gradient, and under vmap the operations without a gradient run as those that have one (vmap_rule).
    return forward_ad._current_level >= 0 or is_in_torch_dispatch_mode()


def constants(*values: float) -> tuple[float, ...]:
    """Return float arguments of an operation as constants of the graph that ``torch.compile`` records.

    Call it only while torch.compile traces. A graph is compiled for each value. If the arguments stayed symbolic, torch
    would find the compiled graph of another value in its cache (AOTAutogradCache, torch 2.13) and run that one. For
    arguments that are likely to vary, see :func:`symbolic_tensors`.
    """
    return tuple([guard_scalar(value) for value in values])


def are_symbolic(*values: float) -> bool:
    """Return whether a float is symbolic in the program that ``torch.compile`` records. Call it only while it does.

    In a program that ``torch.export`` records, floats are constants.
    """
    return not all(has_static_value(value) for value in values)


def symbolic_tensors(*values: float) -> tuple[Tensor, ...]:
    """Return float arguments as () float64 tensors on the CPU, for an operation ``<name>_symbolic``.

    They are products, which torch.compile computes with tensors; torch.tensor(value) would be compiled for each value.
    """
    return tuple([torch.ones((), dtype=torch.float64, device="cpu") * value for value in values])


def autograd_kernel(
    operation: torch._ops.OpOverload,
    *,
    name: str,
    setup_context: Callable[..., None],
    backward: Callable[..., tuple[Any, ...]],
) -> Callable[..., Any]:
    """Return a kernel for the dispatch key "Autograd" that differentiates an operation in reverse mode.

    Args:
        operation: the operation; all its arguments are positional.
        name: name of the public function, for the error message of forward mode.
        setup_context: ``setup_context(ctx, inputs, output)``.
        backward: ``backward(ctx, *grads)``, the gradients of all inputs.
    """

    # The dispatcher leaves out trailing arguments that have the default of the schema.
    defaults = [argument.default_value for argument in operation._schema.arguments]

    def run_below_autograd(keyset: Any, args: tuple[Any, ...]) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return operation.redispatch(keyset & torch._C._after_autograd_keyset, *args)

    def forward(ctx: Any, *inputs: Any) -> Any:
        *args, keyset = inputs
        if is_in_functorch():
            # autograd.Function switches both modes off; an outer transform of torch.func needs them.
            with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
                output = run_below_autograd(keyset, tuple(args))
        else:
            output = run_below_autograd(keyset, tuple(args))
        ctx.set_materialize_grads(False)
        setup_context(ctx, tuple(args), output)
        return output

    def run_backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return (*backward(ctx, *grads), None)

    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise NotImplementedError(f"{name}: forward-mode differentiation (jvp, jacfwd, hessian) is not implemented")

    # A function of a single level: the dispatcher calls this kernel once for every level of torch.func.
    methods = {"forward": forward, "backward": run_backward, "jvp": jvp}
    function: Any = type(
        f"{name}_function",
        (torch.autograd.function._SingleLevelFunction,),
        {key: staticmethod(method) for key, method in methods.items()},
    )

    def run(keyset: Any, *args: Any) -> Any:
        if forward_ad._current_level < 0 and not (torch.is_grad_enabled() and any_requires_grad(*args)):
            return run_below_autograd(keyset, args)
        with enable_single_level_autograd_function() if is_in_functorch() else contextlib.nullcontext():
            return function.apply(*args, *defaults[len(args) :], keyset)

    return run


def vmap_rule(operation: torch._ops.OpOverload, run: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Return a rule for :func:`torch.library.register_vmap` that runs an operation once per element of the batch.

    Args:
        operation: the operation.
        run: what runs in its place, with the same arguments: the operation that has a gradient.
    """
    schema = operation._schema
    name = schema.name.split("::")[1]

    def refuse(info: Any, in_dims: Any, *args: Any) -> Any:
        raise NotImplementedError(f"{name}: vmap is not implemented; call it outside of the mapped function")

    def loop(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        def element(i: int) -> tuple[Tensor, ...]:
            picked = [a if d is None else _select(a, d, i) for a, d in zip(args, in_dims, strict=True)]
            outputs = (run or operation)(*picked)
            return (outputs,) if isinstance(outputs, Tensor) else outputs

        # An empty batch has the shapes of a batch of one.
        elements = [element(i) for i in range(max(info.batch_size, 1))]
        stacked = tuple(torch.stack(output)[: info.batch_size] for output in zip(*elements, strict=True))
        return (stacked[0], 0) if len(schema.returns) == 1 else (stacked, (0,) * len(stacked))

    tensors_only = all(str(value.type) == "Tensor" for value in schema.returns)
    return refuse if schema.is_mutable or name in _READ_ON_THE_HOST or not tensors_only else loop


def _select(tensor: Tensor, dim: int, i: int) -> Tensor:
    if tensor.shape[dim]:
        return tensor.select(dim, i)
    return tensor.new_zeros([size for axis, size in enumerate(tensor.shape) if axis != dim])
