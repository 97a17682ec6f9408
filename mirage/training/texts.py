# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of captions, computed once for a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import WanPipeline
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from ..errors import DataError, first_line

__all__ = ["load_text_encoder"]


def load_text_encoder(
    folder: Path, device: torch.device | str, dtype: torch.dtype, max_sequence_length: int
) -> Callable[[str], Tensor]:
    """Load the tokenizer and the text encoder of a pipeline.

    Args:
        folder: of the pipeline, in diffusers' layout.
        device: to run on.
        dtype: of the weights.
        max_sequence_length: largest number of tokens.

    Returns:
        A function from a caption to its embedding (words, dim) bfloat16, as :class:`diffusers.WanPipeline` computes it,
        without its padding.

    Raises:
        DataError: the folder has no text encoder, or it cannot be loaded.
    """
    for part in ("tokenizer", "text_encoder"):
        if not (folder / part).is_dir():
            raise DataError(f"--model: expected a folder with {part}/, got {folder}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=dtype).to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"--model {folder}: {first_line(error)}") from None
    pipe = WanPipeline(tokenizer=tokenizer, text_encoder=encoder, vae=None, scheduler=None)

    @torch.no_grad()
    def encode(caption: str) -> Tensor:
        embedding: Tensor = pipe.encode_prompt(
            caption, do_classifier_free_guidance=False, max_sequence_length=max_sequence_length, device=device
        )[0][0]
        words = embedding.any(1).nonzero().max().item() + 1 if embedding.any() else 0
        return embedding[: int(words)].to("cpu", torch.bfloat16)

    return encode
