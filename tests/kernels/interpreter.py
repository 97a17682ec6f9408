# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton's interpreter, without work that it repeats."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import triton.language as tl
from triton.runtime import interpreter


def prepare_the_language_once_per_launch() -> None:
    """Let a call of a device function rely on what was prepared in the same launch.

    The interpreter replaces the functions of ``triton.language``, or of its ``core``, for every launch and again for
    every call of a device function, which takes half of the time of a launch.
    """
    prepare, launch = interpreter._patch_lang, interpreter.GridExecutor.__call__
    prepared: set[int] = set()

    @functools.cache
    def languages(function: Callable[..., Any]) -> frozenset[int]:
        """The modules that a function sees."""
        return frozenset(id(value) for value in function.__globals__.values() if value is tl or value is tl.core)

    def prepare_once(function: Callable[..., Any]) -> Any:
        missing = languages(function) - prepared
        prepared.update(missing)
        return prepare(function) if missing else None

    def launch_anew(self: Any, *args: Any, **kwargs: Any) -> None:
        prepared.clear()
        launch(self, *args, **kwargs)

    interpreter._patch_lang = prepare_once
    interpreter.GridExecutor.__call__ = launch_anew
