# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors that are kept, and may be used later by a caller who is not in ``torch.inference_mode()`` any more.

Tensors made in inference mode can be neither changed in place outside of it nor saved for a gradient.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_NO_CHANGE: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


def outside_inference_mode() -> contextlib.AbstractContextManager[None]:
    """Return a context without inference mode and without gradients if inference mode is on, else one without effect.

    Example:
        >>> with torch.inference_mode():
        ...     with outside_inference_mode():
        ...         torch.zeros(3).is_inference()
        False
    """
    # torch.compile cannot record the question whether inference mode is on.
    inside = not torch.compiler.is_dynamo_compiling() and torch.is_inference_mode_enabled()
    return _ordinary_tensors() if inside else _NO_CHANGE


@contextlib.contextmanager
def _ordinary_tensors() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad():
        yield
