# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("mirage", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("mirage")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Whatever a test does to the number of threads ends with it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings. Without MIRAGE_DATA such tests are skipped; with it, a missing folder is a
    failure."""
    root = os.environ.get("MIRAGE_DATA")
    if not root:
        pytest.skip("MIRAGE_DATA is not set: it names the folder of real recordings")
    return Path(root)
