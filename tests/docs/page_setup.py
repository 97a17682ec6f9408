# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the examples of a page find when they begin: files and weights that a reader has, and the test has not.

Wan2.2 is stood in for by tiny random configurations of the real classes; everything else of an example is as it reads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mirage_kernels import Cameras

ROOT = Path(__file__).resolve().parents[2]
SIZE = (32, 64)


def cli_parser() -> Callable[[], argparse.ArgumentParser]:
    from mirage.cli.main import build_parser

    return build_parser


def command_options() -> set[str]:
    """The options of all commands."""
    return options_of(cli_parser()())


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of its commands."""
    found = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for command in action.choices.values() for option in options_of(command)}
    return found


def tiny_wan(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A pipeline in place of the download, files of weights, and an image with depth and cameras."""
    sys.path.append(str(ROOT / "tests" / "mirage"))
    import tiny

    from mirage.models.wan.lora import lora_config
    from mirage.models.wan.pipeline import MiragePipeline

    def pipeline() -> MiragePipeline:
        parts = tiny.wan().components
        names = ("tokenizer", "text_encoder", "vae", "scheduler", "transformer")
        return MiragePipeline(**{name: parts[name] for name in names})

    def from_pretrained(path: str, **settings: Any) -> MiragePipeline:
        assert path == "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
        assert settings == {"dtype": torch.bfloat16}
        return pipeline()  # in float32: a CPU takes ten times as long in bfloat16

    pipe = pipeline()
    pipe.save_adapter_weights("adapter.safetensors")
    pipe.transformer.add_adapter(lora_config("release"), "memory")
    MiragePipeline.save_lora_weights(".", lora_state_of(pipe), weight_name="lora.safetensors")
    monkeypatch.setattr(MiragePipeline, "from_pretrained", from_pretrained)
    return scene(9)


def lora_state_of(pipe: Any) -> dict[str, Tensor]:
    from peft.utils import get_peft_model_state_dict

    state: dict[str, Tensor] = get_peft_model_state_dict(pipe.transformer, adapter_name="memory")
    return state


def scene(frames: int) -> dict[str, Any]:
    h, w = SIZE
    intrinsics = torch.tensor([[w / 1.5, 0.0, w / 2], [0.0, w / 1.5, h / 2], [0.0, 0.0, 1.0]])
    poses = torch.eye(4).repeat(frames, 1, 1)
    poses[:, 0, 3] = torch.linspace(0, 0.3, frames)
    image = np.random.default_rng(0).random((h, w, 3), dtype=np.float32)
    return {"image": image, "depth": torch.full(SIZE, 2.0), "cameras": Cameras(intrinsics, poses, SIZE)}


SETUPS = {"docs/wan.md": tiny_wan}


def names_for(page: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that a page's examples begin with."""
    setup = SETUPS.get(page)
    return {} if setup is None else setup(monkeypatch)
