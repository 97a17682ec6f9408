# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A diffusers pipeline that remembers: Wan2.2 with a latent spatial memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.utils import BaseOutput
from torch import Tensor

from mirage_kernels import Cameras

from ...cameras import CameraController
from ...depth import DepthEstimator
from ...filters import Filters
from ...memory import LatentSpatialMemory
from ...rollout import CHUNK, Chunk, RolloutSession, Source, plan_chunks
from .checkpoints import require_pipeline
from .codec import WanCodec
from .generator import WanGenerator
from .lora import read_lora
from .pipeline_inputs import check_prompts, plan_path, scale_start
from .presets import PRESETS, find_preset
from .transformer import MirageTransformer3DModel

# What of from_pretrained's settings goes for the transformer too. That is loaded first, because diffusers would make up
# tensors that its files lack.
_FOR_PARTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token", "variant")
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
        find_preset(preset)
        if isinstance(transformer, MirageTransformer3DModel):  # its own preset, if it is of one
            channels = transformer.config.control_channels
            preset = next((name for name, kind in PRESETS.items() if kind.control_channels == channels), preset)
        elif isinstance(transformer, WanTransformer3DModel):
            transformer = MirageTransformer3DModel.from_wan(transformer, preset)
        super().__init__(tokenizer, text_encoder, vae, scheduler, transformer, None, None, True)
        self.register_to_config(preset=preset)
        self._codec: WanCodec | None = None

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, preset: str | None = None, **kwargs: Any
    ) -> MiragePipeline:
        """Load Wan2.2-TI2V-5B in diffusers' layout, or what :meth:`save_pretrained` wrote.

        Args:
            pretrained_model_name_or_path: a folder, or a model's name on the Hub, as diffusers takes it.
            preset: of the adapter that Wan2.2's own transformer gets, ``"release"`` (default) or ``"paper"``.
            kwargs: as of :meth:`diffusers.DiffusionPipeline.from_pretrained`: ``dtype``, components, and the like.

        Raises:
            DataError: the folder holds no such pipeline (it says what to download), or not all of its weights.
        """
        path = str(pretrained_model_name_or_path)
        require_pipeline(path)
        if "transformer" not in kwargs:
            settings = {name: kwargs[name] for name in _FOR_PARTS if name in kwargs}
            dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
            if isinstance(dtype, dict):
                dtype = dtype.get("transformer", dtype.get("default"))
            kwargs["transformer"] = MirageTransformer3DModel.from_pretrained(
                path, preset=preset, subfolder="transformer", dtype=dtype, **settings
            )
        pipe: MiragePipeline = super().from_pretrained(path, **kwargs)
        return pipe

    @property
    def adapter_is_silent(self) -> bool:
        """Whether the adapter changes nothing, as before any training."""
        return not any(bool(block.proj_out.weight.any()) for block in self.transformer.adapter.control_blocks)

    def load_adapter_weights(self, path: str | Path) -> None:
        """Load the memory adapter from a file; see :meth:`.MirageTransformer3DModel.load_adapter`."""
        self.transformer.load_adapter(path)

    def save_adapter_weights(self, path: str | Path) -> None:
        """Write the memory adapter to one file."""
        self.transformer.save_adapter(path)

    def load_lora_weights(self, path: Any, adapter_name: str | None = None, **kwargs: Any) -> None:
        """Load LoRA from a file, of diffusers', peft's or the released names, none of which is skipped; or, as of
        :class:`diffusers.WanPipeline`, from a folder, the Hub or a dict."""
        if isinstance(path, (str, Path)) and Path(path).is_file():
            path = read_lora(self.transformer, path)
        super().load_lora_weights(path, adapter_name=adapter_name, **kwargs)

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
        """What denoises a chunk, for :class:`mirage.rollout.RolloutSession` and :func:`mirage.rollout.rollout`.

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
        check_prompts(self.transformer.config.text_dim, prompt, negative_prompt, prompt_embeds, negative_prompt_embeds)
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
    def start_session(
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
        estimator: DepthEstimator | None = None,
        filters: Filters | None = None,
        exclude: Tensor | None = None,
        **options: Any,
    ) -> RolloutSession:
        """Begin a walk that is steered while it goes; :meth:`mirage.rollout.RolloutSession.step` makes the next chunk.

        Args:
            image: a PIL picture, an array (H, W, 3) or a tensor (3, H, W), 0 to 1.
            prompt: what the video is of; :meth:`.RolloutSession.step` may change it. None with ``prompt_embeds``.
            camera: the image's, over its pixels.
            depth: (H, W) float32 of the image, in the unit of the poses; invalid where <= 0 or not finite. None where
                the memory knows the place.
            memory: is read and written; by default an empty one.
            height, width: what the image, its depth and the cameras are scaled to; by default, the image's own size.
            generator: source of randomness.
            boundary, references, decode, estimator, filters: see :class:`mirage.rollout.RolloutSession`.
            exclude: (H, W) bool of the image, True where nothing may be remembered.
            options: as of :meth:`make_generator`.

        Raises:
            ValueError: arguments that do not fit together, before any model runs.
        """
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(f"generator: expected one torch.Generator, got {type(generator).__name__}")
        model = self.make_generator(prompt, **options)
        step = self.codec.spatial_stride * self.transformer.config.patch_size[1]
        picture, depth, exclude, camera = scale_start(image, depth, exclude, camera, height, width, step)
        return RolloutSession(
            picture,
            depth,
            camera,
            memory=self.make_memory() if memory is None else memory,
            codec=self.codec,
            model=model,
            prompt=prompt or "",
            generator=generator,
            boundary=boundary,
            references=references,
            decode=decode,
            estimator=estimator,
            filters=filters,
            exclude=exclude,
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
            image, prompt, camera, options: as of :meth:`start_session` and :meth:`make_generator`.
            moves: where to go next: cameras of the next frames, or actions such as ``"w*16 l*24"`` (see
                :class:`mirage.cameras.CameraController`); multiples of 4 frames. Each is drawn from the iterable when
                all before it has been yielded, so that a player, or a policy, can look first.
            chunk: frames of a chunk at most, the one it shares with the chunk before included.
            step, turn: of actions: world units and degrees a frame.
        """
        plan_chunks(chunk, chunk, self.codec.temporal_stride)
        session = self.start_session(image, prompt, camera, **options)
        controller = CameraController(session.camera, step=step, turn=turn)
        for move in moves:
            cameras = controller.go(move) if isinstance(move, str) else move.rescale(session.camera.size)
            for first in range(0, max(len(cameras), 1), chunk - 1):
                yield session.step(cameras[first : first + chunk - 1])
            if not isinstance(move, str):
                controller = CameraController(session.camera, step=step, turn=turn)
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
                as of :meth:`start_session` and :meth:`make_generator`.
            cameras: of every frame, over the image's pixels, the image's own first; or, with ``trajectory``, that one.
            trajectory: actions to go by, such as ``"w*16 l*24"``; see :class:`mirage.cameras.CameraController`.
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
        path = plan_path(cameras, trajectory, num_frames, step, turn)
        plan_chunks(len(path), chunk, self.codec.temporal_stride)
        chunks = list(
            self.stream(
                image,
                prompt,
                path[:1],
                [path[1:]],
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


def _remember_last(encode: Callable[[str], tuple[Tensor, Tensor | None]]) -> Callable[[str], Any]:
    """The same function; asked for the same prompt again, it does not compute."""
    last: dict[str, Any] = {}

    def cached(words: str) -> Any:
        if words not in last:
            last.clear()
            last[words] = encode(words)
        return last[words]

    return cached
