# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of weights that hold themselves, are compressed, or hold something else than finite floats."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mirage.errors import DataError
from mirage.models.wan.checkpoints import read_tensors
from mirage.models.wan.lora import _parse_header, _scales


def itself(depth: int = 0) -> dict[str, Any]:
    content: dict[str, Any] = {"a": torch.ones(2)}
    for _ in range(depth):
        content = {"state_dict": content}
    if not depth:
        content["state_dict"] = content
    return content


def compressed(path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 16)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def saved(content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (saved(itself()), "in at most 8 nested dicts, got more"),
        (saved(itself(9)), "in at most 8 nested dicts, got more"),
        (compressed, "it is compressed"),
        (os.mkfifo, "got a FIFO or a device"),
        (saved({"a": torch.tensor([1, torch.nan])}), "a: expected finite numbers"),
        (saved({"a": torch.tensor([torch.inf]).bfloat16()}), "a: expected finite numbers"),
        (saved({"a": torch.ones(3, dtype=torch.int64)}), "a: expected floats, got int64"),
        (saved({"a": torch.ones(3, dtype=torch.complex64)}), "a: expected floats, got complex64"),
        (saved({"a": torch.ones(1).expand(1 << 30, 1 << 20)}), "a: expected a tensor with memory of its own"),
        (saved({"a": torch.ones(2).to_sparse()}), "a: expected a dense tensor"),
        (saved({1: torch.ones(2)}), "1: expected a tensor"),
    ],
)
def test_odd_files_are_errors_of_one_line(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    path = tmp_path / "weights.pt"
    make(path)
    with pytest.raises(DataError, match=message) as error:
        read_tensors(path, "an adapter", ("state_dict",))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_nested_files_are_read(tmp_path: Path) -> None:
    torch.save(itself(8), tmp_path / "a.pt")
    assert list(read_tensors(tmp_path / "a.pt", "an adapter", ("state_dict",))[0]) == ["a"]


@pytest.mark.parametrize(("rank", "alpha"), [("0", "1"), ("-4", "4"), ("NaN", "1"), ("4", "NaN"), ("4", "1e300"),
                                             ("4", "1" + "0" * 400)])  # fmt: skip
def test_rank_and_alpha(rank: str, alpha: str) -> None:
    def scales(text: str) -> dict[str, float]:
        settings = _parse_header({"lora_adapter_metadata": text})
        assert settings is not None
        return _scales(settings, {"blocks.0.attn1.to_q": (8, 8)})

    with pytest.raises(ValueError, match="expected LoRA"):
        scales(f'{{"r": {rank}, "lora_alpha": {alpha}}}')
    assert scales('{"r": 4, "lora_alpha": 8}') == {"blocks.0.attn1.to_q": 2}
