# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that end after their first chunk, as by Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mirage.rollout import RolloutSession


@contextmanager
def stopped_after_a_chunk() -> Iterator[None]:
    """Let every rollout be interrupted when its second chunk begins."""
    step = RolloutSession.step

    def interrupt(self: RolloutSession, *args: Any) -> Any:
        if self.chunks:
            raise KeyboardInterrupt
        return step(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RolloutSession, "step", interrupt)
        yield
