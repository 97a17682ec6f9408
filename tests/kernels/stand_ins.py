# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Libraries that replace the C++ kernels, so that every test of the CPU tests them."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mirage_kernels import _library, backend

PACKAGE = Path(_library.__file__).resolve().parent


def define_operations(namespace: str) -> torch.library.Library:
    """A library with the schemas, fakes and gradients of the others: every file that defines operations, run once
    more for it alone."""
    stand_in = torch.library.Library(namespace, "DEF")

    def define(
        schema: str,
        *,
        fake: Callable[..., Any],
        reference: Callable[..., Any],
        inference: bool = False,
        native: bool = True,
        **_: Any,
    ) -> None:
        base, arguments = schema.split("(", 1)
        for name in (base, f"{base}.inference") if inference else (base,):
            _library.define_in(stand_in, namespace, f"{name}({arguments}", fake)
            if not native:
                stand_in.impl(name, reference, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]

    with (
        mock.patch.object(_library, "define", define),
        mock.patch.object(_library, "_libraries", {namespace: stand_in}),
    ):
        for path in sorted((PACKAGE / "ops").glob("*/*.py")):
            if "_library.define(" not in path.read_text():
                continue
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.loader is not None
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return stand_in


@contextlib.contextmanager
def stand_in(namespace: str) -> Iterator[None]:
    """Operations on a CPU are those of this library."""
    with mock.patch.dict(backend._table, {"cpu": "cpp"}), mock.patch.dict(backend._LIBRARY, {"cpp": namespace}):
        yield


class ThroughDevice:
    """A backend of another device for CPU tensors: copies operands to it, and results and mutated arguments back."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, device
        self.namespace = f"mirage_kernels_through_{device}_{name}"
        self._library = define_operations(self.namespace)
        for schema in torch._C._jit_get_all_schemas():
            if schema.name.startswith(f"{self.namespace}::"):
                base, kind = schema.name.split("::")[1], schema.overload_name
                operation = _library.overload(backend._LIBRARY[name], base, kind or "default")
                full = f"{base}.{kind}" if kind else base
                self._library.impl(full, lambda *args, run=operation: self._call(run, *args), "CPU")

    def _call(self, operation: torch._ops.OpOverload, *args: Any) -> Any:
        moved_args = [a.to(self.device, copy=True) if isinstance(a, Tensor) else a for a in args]
        results = operation(*moved_args)
        for argument, original, moved in zip(operation._schema.arguments, args, moved_args, strict=False):
            if isinstance(original, Tensor) and argument.alias_info is not None and argument.alias_info.is_write:
                original.copy_(moved)
        if isinstance(results, Tensor):
            return results.cpu()
        return tuple(r.cpu() if isinstance(r, Tensor) else r for r in results) if results is not None else None

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        with stand_in(self.namespace):
            yield
