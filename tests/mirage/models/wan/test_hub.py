# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Models on the Hub without a connection: one request, and one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import tiny
import torch

from mirage.errors import DataError
from mirage.models.wan import checkpoints
from mirage.models.wan.pipeline import MiragePipeline
from mirage.models.wan.transformer import MirageTransformer3DModel

NAME = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The Hub cannot be reached, and nothing is in the cache. Returns the requests."""
    made: list[str] = []

    def fail(_api: Any, name: str, **options: Any) -> None:
        assert options["timeout"] == checkpoints.HUB_TIMEOUT
        made.append(name)
        raise ConnectionError("Name or service not known")

    def never(*_: Any, **__: Any) -> None:
        pytest.fail("diffusers made a request")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for module in ("diffusers.utils.hub_utils", "diffusers.configuration_utils", "diffusers.pipelines.pipeline_utils"):
        monkeypatch.setattr(f"{module}.hf_hub_download", never)
    return made


LOADS: list[Callable[..., Any]] = [
    MiragePipeline.from_pretrained,
    MirageTransformer3DModel.from_pretrained,
    lambda name, **options: MiragePipeline.from_pretrained(name, transformer=None, **options),
]


@pytest.mark.parametrize("load", LOADS)
def test_an_unreachable_hub(load: Callable[..., Any], requests: list[str]) -> None:
    message = f"^{NAME}: expected a folder, or a model in the local cache or on the Hub; it is not in the cache, and "
    with pytest.raises(
        DataError, match=message + r"the Hub cannot be reached or refuses it \(Name or service not known\)$"
    ):
        load(NAME)
    assert requests == [NAME]
    with pytest.raises(DataError, match=message + "downloads are turned off by local_files_only or HF_HUB_OFFLINE$"):
        load(NAME, local_files_only=True)
    assert requests == [NAME]


def test_lora_on_an_unreachable_hub(requests: list[str]) -> None:
    parts = tiny.wan().components
    del parts["transformer_2"]
    with pytest.raises(DataError, match=r"^someone/style: expected a folder, or a model .* the Hub cannot be reached"):
        MiragePipeline(**parts).load_lora_weights("someone/style")
    assert requests == ["someone/style"]


def test_the_cache_is_used_without_a_connection(
    requests: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the model is in the cache, one failed request decides that all its files are read from there."""
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(tmp_path))
    settings: dict[str, Any] = {"revision": None, "subfolder": "transformer"}
    assert checkpoints.reach_hub(NAME, "model_index.json", settings) == {"local_files_only": True}
    assert requests == [NAME]
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    assert checkpoints.reach_hub(NAME, "model_index.json", settings) == {}


def test_folders_make_no_request(requests: list[str], tmp_path: Path) -> None:
    tiny.wan().save_pretrained(tmp_path / "owner" / "model")
    pipe = MiragePipeline.from_pretrained("owner/model", dtype=torch.float32)
    assert pipe.adapter_is_untrained
    assert requests == []
