# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that a launcher numbers: each takes a GPU of its own."""

from __future__ import annotations

import pytest
import torch

from mirage.cli.launchers import default_device, is_launched


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_each_process_takes_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_launched()
    assert default_device() == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert default_device() == "cuda", "somebody else's variable"
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert is_launched()
    assert default_device() == "cuda:1"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert default_device() == "cuda:1", "more processes than GPUs"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert default_device() == "cpu"
