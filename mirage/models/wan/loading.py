# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Loads the weights of a pipeline: the transformer's, the adapter's and LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from diffusers.quantizers import PipelineQuantizationConfig

from ...errors import DataError
from .checkpoints import is_on_hub, reach_hub
from .conditioning import Conditioning
from .lora import convert, find_lora_file, lora_settings, read_lora

__all__ = ["WeightLoaderMixin", "transformer_options"]

# Arguments of from_pretrained that are passed on to the transformer's.
_SHARED = (
    "cache_dir", "force_download", "local_files_only", "proxies", "revision", "token", "variant", "use_safetensors",
    "low_cpu_mem_usage", "disable_mmap",
)  # fmt: skip


def transformer_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Select the arguments of the transformer's ``from_pretrained``.

    Args:
        options: arguments of :meth:`diffusers.DiffusionPipeline.from_pretrained`.

    Returns:
        Those that concern the transformer: its dtype, its part of the quantization, and where files are.

    Raises:
        TypeError: ``quantization_config`` is not a :class:`diffusers.PipelineQuantizationConfig`.
    """
    selected = {name: options[name] for name in _SHARED if name in options}
    dtype = options.get("dtype", options.get("torch_dtype"))
    if isinstance(dtype, dict):
        dtype = dtype.get("transformer", dtype.get("default"))
    selected["dtype"] = dtype
    quantization = options.get("quantization_config")
    if quantization is not None:
        if not isinstance(quantization, PipelineQuantizationConfig):
            got = type(quantization).__name__
            raise TypeError(f"quantization_config: expected a diffusers.PipelineQuantizationConfig, got {got}")
        config = quantization._resolve_quant_config(is_diffusers=True, module_name="transformer")
        if config is not None:
            selected["quantization_config"] = config
    return selected


class WeightLoaderMixin:
    """Methods of the pipeline that load and save the weights of the adapter and of LoRA."""

    transformer: Any

    @property
    def adapter_is_untrained(self) -> bool:
        """Whether all output projections of the adapter are zero, so that the memory has no effect."""
        return not any(bool(block.proj_out.weight.any()) for block in self.transformer.adapter.control_blocks)

    @property
    def conditioning(self) -> Conditioning:
        """What the adapter was trained with: the defaults of the session's and the memory's options. May be set."""
        result: Conditioning = self.transformer.conditioning
        return result

    @conditioning.setter
    def conditioning(self, value: Conditioning) -> None:
        self.transformer.conditioning = value

    def load_adapter_weights(self, path: str | Path, conditioning: Conditioning | None = None) -> None:
        """Load the memory adapter from a file; see :meth:`.MirageTransformer3DModel.load_adapter`.

        Args:
            path: the file.
            conditioning: what the adapter was trained with, for files of other trainers, which do not say so.
        """
        self.transformer.load_adapter(path, conditioning)

    def save_adapter_weights(self, path: str | Path) -> None:
        """Write the memory adapter to a file; see :meth:`.MirageTransformer3DModel.save_adapter`."""
        self.transformer.save_adapter(path)

    def load_lora_weights(
        self,
        path: Any,
        adapter_name: str | None = None,
        hotswap: bool = False,
        low_cpu_mem_usage: bool = True,
        **kwargs: Any,
    ) -> None:
        """Load LoRA weights into the backbone.

        Args:
            path: a file or a dict of tensors in one of the formats of
                :func:`~mirage.models.wan.lora_keys.convert_lora`; a folder with such a file; or a name on the Hub.
            adapter_name: name of this LoRA.
            hotswap, low_cpu_mem_usage: as for :meth:`diffusers.WanPipeline.load_lora_weights`.
            kwargs: ``weight_name`` and ``subfolder``, and where files on the Hub are.

        Raises:
            DataError: a file is missing or damaged, or does not fit the model.
            ValueError: the tensors of a dict do not fit the model.
        """
        if kwargs.pop("load_into_transformer_2", False):
            raise ValueError(
                "load_into_transformer_2: expected False, because Wan2.2-TI2V has one transformer, got True"
            )
        lora = self._read_lora(path, kwargs)
        self.load_lora_into_transformer(  # type: ignore[attr-defined]
            lora,
            transformer=self.transformer,
            adapter_name=adapter_name,
            metadata=lora_settings(lora),
            _pipeline=self,
            low_cpu_mem_usage=low_cpu_mem_usage,
            hotswap=hotswap,
        )

    def _read_lora(self, path: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        if isinstance(path, Mapping):
            return convert(self.transformer, path, None)
        if not is_on_hub(str(path)) or Path(path).suffix in (".safetensors", ".bin", ".pt", ".pth", ".ckpt"):
            file = Path(path, kwargs.get("subfolder") or "")
            return read_lora(
                self.transformer, find_lora_file(file, kwargs.get("weight_name")) if file.is_dir() else file
            )
        kwargs |= reach_hub(str(path), kwargs.get("weight_name") or LORA_WEIGHT_NAME_SAFE, kwargs)
        tensors, metadata = self.lora_state_dict(str(path), return_lora_metadata=True, **kwargs)  # type: ignore[attr-defined]
        try:
            return convert(self.transformer, tensors, metadata)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
