# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training run: one safetensors file each, which is complete or absent.

A checkpoint has the trained weights, their running average and the state of the optimizer, whole and not sharded, so
that a run can go on with another number of processes. Random numbers and the order of the data follow from the step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from mirage_kernels import load_tensors, save_tensors

from ..errors import DataError

__all__ = ["TrainingState", "find_checkpoints", "whole"]

KIND, VERSION = "training state", 1


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor, which may be sharded, as a whole on the CPU. All processes must call it."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().to("cpu", copy=True)


def _like(value: Tensor, like: Tensor) -> Tensor:
    """Place a tensor as another one of the same shape is; tensors of other shapes are only moved to its device."""
    value = value.to(like.device)
    if isinstance(like, DTensor) and value.shape == like.shape:
        return distribute_tensor(value, like.device_mesh, like.placements)
    return value


def find_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Find the checkpoints of a folder.

    Returns:
        Step and path of each, ascending.
    """
    found = [(re.fullmatch(r"step-([0-9]+)\.safetensors", path.name), path) for path in folder.glob("step-*")]
    return sorted((int(match[1]), path) for match, path in found if match)


class TrainingState:
    """What changes during training: weights, optimizer and running average.

    Args:
        parameters: the trained parameters by name, in the order of the optimizer.
        optimizer: the optimizer.
        average: the running average of each parameter, or nothing.
    """

    def __init__(
        self, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, average: Iterable[Tensor] = ()
    ) -> None:
        self.parameters, self.optimizer = parameters, optimizer
        self.average = dict(zip(parameters, average, strict=False))

    def weights(self) -> dict[str, Tensor]:
        """Return the average of the weights, or without one the weights, whole on the CPU."""
        return {name: whole(tensor) for name, tensor in (self.average or self.parameters).items()}

    def save(self, folder: Path, step: int, settings: dict[str, Any], keep: int, *, write: bool) -> None:
        """Write a checkpoint and remove older ones. All processes must call it.

        Args:
            folder: of the checkpoints.
            step: number of steps that were done.
            settings: JSON values.
            keep: number of checkpoints that are kept.
            write: whether this process writes.
        """
        tensors: dict[str, Tensor] = {}
        values: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            tensors[f"weights.{name}"] = whole(parameter)
            if name in self.average:
                tensors[f"average.{name}"] = whole(self.average[name])
            for key, value in self.optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{key}.{name}"] = whole(value)
                else:
                    values[f"{key}.{name}"] = value
            if not write:
                tensors.clear()
        if not write:
            return
        folder.mkdir(parents=True, exist_ok=True)
        settings = {**settings, "step": step, "values": values}
        path = folder / f"step-{step:08d}.safetensors"
        save_tensors(path, tensors, kind=KIND, version=VERSION, settings=settings)
        for _, old in find_checkpoints(folder)[:-keep]:
            old.unlink()

    def load(self, path: Path, check_settings: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Return to a checkpoint.

        Args:
            path: the file.
            check_settings: raises an error if the settings are not those of this run, before anything is changed.

        Returns:
            Its settings.

        Raises:
            DataError: the file is damaged or of another model.
        """
        try:
            tensors, settings = load_tensors(path, kind=KIND, version=VERSION)
        except (ValueError, OSError) as error:
            raise DataError(str(error)) from None
        try:
            check_settings(settings)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected a checkpoint, got damaged settings ({error})") from None
        shapes = {f"weights.{name}": p.shape for name, p in self.parameters.items()}
        if {name: t.shape for name, t in tensors.items() if name.startswith("weights.")} != shapes:
            raise DataError(f"{path}: expected a checkpoint of this model, got one of another")
        states: dict[str, dict[str, Any]] = {name: {} for name in self.parameters}
        for place, value in settings["values"].items():
            key, _, name = place.partition(".")
            states[name][key] = value
        with torch.no_grad():
            for place, tensor in tensors.items():
                kind, _, name = place.partition(".")
                if kind == "optimizer":
                    key, _, name = name.partition(".")
                    is_moment = tensor.shape == self.parameters[name].shape
                    states[name][key] = _like(tensor, self.parameters[name]) if is_moment else tensor
                elif kind == "weights":
                    self.parameters[name].copy_(_like(tensor, self.parameters[name]))
                elif name in self.average:
                    self.average[name].copy_(_like(tensor, self.average[name]))
        numbered = {number: state for number, state in enumerate(states.values()) if state}
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": numbered, "param_groups": groups})
        return settings
