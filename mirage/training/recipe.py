# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes: everything that determines a training run besides its data, in TOML files."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mirage_kernels import check

from ..errors import DataError, first_line
from ..io.files import read_text
from ..models.wan.conditioning import Conditioning, MaskPolarity
from ..models.wan.prediction import Prediction
from ..models.wan.presets import PresetName

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["STAGES", "BackboneRecipe", "ObjectiveRecipe", "Recipe", "StageName", "StageRecipe", "read_recipe"]

StageName = Literal["base", "adapter", "lora"]
STAGES: tuple[StageName, ...] = get_args(StageName)
RECIPES = Path(__file__).with_name("recipes")
_MAX = 1 << 40
MAX_SIZE, MAX_BATCH = 1 << 20, 1 << 16
RANGE = "[least, largest] with 0 <= least <= largest <= 64"


@dataclass(frozen=True)
class BackboneRecipe:
    """A backbone that the stage ``base`` trains from nothing; see :class:`diffusers.WanTransformer3DModel`."""

    num_layers: int = 4
    num_attention_heads: int = 4
    attention_head_dim: int = 64
    ffn_dim: int = 1024
    text_dim: int = 64
    freq_dim: int = 256

    def __post_init__(self) -> None:
        for name in ("num_layers", "num_attention_heads", "ffn_dim", "text_dim"):
            check.integer(f"backbone.{name}", getattr(self, name), 1, MAX_SIZE)
        for name, least in (("attention_head_dim", 6), ("freq_dim", 4)):
            if check.integer(f"backbone.{name}", getattr(self, name), least, MAX_SIZE) % 2:
                raise check.value_error(f"backbone.{name}", "an even number", getattr(self, name))


@dataclass(frozen=True)
class ObjectiveRecipe:
    """What is drawn for each sample.

    Attributes:
        flow_shift: shift of the noise levels.
        shared_sigmas: whether all samples of a batch have the same noise levels.
        boundary_alone: probability that the first target is encoded alone, and not as part of its video.
        prompt_dropout: probability that the prompt is empty.
        hole_dropout: probability that known cells of the memory's view become holes, in blocks of cells.
        prediction: what the transformer predicts: the ``"flow"``, as Wan2.2 does, or the ``"sample"``, for a small
            backbone from the stage ``base``. The loss is that of the flow in both cases.
        min_sigma: errors at lower noise levels count less; see :func:`mirage.training.flow_matching_loss`.
        zero_view: whether the memory's view is left out, to measure what it is worth.
    """

    flow_shift: float = 5.0
    shared_sigmas: bool = False
    boundary_alone: float = 0.5
    prompt_dropout: float = 0.1
    hole_dropout: float = 0.25
    zero_view: bool = False
    prediction: Prediction = "flow"
    min_sigma: float = 0.0

    def __post_init__(self) -> None:
        check.positive("objective.flow_shift", self.flow_shift)
        for name in ("boundary_alone", "prompt_dropout", "hole_dropout", "min_sigma"):
            check.number(f"objective.{name}", getattr(self, name), 0.0, 1.0)


@dataclass(frozen=True)
class StageRecipe:
    """One stage.

    Attributes:
        steps: optimizer steps.
        batch_size: samples that a process computes at a time.
        accumulate: number of such batches that a step accumulates.
        optimizer: ``"adamw"``, or ``"adamw8bit"`` of bitsandbytes.
        learning_rate: after the warmup.
        warmup: steps in which it rises from 0.
        schedule: ``"constant"``, or ``"cosine"`` to 0 at the end.
        weight_decay, beta1, beta2, epsilon: of AdamW.
        clip_norm: norm that gradients are clipped to; 0 does not clip them.
        ema: decay of the running average of the weights, which is what is exported; 0 keeps none.
        references, preceding: least and largest number of reference and preceding latents, drawn for each step.
        known_weight: weight in the loss of cells that the memory shows, 0 to 1; not in the stage ``base``.
    """

    steps: int = 1000
    batch_size: int = 1
    accumulate: int = 1
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    learning_rate: float = 1e-5
    warmup: int = 100
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    ema: float = 0.999
    references: tuple[int, int] = (0, 4)
    preceding: tuple[int, int] = (0, 2)
    known_weight: float = 1.0

    def check(self, stage: str) -> None:
        """Check the values.

        Raises:
            ValueError: one is out of range; the message names the stage.
        """
        for name, least, most in (("steps", 1, _MAX), ("batch_size", 1, MAX_BATCH), ("accumulate", 1, MAX_BATCH),
                                  ("warmup", 0, _MAX)):  # fmt: skip
            check.integer(f"{stage}.{name}", getattr(self, name), least, most)
        check.positive(f"{stage}.learning_rate", self.learning_rate)
        check.number(f"{stage}.known_weight", self.known_weight, 0.0, 1.0)
        for name, limit in (("weight_decay", 1e6), ("epsilon", 1.0), ("clip_norm", 1e30)):
            check.number(f"{stage}.{name}", getattr(self, name), 0.0, limit)
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= check.number(f"{stage}.{name}", getattr(self, name)) < 1:
                raise check.value_error(f"{stage}.{name}", "at least 0 and below 1", getattr(self, name))
        for name in ("references", "preceding"):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 64:
                raise check.value_error(f"{stage}.{name}", RANGE, [low, high])


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        preset: architecture of the adapter.
        stages: the stages, in this order.
        seed: of everything that is drawn.
        precision: ``"bf16"`` computes with autocast to bfloat16, ``"no"`` in float32. Trained weights are float32.
        checkpointing: whether the backward pass computes each block again instead of keeping its activations.
        compile: whether the blocks are compiled.
        mask: with the preset ``"paper"``, what the mask is 1 for.
        keep_known: see :class:`mirage.models.wan.conditioning.Conditioning`.
        lora_rank: rank of LoRA; 0 for the preset's.
        normalize: whether the model computes with latents that are normalized by the mean and the deviation of each
            channel in the data; ``"auto"`` does so except for Wan2.2's codec, which normalizes them itself.
        normalize_power: 1 gives all channels the same variance, 0 leaves their proportions; see
            :func:`mirage.training.run.flatten`.
        max_sequence_length: tokens that prompts are padded to.
        held_out: fraction of the clips that is kept for validation.
        workers: processes of each process that read samples.
        log_every: steps between entries of the log.
        checkpoint_every, keep_checkpoints: steps between checkpoints, and how many are kept.
        validate_every: steps between validations; 0 for none.
        validation_samples: held-out samples that the loss is computed on.
        validation_steps: denoising steps of the validation's pictures; 0 draws none.
        backbone: of the stage ``base``.
        objective: what is drawn for each sample.
        base, adapter, lora: the stages.
    """

    preset: PresetName = "release"
    stages: tuple[StageName, ...] = ("adapter", "lora")
    seed: int = 0
    precision: Literal["bf16", "no"] = "bf16"
    checkpointing: bool = True
    compile: bool = False
    mask: MaskPolarity = "known"
    keep_known: bool = False
    lora_rank: int = 0
    normalize: Literal["auto", "yes", "no"] = "auto"
    normalize_power: float = 1.0
    max_sequence_length: int = 512
    held_out: float = 0.02
    workers: int = 2
    log_every: int = 10
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    validate_every: int = 500
    validation_samples: int = 16
    validation_steps: int = 20
    backbone: BackboneRecipe = field(default_factory=BackboneRecipe)
    objective: ObjectiveRecipe = field(default_factory=ObjectiveRecipe)
    base: StageRecipe = field(default_factory=StageRecipe)
    adapter: StageRecipe = field(default_factory=StageRecipe)
    lora: StageRecipe = field(default_factory=StageRecipe)

    def __post_init__(self) -> None:
        least = {"seed": 0, "lora_rank": 0, "max_sequence_length": 1, "workers": 0, "log_every": 1,
                 "checkpoint_every": 1, "keep_checkpoints": 1, "validate_every": 0, "validation_samples": 1,
                 "validation_steps": 0}  # fmt: skip
        for name, minimum in least.items():
            check.integer(name, getattr(self, name), minimum, _MAX)
        if not 0 <= check.number("held_out", self.held_out) < 1:
            raise check.value_error("held_out", "at least 0 and below 1", self.held_out)
        check.number("normalize_power", self.normalize_power, 0.0, 1.0)
        order = [STAGES.index(stage) for stage in self.stages]
        if not order or order != sorted(set(order)):
            raise check.value_error("stages", "some of base, adapter, lora, in this order", list(self.stages))
        for stage in STAGES:
            self.stage(stage).check(stage)

    def stage(self, name: StageName) -> StageRecipe:
        """Return a stage's recipe."""
        result: StageRecipe = getattr(self, name)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, for JSON."""
        return dataclasses.asdict(self)

    def conditioning(self, **known: Any) -> Conditioning:
        """Return what the result of this recipe is conditioned on.

        Args:
            known: what the data determines.
        """
        trained = self.stage(next((name for name in ("adapter", "lora") if name in self.stages), "base"))
        return Conditioning(
            num_references=trained.references[1],
            num_preceding=trained.preceding[1],
            mask=self.mask,
            keep_known=self.keep_known,
            flow_shift=self.objective.flow_shift,
            prediction=self.objective.prediction,
            max_sequence_length=self.max_sequence_length,
            **known,
        )


def read_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: ``"release"``, ``"paper"``, or a TOML file.
        overrides: values to replace, such as ``"adapter.learning_rate=1e-5"`` or ``"stages=['lora']"``.

    Raises:
        DataError: there is no such recipe, or a name or value in it is wrong.

    Example:
        >>> recipe = read_recipe("release", ["adapter.steps=100", "seed=1"])
        >>> recipe.preset, recipe.adapter.steps, recipe.lora.steps
        ('release', 100, 5000)
    """
    path = RECIPES / f"{name}.toml" if not str(name).endswith(".toml") else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise DataError(f"RECIPE: expected {known} or a file that ends in .toml, got {str(name)!r}")
    try:
        values = tomllib.loads(read_text(path, "a recipe"))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: expected a recipe in TOML, got a damaged file ({first_line(error)})") from None
    for text in overrides:
        _override(values, text)
    try:
        result: Recipe = _build(Recipe, values, "")
        return result
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}{' with --set' if overrides else ''}: {first_line(error)}") from None


def _override(values: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    *tables, last = name.strip().split(".")
    if not equals or not last:
        raise DataError(f"--set: expected NAME=VALUE, got {text[:60]!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a text without quotes
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise DataError(f"--set: expected a name of the recipe, got {name.strip()[:60]!r}")
    values[last] = parsed


def _build(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass of the values of a table, whose types are checked."""
    hints = typing.get_type_hints(kind)
    unknown = next((name for name in values if name not in hints), None)
    if unknown is not None:
        of_stages = {field.name for field in dataclasses.fields(StageRecipe)}
        hint = f" (adapter.{unknown}?)" if not where and unknown in of_stages else ""
        expected = f"names among {', '.join(hints)}"
        raise check.value_error(where.rstrip(".") or "recipe", expected, repr(unknown)[:60] + hint)
    return kind(**{name: _convert(hints[name], value, where + name) for name, value in values.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise check.type_error(name, "a table", value)
        return _build(hint, value, f"{name}.")
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if isinstance(value, str) and kinds[-1] is Ellipsis:  # a list without brackets and quotes
            value = [item.strip() for item in value.strip("[]").split(",")]
        if not isinstance(value, list) or (kinds[-1] is not Ellipsis and len(value) != len(kinds)):
            count = "values" if kinds[-1] is Ellipsis else f"{len(kinds)} values"
            raise check.type_error(name, f"a list of {count}", value)
        return tuple(_convert(kinds[0], item, name) for item in value)
    if get_origin(hint) is Literal:
        return check.choice(name, value, get_args(hint))
    if hint is bool:
        return check.flag(name, value)
    if hint is int:
        return check.integer(name, value, -_MAX, _MAX)
    return check.number(name, value)
