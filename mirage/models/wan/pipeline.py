# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The diffusers pipeline for Wan2.2 with a latent spatial memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import diffusers.pipelines.wan
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from torch import Tensor

from mirage_kernels import Cameras

from ...cameras import CameraController
from ...depth import DepthEstimator
from ...filters import Filters
from ...memory import LatentSpatialMemory
from ...rollout import CHUNK, Chunk, RolloutSession, Source, plan_chunks
from .checkpoints import is_on_hub, reach_hub, require_pipeline
from .codec import WanCodec
from .generator import DenoisingInterruptedError, WanChunkModel
from .loading import WeightLoaderMixin, transformer_options
from .pipeline_inputs import prepare_cameras, prepare_generator, prepare_image
from .pipeline_output import FrameCollector, MiragePipelineOutput, OutputType
from .presets import PRESETS, PresetName, find_preset, match_preset
from .prompts import CALLBACK_TENSORS, check_prompts, make_callback, make_encoder, one_of_list
from .timesteps import check_timesteps, shifted_scheduler
from .transformer import MirageTransformer3DModel

__all__ = ["CALLBACK_TENSORS", "MiragePipeline"]


class MiragePipeline(WeightLoaderMixin, WanPipeline):  # type: ignore[misc]
    """Generates a video from an image along a camera path, chunk by chunk, with a latent spatial memory.

    Load it with :meth:`from_pretrained`. LoRA, offloading, tiling and so on work as in :class:`diffusers.WanPipeline`.

    Args:
        tokenizer, text_encoder, vae, scheduler: as in :class:`diffusers.WanPipeline`.
        transformer: of Wan2.2-TI2V-5B. If it has no memory adapter, it gets a new, untrained one.
        transformer_2, boundary_ratio, expand_timesteps: must have their defaults; other models of the Wan family use
            them.
        preset: architecture of a new adapter, ``"release"`` or ``"paper"``.

    Raises:
        ValueError: the components are those of another model, or the preset is unknown.
    """

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        vae: AutoencoderKLWan,
        scheduler: Any,
        transformer: MirageTransformer3DModel | WanTransformer3DModel,
        transformer_2: WanTransformer3DModel | None = None,
        boundary_ratio: float | None = None,
        expand_timesteps: bool = True,
        preset: PresetName = "release",
    ) -> None:
        if transformer_2 is not None or boundary_ratio is not None or not expand_timesteps:
            got = f"transformer_2={type(transformer_2).__name__}, {boundary_ratio=}, {expand_timesteps=}"
            raise ValueError(f"transformer: expected Wan2.2-TI2V (one transformer, expand_timesteps=True), got {got}")
        find_preset(preset)
        if isinstance(transformer, MirageTransformer3DModel):  # use the preset of its adapter
            config = transformer.config
            preset = match_preset(config.num_layers, config.adapter_layers, config.control_channels) or preset
        elif isinstance(transformer, WanTransformer3DModel):
            transformer = MirageTransformer3DModel.from_wan(transformer, preset)
        super().__init__(tokenizer, text_encoder, vae, scheduler, transformer, None, None, True)
        self.register_to_config(preset=preset)
        self._codec: WanCodec | None = None

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, preset: PresetName | None = None, **kwargs: Any
    ) -> MiragePipeline:
        """Load a pipeline saved by :meth:`save_pretrained`, or Wan2.2-TI2V-5B in diffusers' layout, whose transformer
        gets a new, untrained adapter.

        Args:
            pretrained_model_name_or_path: a folder, or a model's name on the Hub, as in diffusers.
            preset: architecture of a new adapter, ``"release"`` (default) or ``"paper"``.
            kwargs: passed to :meth:`diffusers.DiffusionPipeline.from_pretrained`: ``dtype``, components and so on.

        Raises:
            DataError: the folder has no pipeline (the message says what to download), or its weights are incomplete.
        """
        path = str(pretrained_model_name_or_path)
        require_pipeline(path)
        if is_on_hub(path):
            kwargs |= reach_hub(path, "model_index.json", kwargs)
        if "transformer" not in kwargs:
            # Loaded separately, because diffusers would initialize tensors that are missing in its files.
            kwargs["transformer"] = MirageTransformer3DModel.from_pretrained(
                path, preset=preset, subfolder="transformer", **transformer_options(kwargs)
            )
        pipe: MiragePipeline = super().from_pretrained(path, **kwargs)
        return pipe

    @property
    def codec(self) -> WanCodec:
        """The codec of the pipeline's autoencoder."""
        if self._codec is None or self._codec.vae is not self.vae:
            self._codec = WanCodec(self.vae)
        return self._codec

    def make_memory(self, **options: Any) -> LatentSpatialMemory:
        """Make an empty memory for this pipeline's latents, on its device.

        Args:
            options: passed to :class:`.LatentSpatialMemory`, in addition to those of :attr:`conditioning`.
        """
        arguments = {"device": self._execution_device, "codec": self.codec.name}
        arguments |= self.conditioning.memory_options() | options
        return LatentSpatialMemory(self.codec.channels, **arguments)

    def make_chunk_model(
        self,
        prompt: str | None = None,
        *,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        flow_shift: float | None = None,
        guidance_scale: float = 1.0,
        control_scale: float = 1.0,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Iterable[str] = ("latents",),
        attention_kwargs: dict[str, Any] | None = None,
        max_sequence_length: int | None = None,
    ) -> WanChunkModel:
        """Make the chunk model for :class:`mirage.rollout.RolloutSession` and :func:`mirage.rollout.rollout`.

        Args:
            prompt: only checked here; pass it to the rollout too. None with ``prompt_embeds``.
            negative_prompt: for classifier-free guidance.
            num_inference_steps: number of denoising steps; by default the preset's.
            timesteps, sigmas: of the denoising steps, instead of their number; the scheduler shifts the sigmas.
            flow_shift: replaces the shift of :attr:`conditioning`, or else of the scheduler's configuration.
            guidance_scale: of classifier-free guidance; 1 turns it off.
            control_scale: multiplies the adapter's hints; 0 turns the memory off.
            prompt_embeds, negative_prompt_embeds: (1, tokens, text dim), instead of the prompts. The rollout's empty
                prompt stands for ``prompt_embeds``.
            callback_on_step_end: ``callback(pipeline, step, timestep, tensors)``, called after every denoising step;
                returns a dict of tensors to replace. Setting ``pipeline._interrupt`` stops denoising.
            callback_on_step_end_tensor_inputs: the tensors to pass: latents, prompt_embeds, negative_prompt_embeds.
            attention_kwargs: passed to the transformer; ``{"scale": s}`` sets the scale of LoRA.
            max_sequence_length: tokens that a prompt is padded or cut to; by default those of :attr:`conditioning`.

        Raises:
            TypeError: a prompt is not a string.
            ValueError: prompts and embeddings contradict each other, or an argument is out of range.
        """
        prompt, negative_prompt = one_of_list("prompt", prompt), one_of_list("negative_prompt", negative_prompt)
        check_prompts(self, prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, guidance_scale)
        steps = PRESETS[self.config.preset].steps if num_inference_steps is None else num_inference_steps
        if steps < 1:
            raise ValueError(f"num_inference_steps: expected at least 1, got {steps}")
        check_timesteps(self.scheduler, timesteps, sigmas)
        callback = make_callback(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
        encode = make_encoder(
            self,
            negative_prompt=negative_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            guidance_scale=guidance_scale,
            max_sequence_length=max_sequence_length or self.conditioning.max_sequence_length,
        )
        shift = self.conditioning.flow_shift if flow_shift is None else flow_shift
        scheduler = shifted_scheduler(self.scheduler, shift)
        self._interrupt, self._guidance_scale, self._attention_kwargs = False, guidance_scale, attention_kwargs
        self._current_timestep = None
        return WanChunkModel(
            self.transformer,
            scheduler,
            self.codec,
            encode,
            steps=steps,
            timesteps=timesteps,
            sigmas=sigmas,
            guidance_scale=guidance_scale,
            control_scale=control_scale,
            attention_kwargs=attention_kwargs,
            on_step_end=callback,
            progress=self.progress_bar,
            state=self,
        )

    @torch.no_grad()
    def start_session(
        self,
        image: Any,
        prompt: str | None,
        camera: Cameras,
        *,
        depth: Any = None,
        memory: LatentSpatialMemory | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | None = None,
        num_videos_per_prompt: int = 1,
        boundary: Source | None = None,
        references: Source | None = None,
        num_references: int | None = None,
        num_preceding: int | None = None,
        reference_threshold: float | None = None,
        decode: bool = True,
        estimator: DepthEstimator | None = None,
        filters: Filters | None = None,
        exclude: Any = None,
        synchronize: bool = True,
        **options: Any,
    ) -> RolloutSession:
        """Start a session that generates one chunk at a time; see :meth:`mirage.rollout.RolloutSession.step`.

        A step that is stopped by ``pipeline._interrupt`` raises :class:`.DenoisingInterruptedError` and changes
        nothing. Call ``maybe_free_model_hooks()`` after the last step if models are offloaded.

        Args:
            image: a PIL image, an array (H, W, 3) or a tensor (3, H, W), uint8 or float from 0 to 1.
            prompt: description of the video; :meth:`.RolloutSession.step` can change it. None with ``prompt_embeds``.
            camera: the image's camera, over its pixels.
            depth: z-depth of the image, in the unit of the poses; invalid where not finite or not positive. A tensor or
                an array (H, W), or a PIL image of mode F, I or I;16, whose values are not scaled. None if the memory
                already covers the image's view, or with an ``estimator``.
            memory: the memory to read and write; by default a new, empty one.
            height, width: size of the frames that image, depth, mask and camera are scaled to; by default the image's.
            generator: random generator for the noise; by default a new one, seeded from PyTorch's default generator.
            num_videos_per_prompt: must be 1. A list of one prompt, image or generator is accepted.
            boundary, references, num_references, num_preceding, reference_threshold: see :class:`.RolloutSession`; by
                default those of :attr:`conditioning`.
            decode, estimator, filters, synchronize: see :class:`mirage.rollout.RolloutSession`.
            exclude: mask of pixels that are not written: a bool tensor or array (H, W), or a PIL image of mode 1 or L.
            options: passed to :meth:`make_chunk_model`.

        Raises:
            TypeError: an argument is of a wrong type.
            ValueError: arguments are out of range or contradict each other; raised before any model runs.
        """
        if num_videos_per_prompt != 1:
            expected = "1, because a call generates one video"
            raise ValueError(f"num_videos_per_prompt: expected {expected}, got {num_videos_per_prompt}")
        generator, prompt = prepare_generator(generator), one_of_list("prompt", prompt)
        chunk_model = self.make_chunk_model(prompt, **options)
        step = self.codec.spatial_stride * self.transformer.config.patch_size[1]
        pixels, depth, exclude, camera = prepare_image(image, depth, exclude, camera, height, width, step)
        conditions = self.conditioning.session_options(
            boundary=boundary, references=references, num_references=num_references, num_preceding=num_preceding,
            reference_threshold=reference_threshold,
        )  # fmt: skip
        return RolloutSession(
            pixels,
            depth,
            camera,
            memory=self.make_memory() if memory is None else memory,
            codec=self.codec,
            model=chunk_model,
            prompt=prompt or "",
            generator=generator,
            decode=decode,
            estimator=estimator,
            filters=filters,
            exclude=exclude,
            synchronize=synchronize,
            **conditions,
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
        """Generate chunks along a path that is not known in advance.

        The next move is taken from ``moves`` only after all chunks before it were yielded, so a user or a policy can
        choose it from the frames so far. ``pipeline._interrupt = True`` ends the stream; a chunk that is not denoised
        yet is neither yielded nor written to the memory.

        Args:
            image, prompt, camera, options: as for :meth:`start_session` and :meth:`make_chunk_model`.
            moves: the cameras of the next frames, or actions such as ``"w*16 l*24"`` (see
                :class:`mirage.cameras.CameraController`). The number of frames of each is a multiple of 4.
            chunk: largest number of frames of a chunk, 4 N + 1, including the frame shared with the previous chunk.
            step: world units that an action moves per frame.
            turn: degrees that an action turns per frame.

        Yields:
            The chunks.
        """
        plan_chunks(chunk, chunk, self.codec.temporal_stride)
        try:
            session = self.start_session(image, prompt, camera, **options)
            controller = CameraController(session.camera, step=step, turn=turn)
            for move in moves:
                cameras = controller.go(move) if isinstance(move, str) else move.rescale(session.camera.size)
                for first in range(0, max(len(cameras), 1), chunk - 1):
                    yield session.step(cameras[first : first + chunk - 1])
                if not isinstance(move, str):
                    controller = CameraController(session.camera, step=step, turn=turn)
        except DenoisingInterruptedError:
            return
        finally:  # also if the caller takes no more chunks
            self.maybe_free_model_hooks()

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        prompt: str | None = None,
        cameras: Cameras | None = None,
        trajectory: str | None = None,
        num_frames: int | None = None,
        depth: Any = None,
        memory: LatentSpatialMemory | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        output_type: OutputType = "np",
        return_dict: bool = True,
        *,
        chunk: int = CHUNK,
        step: float = 0.05,
        turn: float = 1.0,
        **options: Any,
    ) -> MiragePipelineOutput | tuple[Any, ...]:
        """Generate a video along a camera path.

        Args:
            image, prompt, depth, memory, num_inference_steps, guidance_scale, generator, callback_on_step_end, options:
                as for :meth:`start_session` and :meth:`make_chunk_model`.
            cameras: one camera per frame, over the image's pixels; the first is the image's camera. With
                ``trajectory``, pass the image's camera only.
            trajectory: actions such as ``"w*16 l*24"``; see :class:`mirage.cameras.CameraController`.
            num_frames: number of frames, 4 N + 1; by default one per camera.
            output_type: ``"np"``, ``"pt"``, ``"pil"``, or ``"latent"`` to skip decoding. Frames are moved to the CPU
                chunk by chunk.
            return_dict: whether to return a :class:`MiragePipelineOutput` or a tuple of its fields.
            chunk: largest number of frames of a chunk, 4 N + 1, including the frame shared with the previous chunk.
            step: world units that an action moves per frame.
            turn: degrees that an action turns per frame.

        Returns:
            The video, its latents, the memory, and for each chunk the seconds of each stage. After an interrupt, these
            are the chunks that were finished; without any, the frames are None.

        Raises:
            TypeError: an argument is of a wrong type.
            ValueError: arguments are out of range or contradict each other.
        """
        if output_type not in get_args(OutputType):
            raise ValueError(f"output_type: expected 'np', 'pt', 'pil' or 'latent', got {output_type!r}")
        path = prepare_cameras(cameras, trajectory, num_frames, step, turn)
        plan_chunks(len(path), chunk, self.codec.temporal_stride)
        memory = self.make_memory() if memory is None else memory
        frames, latents, seconds = FrameCollector(self.video_processor, output_type), [], []
        for part in self.stream(
            image,
            prompt,
            path[:1],
            [path[1:]],
            chunk=chunk,
            depth=depth,
            memory=memory,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=generator,
            callback_on_step_end=callback_on_step_end,
            decode=output_type != "latent",
            **options,
        ):
            frames.add(part.frames)
            latents.append(part.latents)
            seconds.append(part.seconds)
            del part  # and with it its frames, before the next chunk is generated
        nothing = torch.zeros(self.codec.channels, 0, 0, 0, dtype=torch.float32, device="cpu")
        video = torch.cat(latents or [nothing], 1)[None]
        output = MiragePipelineOutput(frames.video(), video, memory, seconds)
        return output if return_dict else output.to_tuple()


# DiffusionPipeline.from_pretrained looks the classes of a saved pipeline up in diffusers.
diffusers.MiragePipeline = MiragePipeline
diffusers.pipelines.wan.MirageTransformer3DModel = MirageTransformer3DModel
