# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Registration of operations with ``torch.library``: one schema, several implementations.

Each operation exists once per library, with the same schema, fake kernel and gradient formula in each:

* ``torch.ops.mirage_kernels.<name>``: native kernels. The dispatcher selects C++ or CUDA by device.
* ``torch.ops.mirage_kernels_triton.<name>``: Triton kernels. Their module, and with it triton, is imported by the first
  call.
* ``torch.ops.mirage_kernels_reference.<name>``: pure PyTorch, on any device and in any floating-point dtype.

Schemas are defined in Python so that they exist without a compiler. The files ``ops/<op>/<op>_operators.py`` define
them, next to one typed function per operation, which is the only place where its arguments are given by position.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from typing import Any

import torch

from . import _memory, _torch_compat, _transforms

NATIVE = "mirage_kernels"
TRITON = "mirage_kernels_triton"
REFERENCE = "mirage_kernels_reference"

_libraries = {
    namespace: torch.library.Library(namespace, "DEF")  # type: ignore[no-untyped-call]
    for namespace in (NATIVE, TRITON, REFERENCE)
}

# Overloads by (namespace, name, kind): one dictionary lookup instead of three attribute lookups on torch.ops.
_overloads: dict[tuple[str, str, str], torch._ops.OpOverload] = {}


def overload(namespace: str, name: str, kind: str = "default") -> torch._ops.OpOverload:
    """Return the overload ``kind`` of ``torch.ops.<namespace>.<name>``."""
    operation: torch._ops.OpOverload | None = _overloads.get((namespace, name, kind))
    if operation is None:
        operation = getattr(getattr(getattr(torch.ops, namespace), name), kind)
    return operation


def _import_on_first_call(module: str, name: str) -> Callable[..., Any]:
    load = functools.cache(lambda: getattr(importlib.import_module(module), name))

    def run(*args: Any) -> Any:
        return load()(*args)

    return run


def define(
    schema: str,
    *,
    reference: Callable[..., Any],
    fake: Callable[..., Any],
    triton: str | None = None,
    inference: bool = False,
    symbolic: bool = False,
    native: bool = True,
    differentiable: tuple[str, tuple[Any, ...]] | None = None,
) -> None:
    """Define an operation in every library.

    Args:
        schema: ``name(Tensor x, ...) -> ...``.
        reference: the pure PyTorch implementation.
        fake: computes the shapes and dtypes of the outputs.
        triton: name of the module whose function of the operation's name launches its Triton kernels. If None, the
            Triton library runs the reference on the device.
        inference: also define an overload named ``inference`` that has no gradient. For a small call, autograd's path
            through Python takes as long as the operation itself.
        symbolic: also define an operation ``<name>_symbolic`` that takes () float64 tensors on the CPU in place of
            floats. A program of torch.compile is compiled once for all values of a tensor, and again for every value
            of a float. The fake kernel and the gradient must not use these arguments.
        native: whether it has native kernels; if not, the reference runs on the device instead.
        differentiable: for an operation without a gradient, the one that has it and its further arguments. It runs
            under vmap, where a call cannot see whether an outer transform differentiates it.
    """
    base, arguments = schema.split("(", 1)
    implementations = {REFERENCE: reference, TRITON: _import_on_first_call(triton, base) if triton else reference}
    if not native:
        implementations[NATIVE] = reference
    for kind in ("default", "inference") if inference else ("default",):
        name = base if kind == "default" else f"{base}.{kind}"
        for namespace, library in _libraries.items():
            run: Callable[..., Any] | None = None
            if differentiable is not None:
                run = _with_arguments(overload(namespace, differentiable[0]), differentiable[1])
            elif kind != "default":
                run = overload(namespace, base)
            define_in(library, namespace, f"{name}({arguments}", fake, run)
            _overloads[namespace, base, kind] = overload(namespace, base, kind)
        for namespace, function in implementations.items():
            kernel = _without_autocast(function)
            _libraries[namespace].impl(name, kernel, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    if symbolic:
        _define_symbolic(base, arguments, fake, "inference" if inference else "default")


def _without_autocast(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an implementation that calls operations of torch keep its dtypes under ``torch.autocast``."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        if not torch._C._is_any_autocast_enabled():
            return function(*args)
        with torch._C._DisableAutocast():
            return function(*args)

    return run


_FLOAT = re.compile(r"\bfloat (\w+)(=[^,)]+)?")


def _define_symbolic(base: str, arguments: str, fake: Callable[..., Any], kind: str) -> None:
    """Define ``<base>_symbolic``, which calls an overload of the operation below autograd."""
    # It is not a third overload: with one of other types than the first two, torch 2.13 aborts when the process ends.
    name = f"{base}_symbolic"
    for namespace, library in _libraries.items():
        define_in(library, namespace, f"{name}(" + _FLOAT.sub(r"Tensor \1", arguments), fake)
        _overloads[namespace, name, "default"] = overload(namespace, name)
        called = overload(namespace, base, kind)
        floats = [i for i, argument in enumerate(called._schema.arguments) if str(argument.type) == "float"]
        library.impl(name, _with_floats(called, floats), "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]


def _with_floats(operation: torch._ops.OpOverload, floats: list[int]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        values = list(args)
        for i in floats:
            values[i] = args[i].item()
        return operation(*values)

    return run


def _with_arguments(operation: torch._ops.OpOverload, further: tuple[Any, ...]) -> Callable[..., Any]:
    return lambda *args: operation(*args, *further)


def define_in(
    library: torch.library.Library,
    namespace: str,
    schema: str,
    fake: Callable[..., Any],
    run_in_vmap: Callable[..., Any] | None = None,
) -> None:
    """Define one overload of an operation in one library: schema, fake kernel and rule for vmap."""
    library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    name = schema.split("(", 1)[0]
    base, _, kind = name.partition(".")
    torch.library.register_fake(f"{namespace}::{name}", fake, lib=library)
    rule = _transforms.vmap_rule(overload(namespace, base, kind or "default"), run_in_vmap)
    _torch_compat.register_vmap(f"{namespace}::{name}", rule, lib=library)


def differentiate(name: str, *, setup_context: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Register the gradient of an operation in every library.

    Args:
        name: the operation.
        setup_context: ``setup_context(ctx, inputs, output)``, as :func:`torch.library.register_autograd` takes it.
        backward: ``backward(call, ctx, *grads)``. It runs other operations of the same library as
            ``call(name, argument=value, ...)``; register these with :func:`differentiate_once`. The gradient of an
            unused output is None.
    """
    for namespace, library in _libraries.items():

        def call(other: str, *, _namespace: str = namespace, **arguments: Any) -> Any:
            operation = overload(_namespace, other)
            try:
                return operation(**arguments)
            except (RuntimeError, MemoryError) as error:
                _memory.raise_explained(error, f"gradient of {name}", **arguments)

        differentiated = _memory.explains(f"gradient of {name}")(functools.partial(backward, call))
        _register_gradient(library, namespace, name, name, setup_context, differentiated)
        symbolic = f"{name}_symbolic"
        if (namespace, symbolic, "default") in _overloads:
            _register_gradient(library, namespace, symbolic, name, setup_context, differentiated)


def differentiate_once(name: str, *operations: str) -> None:
    """Register that the gradient of an operation has no gradient itself: a second derivative raises an error.

    Args:
        name: the operation, for the error message.
        operations: the operations that compute its gradient.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(f"{name}: second derivatives are not implemented")

    for namespace, library in _libraries.items():
        for operation in operations:
            _register_gradient(library, namespace, operation, name, setup_context, backward)


def _register_gradient(
    library: torch.library.Library,
    namespace: str,
    operation: str,
    name: str,
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
) -> None:
    kernel = _transforms.autograd_kernel(
        overload(namespace, operation), name=name, setup_context=setup_context, backward=backward
    )
    library.impl(operation, kernel, "Autograd", with_keyset=True)  # type: ignore[no-untyped-call]
