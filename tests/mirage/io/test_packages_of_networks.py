# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors for packages of networks: they name what to install, and never a torchvision that would replace torch."""

from __future__ import annotations

import pytest
import torch

from mirage.io.pretrained import IMPORT_ERRORS, missing_transformers, torchvision_install


@pytest.mark.parametrize(("version", "command"), [
    ("2.10.0", "pip install --no-deps 'torchvision==0.25.*'"),
    ("2.13.0+cpu", "pip install --no-deps 'torchvision==0.28.*' --index-url https://download.pytorch.org/whl/cpu"),
    ("2.14.1+cu130", "pip install --no-deps 'torchvision==0.29.*' --index-url https://download.pytorch.org/whl/cu130"),
    ("2.15.0a0+git1234", "pip install --no-deps 'torchvision==0.30.*'"),  # built from source: no index has it
])  # fmt: skip
def test_the_torchvision_of_a_torch(version: str, command: str) -> None:
    assert torchvision_install(version) == command


@pytest.mark.parametrize("error", [
    ImportError("\nSam3ImageProcessor requires the Torchvision library but it was not found in your environment."),
    RuntimeError("operator torchvision::nms does not exist"),
    OSError("/site-packages/torchvision/_C.so: undefined symbol: _ZN3c10"),
])  # fmt: skip
def test_a_torchvision_that_is_missing_or_does_not_fit(error: Exception) -> None:
    assert isinstance(error, IMPORT_ERRORS)
    message = str(missing_transformers("segmenter", "filters", error))
    assert message.startswith(
        f"segmenter: needs a torchvision built for torch {torch.__version__}; install it with pip "
    )
    assert "--no-deps 'torchvision==0." in message
    assert "\n" not in message


def test_transformers_are_an_extra() -> None:
    message = str(missing_transformers("model", "depth", ModuleNotFoundError("No module named 'transformers'")))
    assert message == (
        "model: needs transformers; install it with pip install 'mirage-kernels[depth]' "
        "(No module named 'transformers')"
    )
