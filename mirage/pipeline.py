# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A diffusers pipeline that remembers: Wan2.2 with a latent spatial memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.utils import BaseOutput
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from .cameras import Walker
from .codecs.wan import WanCodec
from .generators.wan import WanGenerator
from .memory import LatentSpatialMemory
from .rollout import CHUNK, Chunk, Source, Walk, plan_chunks
from .transformer import PRESETS, MirageTransformer3DModel

CALLBACK_TENSORS = ("latents", "prompt_embeds", "negative_prompt_embeds")


@dataclass
class MiragePipelineOutput(BaseOutput):  # type: ignore[misc]
    """What a walk gave.

    Attributes:
        frames: one video, in the form that ``output_type`` asks for; None for ``"latent"``.
        latents: (1, C, T, h, w) float32.
        memory: what is remembered now.
        seconds: time spent on every chunk: reading, retrieving, generating, decoding and writing.
    """

    frames: Any
    latents: Tensor
    memory: LatentSpatialMemory
    seconds: list[dict[str, float]]


class MiragePipeline(WanPipeline):  # type: ignore[misc]
    """Generates video from a picture along a camera path, chunk by chunk, and remembers what it has shown.

    Loads what :class:`diffusers.WanPipeline` loads, Wan2.2-TI2V-5B, and its transformer then gets an adapter without
    training; or what :meth:`save_pretrained` wrote. LoRA, offloading, tiling and the rest are diffusers' own.

    Args:
        tokenizer, text_encoder, vae, scheduler: as of :class:`diffusers.WanPipeline`.
        transformer: with a memory adapter or without one.
        transformer_2, boundary_ratio, expand_timesteps: of other models of the family; Wan2.2-TI2V-5B has no second
            transformer and a timestep for every token.
        preset: of the adapter that a transformer without one gets, ``"release"`` or ``"paper"``.
    """

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        vae: Any,
        scheduler: Any,
        transformer: WanTransformer3DModel,
        transformer_2: WanTransformer3DModel | None = None,
        boundary_ratio: float | None = None,
        expand_timesteps: bool = True,
        preset: str = "release",
    ) -> None:
        if transformer_2 is not None or boundary_ratio is not None or not expand_timesteps:
            raise ValueError("transformer: expected Wan2.2-TI2V's, alone and with a timestep for every token")
        if preset not in PRESETS:
            raise ValueError(f"preset: expected one of {sorted(PRESETS)}, got {preset!r}")
        if isinstance(transformer, WanTransformer3DModel) and not isinstance(transformer, MirageTransformer3DModel):
            transformer = MirageTransformer3DModel.from_wan(transformer, preset)
        super().__init__(tokenizer, text_encoder, vae, scheduler, transformer, None, None, True)
        self.register_to_config(preset=preset)
        self._codec: WanCodec | None = None

    @property
    def codec(self) -> WanCodec:
        """The pipeline's autoencoder as a codec."""
        if self._codec is None or self._codec.vae is not self.vae:
            self._codec = WanCodec(self.vae)
        return self._codec

    def make_memory(self, **options: Any) -> LatentSpatialMemory:
        """An empty memory for this pipeline's latents, on its device; options as of :class:`LatentSpatialMemory`."""
        given = {"device": self._execution_device, "codec": self.codec.name} | options
        return LatentSpatialMemory(self.codec.channels, **given)

    def make_generator(
        self,
        prompt: str | None = None,
        *,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        control_scale: float = 1.0,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Iterable[str] = ("latents",),
        attention_kwargs: dict[str, Any] | None = None,
        max_sequence_length: int = 512,
    ) -> WanGenerator:
        """What denoises a chunk, for :class:`mirage.rollout.Walk` and :func:`mirage.rollout.rollout`.

        Args:
            prompt: is only checked here: the walk hands it on. None with ``prompt_embeds``.
            negative_prompt: for guidance.
            num_inference_steps: of denoising; by default the preset's.
            guidance_scale: of classifier-free guidance; none at 1.
            control_scale: of what the adapter hands on.
            prompt_embeds, negative_prompt_embeds: (1, words, text dim), instead of the prompts.
            callback_on_step_end: ``callback(pipeline, step, timestep, tensors)`` after every step of denoising; returns
                tensors to replace. Setting ``pipeline._interrupt`` ends denoising.
            callback_on_step_end_tensor_inputs: which tensors it gets: latents, prompt_embeds, negative_prompt_embeds.
            attention_kwargs: handed to the transformer; ``{"scale": s}`` scales LoRA.
            max_sequence_length: words of a prompt.
        """
        self._check_prompts(prompt, negative_prompt, prompt_embeds, negative_prompt_embeds)
        wanted = set(callback_on_step_end_tensor_inputs)
        if not wanted <= set(CALLBACK_TENSORS):
            expected = f"some of {', '.join(CALLBACK_TENSORS)}"
            raise ValueError(f"callback_on_step_end_tensor_inputs: expected {expected}, got {sorted(wanted)}")
        steps = PRESETS[self.config.preset].steps if num_inference_steps is None else num_inference_steps
        if steps < 1:
            raise ValueError(f"num_inference_steps: expected at least 1, got {steps}")

        def encode(words: str) -> tuple[Tensor, Tensor | None]:
            if prompt_embeds is not None:
                return prompt_embeds, negative_prompt_embeds
            positive, negative = self.encode_prompt(
                words, negative_prompt, guidance_scale > 1, max_sequence_length=max_sequence_length
            )
            return positive, negative

        def on_step_end(step: int, timestep: Tensor, made: dict[str, Any]) -> dict[str, Any] | None:
            replaced: dict[str, Any] = {}
            if callback_on_step_end is not None:
                replaced = callback_on_step_end(self, step, timestep, {name: made[name] for name in wanted})
            return None if self._interrupt else replaced

        self._interrupt = False
        return WanGenerator(
            self.transformer,
            self.scheduler,
            self.codec,
            _remember_last(encode),
            steps=steps,
            guidance_scale=guidance_scale,
            control_scale=control_scale,
            attention_kwargs=attention_kwargs,
            on_step_end=on_step_end,
            progress=self.progress_bar,
        )

    @torch.no_grad()
    def walk(
        self,
        image: Any,
        prompt: str | None,
        camera: Cameras,
        *,
        depth: Tensor | None = None,
        memory: LatentSpatialMemory | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | None = None,
        boundary: Source = "latent",
        references: Source = "latent",
        decode: bool = True,
        **options: Any,
    ) -> Walk:
        """Begin a walk that is steered while it goes; :meth:`mirage.rollout.Walk.step` makes the next chunk.

        Args:
            image: a PIL picture, an array (H, W, 3) or a tensor (3, H, W), 0 to 1.
            prompt: what the video is of; :meth:`~mirage.rollout.Walk.step` may change it. None with ``prompt_embeds``.
            camera: the image's, over its pixels.
            depth: (H, W) float32 of the image, in the unit of the poses; invalid where <= 0 or not finite. None where
                the memory knows the place.
            memory: is read and written; by default an empty one.
            height, width: what the image, its depth and the cameras are scaled to; by default, the image's own size.
            generator: source of randomness.
            boundary, references, decode: see :class:`mirage.rollout.Walk`.
            options: as of :meth:`make_generator`.

        Raises:
            ValueError: arguments that do not fit together, before any model runs.
        """
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(f"generator: expected one torch.Generator, got {type(generator).__name__}")
        maker = self.make_generator(prompt, **options)
        picture, depth, camera = self._scale_start(image, depth, camera, height, width)
        return Walk(
            picture,
            depth,
            camera,
            memory=self.make_memory() if memory is None else memory,
            codec=self.codec,
            generator=maker,
            prompt=prompt or "",
            rng=generator,
            boundary=boundary,
            references=references,
            decode=decode,
        )

    @torch.no_grad()
    def stream(
        self,
        image: Any,
        prompt: str | None,
        camera: Cameras,
        moves: Iterable[Cameras | str],
        *,
        chunk: int = CHUNK,
        step: float = 0.05,
        turn: float = 1.0,
        **options: Any,
    ) -> Iterator[Chunk]:
        """Yield each chunk as it is ready, asking for the next move only then.

        Args:
            image, prompt, camera, options: as of :meth:`walk` and :meth:`make_generator`.
            moves: where to go next: cameras of the next frames, or actions such as ``"w*16 l*24"`` (see
                :class:`mirage.cameras.Walker`); multiples of 4 frames. Each is drawn from the iterable when all before
                it has been yielded, so that a player, or a policy, can look first.
            chunk: frames of a chunk at most, the one it shares with the chunk before included.
            step, turn: of actions: world units and degrees a frame.
        """
        plan_chunks(chunk, chunk, self.codec.temporal_stride)
        walk = self.walk(image, prompt, camera, **options)
        walker = Walker(walk.camera, step=step, turn=turn)
        for move in moves:
            cameras = walker.go(move) if isinstance(move, str) else move.rescale(walk.camera.size)
            for first in range(0, max(len(cameras), 1), chunk - 1):
                yield walk.step(cameras[first : first + chunk - 1])
            if not isinstance(move, str):
                walker = Walker(walk.camera, step=step, turn=turn)
        self.maybe_free_model_hooks()

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        prompt: str | None = None,
        cameras: Cameras | None = None,
        trajectory: str | None = None,
        num_frames: int | None = None,
        depth: Tensor | None = None,
        memory: LatentSpatialMemory | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        *,
        chunk: int = CHUNK,
        step: float = 0.05,
        turn: float = 1.0,
        **options: Any,
    ) -> MiragePipelineOutput | tuple[Any, ...]:
        """Generate a video along a path.

        Args:
            image, prompt, depth, memory, num_inference_steps, guidance_scale, generator, callback_on_step_end, options:
                as of :meth:`walk` and :meth:`make_generator`.
            cameras: of every frame, over the image's pixels, the image's own first; or, with ``trajectory``, that one.
            trajectory: actions to go by, such as ``"w*16 l*24"``; see :class:`mirage.cameras.Walker`.
            num_frames: of the video, 4 N + 1; by default as many as there are cameras or actions for.
            output_type: ``"np"``, ``"pt"``, ``"pil"``, or ``"latent"``, which decodes nothing.
            return_dict: whether to return an object or its fields as a tuple.
            chunk: frames of a chunk, 4 N + 1.
            step, turn: of actions: world units and degrees a frame.

        Returns:
            :class:`MiragePipelineOutput`.
        """
        if output_type not in ("np", "pt", "pil", "latent"):
            raise ValueError(f"output_type: expected 'np', 'pt', 'pil' or 'latent', got {output_type!r}")
        path = _plan_path(cameras, trajectory, num_frames, step, turn)
        plan = plan_chunks(len(path), chunk, self.codec.temporal_stride)
        pieces = [path[1 + 4 * part.start : 1 + 4 * (part.stop - 1)] for part in plan]
        chunks = list(
            self.stream(
                image,
                prompt,
                path[:1],
                pieces,
                chunk=chunk,
                depth=depth,
                memory=memory if memory is not None else (memory := self.make_memory()),
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                generator=generator,
                callback_on_step_end=callback_on_step_end,
                decode=output_type != "latent",
                **options,
            )
        )
        latents = torch.cat([part.latents for part in chunks], 1)[None]
        frames = None
        if output_type != "latent":
            video = torch.cat([part.frames for part in chunks], 1)[None]
            frames = self.video_processor.postprocess_video(video * 2 - 1, output_type=output_type)
        output = MiragePipelineOutput(frames, latents, memory, [part.seconds for part in chunks])
        return output if return_dict else output.to_tuple()

    def _check_prompts(
        self, prompt: str | None, negative: str | None, embeds: Tensor | None, negative_embeds: Tensor | None
    ) -> None:
        for name, words in (("prompt", prompt), ("negative_prompt", negative)):
            if words is not None and not isinstance(words, str):
                raise TypeError(f"{name}: expected one text, got {type(words).__name__}")
        if (prompt is None) == (embeds is None):
            raise ValueError(f"prompt: expected it or prompt_embeds, got {'both' if prompt is not None else 'neither'}")
        if negative is not None and (negative_embeds is not None or embeds is not None):
            raise ValueError("negative_prompt: expected none with embeddings given, got one")
        dim = self.transformer.config.text_dim
        for name, tensor in (("prompt_embeds", embeds), ("negative_prompt_embeds", negative_embeds)):
            if tensor is not None and (tensor.dim() != 3 or tensor.shape[0] != 1 or tensor.shape[2] != dim):
                raise ValueError(f"{name}: expected (1, words, text dim={dim}), got {tuple(tensor.shape)}")

    def _scale_start(
        self, image: Any, depth: Tensor | None, camera: Cameras, height: int | None, width: int | None
    ) -> tuple[Tensor, Tensor | None, Cameras]:
        """The picture (3, H, W), 0 to 1, with depth and camera, at the size that is asked for."""
        own = _size_of(image)
        if camera.size != own:
            raise ValueError(f"cameras: expected the image's size (H={own[0]}, W={own[1]}), got {camera.size}")
        size = (own[0] if height is None else height, own[1] if width is None else width)
        step = self.codec.spatial_stride * self.transformer.config.patch_size[1]
        if any(side % step or side < step for side in size):
            raise ValueError(f"height, width: expected multiples of {step}, got {size[0]} and {size[1]}")
        picture = self.video_processor.preprocess(image, height=size[0], width=size[1])[0] / 2 + 0.5
        if depth is not None:
            if tuple(depth.shape) != own:
                raise ValueError(f"depth: expected the image's size (H={own[0]}, W={own[1]}), got {tuple(depth.shape)}")
            # depths are picked, never mixed: a mean of near and far is a surface that is not there
            depth = nnf.interpolate(depth[None, None].float(), size, mode="nearest-exact")[0, 0]
        return picture.float(), depth, camera.rescale(size)


def _size_of(image: Any) -> tuple[int, int]:
    """(H, W) of one picture: PIL's, an array (H, W, 3) or (1, H, W, 3), a tensor (3, H, W) or (1, 3, H, W)."""
    if isinstance(image, PIL.Image.Image):
        return image.height, image.width
    if isinstance(image, (np.ndarray, Tensor)):
        shape = image.shape[1:] if len(image.shape) == 4 and image.shape[0] == 1 else image.shape
        colours = shape[-1] if isinstance(image, np.ndarray) else shape[0]
        if len(shape) == 3 and colours == 3:
            return tuple(shape[:2]) if isinstance(image, np.ndarray) else tuple(shape[1:])
        raise ValueError(f"image: expected one, (H, W, 3) or a tensor (3, H, W), got {tuple(image.shape)}")
    raise TypeError(f"image: expected a PIL picture, an array or a tensor, got {type(image).__name__}")


def _remember_last(encode: Callable[[str], tuple[Tensor, Tensor | None]]) -> Callable[[str], Any]:
    """The same function; asked for the same prompt again, it does not compute."""
    last: dict[str, Any] = {}

    def cached(words: str) -> Any:
        if words not in last:
            last.clear()
            last[words] = encode(words)
        return last[words]

    return cached


def _plan_path(
    cameras: Cameras | None, trajectory: str | None, num_frames: int | None, step: float, turn: float
) -> Cameras:
    """Cameras of every frame."""
    if cameras is None:
        raise ValueError("cameras: expected those of every frame, or the image's with a trajectory, got none")
    if trajectory is not None:
        if len(cameras) != 1:
            raise ValueError(f"cameras: expected the image's alone with a trajectory, got {len(cameras)}")
        cameras = Cameras.cat([cameras, Walker(cameras, step=step, turn=turn).go(trajectory)])
    if num_frames is not None and num_frames > len(cameras):
        raise ValueError(f"num_frames: expected at most {len(cameras)}, as there are cameras for, got {num_frames}")
    return cameras[:num_frames]
