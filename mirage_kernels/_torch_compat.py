# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the package needs of torch and older releases lack: from torch where it is there, else written here.

Each function names the first release that has it. Remove it when that release is the oldest supported one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _python_dispatch

from .version import torch_release

_RELEASE = torch_release(torch.__version__)


def _find(path: str, older: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of torch at ``path``, or ``older`` where this torch has none."""
    module, _, name = path.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name, older)
    return found


def _is_exporting() -> bool:
    """Return True: torch.export cannot be told from torch.compile, and only the first needs the answer to be right."""
    return True


def _any_requires_grad(*args: Any) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in args)


def guard_scalar(value: float) -> float:
    """Return torch's answer (2.8); before, the value itself, which torch.compile makes a constant by itself."""
    from torch.fx.experimental import symbolic_shapes  # imports sympy

    return value if _RELEASE < (2, 8) else symbolic_shapes.guard_scalar(value)


def is_in_torch_dispatch_mode() -> bool:
    """Return torch's answer (2.5); before, torch's stays True when a mode was entered twice."""
    if _RELEASE < (2, 5):
        return torch._C._len_torch_dispatch_stack() > 0
    return _python_dispatch.is_in_torch_dispatch_mode()


def has_static_value(value: Any) -> bool:
    """Return torch's answer (2.8); before, True: a float that may be symbolic (2.6) is then made a constant."""
    from torch.fx.experimental import symbolic_shapes  # imports sympy

    return not hasattr(symbolic_shapes, "has_static_value") or symbolic_shapes.has_static_value(value)


def _register_vmap(qualname: str, rule: Callable[..., Any], *, lib: torch.library.Library) -> None:
    """Register a rule that returns one tensor with its dimension, or a tuple of tensors with theirs."""
    from torch._functorch.autograd_function import VmapInfo
    from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
    from torch._functorch.vmap import _add_batch_dim, unwrap_batched  # type: ignore[attr-defined]
    from torch.utils import _pytree as pytree

    batched = torch._C.DispatchKeySet(torch._C.DispatchKey.FuncTorchBatched)
    name = qualname.split("::")[1]
    base, _, kind = name.partition(".")
    operation = getattr(getattr(getattr(torch.ops, lib.ns), base), kind or "default")

    def run(_: Any, *args: Any) -> Any:
        interpreter: Any = retrieve_current_functorch_interpreter()
        level = interpreter.level()
        unwrapped, in_dims = unwrap_batched(args, level)
        with torch._C._ExcludeDispatchKeyGuard(batched):
            if pytree.tree_all(lambda dim: dim is None, in_dims):
                return operation(*args)
            info = VmapInfo(batch_size=interpreter.batch_size(), randomness=interpreter.randomness())
            outputs, dims = rule(info, in_dims, *unwrapped)
        if isinstance(outputs, Tensor):
            return _add_batch_dim(outputs, dims, level)
        return tuple(_add_batch_dim(output, dim, level) for output, dim in zip(outputs, dims, strict=True))

    lib.impl(name, run, "FuncTorchBatched", with_keyset=True)  # type: ignore[no-untyped-call]


is_exporting = _find("torch.compiler.is_exporting", _is_exporting)  # 2.7
any_requires_grad = _find("torch._C._any_requires_grad", _any_requires_grad)  # 2.5
register_vmap = _find("torch.library.register_vmap", _register_vmap)  # 2.5
