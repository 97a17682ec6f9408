# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How operations reach ``torch.library``: one schema, several implementations.

Each operation exists once per library, all with the same schema, fake kernel and gradient formula:

* ``torch.ops.mirage_kernels.<name>``: native kernels. The dispatcher picks C++ or CUDA by device.
* ``torch.ops.mirage_kernels_triton.<name>``: Triton kernels. Their module, and with it triton, is imported at the first
  call.
* ``torch.ops.mirage_kernels_reference.<name>``: pure PyTorch, on any device, any floating dtype.

Schemas live in Python so that they exist on a machine without a compiler. An operation's own files say what it is; this
one only knows how to register it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch

NATIVE = "mirage_kernels"
TRITON = "mirage_kernels_triton"
REFERENCE = "mirage_kernels_reference"

_libraries = {
    namespace: torch.library.Library(namespace, "DEF")  # type: ignore[no-untyped-call]
    for namespace in (NATIVE, TRITON, REFERENCE)
}


_overloads: dict[tuple[str, str, str], torch._ops.OpOverload] = {}  # those of these libraries: one lookup, not three


def overload(namespace: str, name: str, kind: str = "default") -> torch._ops.OpOverload:
    operation: torch._ops.OpOverload | None = _overloads.get((namespace, name, kind))
    if operation is None:
        operation = getattr(getattr(getattr(torch.ops, namespace), name), kind)
    return operation


def _at_first_call(module: str, name: str) -> Callable[..., Any]:
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
) -> None:
    """Define an operation in every library.

    Args:
        schema: ``name(Tensor x, ...) -> ...``.
        reference: the pure-PyTorch implementation.
        fake: computes the shapes and dtypes of the outputs.
        triton: the module whose function of the operation's name runs its Triton kernels. Without one the Triton
            library composes PyTorch operations on the device, as the reference does.
        inference: also define an overload of this name, which never has a gradient. Autograd's way through Python costs
            as much as a small call itself.
    """
    base, arguments = schema.split("(", 1)
    implementations = {REFERENCE: reference, TRITON: _at_first_call(triton, base) if triton else reference}
    for kind in ("default", "inference") if inference else ("default",):
        name = base if kind == "default" else f"{base}.{kind}"
        for namespace, library in _libraries.items():
            library.define(f"{name}({arguments}", tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
            torch.library.register_fake(f"{namespace}::{name}", fake, lib=library)
            _overloads[namespace, base, kind] = overload(namespace, base, kind)
        for namespace, run in implementations.items():
            _libraries[namespace].impl(name, run, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]


def differentiate(name: str, *, setup_context: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Give an operation a gradient.

    ``backward(call, ctx, *grads)`` may run other operations of the same library as ``call(name, ...)``. Gradients of
    outputs that were not used arrive as None.
    """
    for namespace, library in _libraries.items():

        def call(other: str, *args: Any, namespace: str = namespace) -> Any:
            return overload(namespace, other)(*args)

        def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.set_materialize_grads(False)
            setup_context(ctx, inputs, output)

        def run(ctx: Any, *grads: Any, call: Callable[..., Any] = call) -> Any:
            return backward(call, ctx, *grads)

        torch.library.register_autograd(f"{namespace}::{name}", run, setup_context=setup, lib=library)
