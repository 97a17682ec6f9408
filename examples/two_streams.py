# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Several walks through one picture, shared among the processes that torchrun starts, one GPU each:

    torchrun --nproc-per-node 2 examples/two_streams.py MODEL --image room.png --depth depth.png --intrinsics K.txt \
        --stream 0 "w*32" "a kitchen" --stream 1 "l*16 w*16" "a kitchen at night"

MODEL is a folder or a name that MiragePipeline.from_pretrained knows. Every stream has a seed, actions to go by and a
prompt, and a memory of its own; it comes out the same however many processes there are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import save_file

from mirage.cameras import read_intrinsics
from mirage.io.files import read_depth, read_image
from mirage.io.video import VideoWriter
from mirage.models.wan.pipeline import MiragePipeline
from mirage_kernels import Cameras


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Several walks through one picture, shared among processes.")
    parser.add_argument("model", help="folder of a MiragePipeline, or of Wan2.2-TI2V-5B-Diffusers")
    parser.add_argument("--adapter", type=Path, help="memory adapter, where the folder has none")
    parser.add_argument("--lora", type=Path, help="LoRA that goes with it")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--depth", type=Path, required=True, help="16-bit PNG in millimetres, or .npy in metres")
    parser.add_argument("--intrinsics", type=Path, required=True, help="text file: a 3x3 matrix or fx fy cx cy")
    parser.add_argument(
        "--stream", nargs=3, action="append", required=True, metavar=("SEED", "ACTIONS", "PROMPT"), help="once for each"
    )
    parser.add_argument("--steps", type=int, help="of denoising")
    parser.add_argument("--raw", action="store_true", help="write frames and latents too, as they are, in float32")
    parser.add_argument("--out", type=Path, default=Path("out/streams"))
    args = parser.parse_args()
    for seed, *_ in args.stream:
        if not seed.isdecimal():
            parser.error(f"--stream: expected a seed, actions and a prompt, got {seed!r} for the seed")
    args.stream = [(int(seed), actions, prompt) for seed, actions, prompt in args.stream]
    return args


def main() -> None:
    args = read_arguments()
    state = PartialState(cpu=not torch.cuda.is_available())  # not told so, it sees a single process there
    dtype = torch.bfloat16 if state.device.type == "cuda" else torch.float32
    pipe = MiragePipeline.from_pretrained(args.model, dtype=dtype).to(state.device)
    if args.adapter:
        pipe.load_adapter_weights(args.adapter)
    if args.lora:
        pipe.load_lora_weights(args.lora, adapter_name="memory")
    pipe.set_progress_bar_config(disable=not state.is_local_main_process)
    image, depth = read_image(args.image), read_depth(args.depth)
    size = (image.shape[1], image.shape[2])
    camera = Cameras(read_intrinsics(args.intrinsics, size), torch.eye(4), size)
    args.out.mkdir(parents=True, exist_ok=True)
    with state.split_between_processes(list(enumerate(args.stream))) as mine:
        for number, (seed, actions, prompt) in mine:
            rng = torch.Generator().manual_seed(seed)
            walk = pipe(
                image, prompt, camera, actions,
                depth=depth, num_inference_steps=args.steps, generator=rng, output_type="pt",
            )  # fmt: skip
            with VideoWriter(args.out / f"stream-{number}.mp4", fps=16) as video:
                for frame in walk.frames[0]:
                    video.write(frame)
            walk.memory.save(args.out / f"stream-{number}-memory.safetensors")
            if args.raw:
                tensors = {"frames": walk.frames.contiguous().cpu(), "latents": walk.latents.cpu()}
                save_file(tensors, args.out / f"stream-{number}.safetensors")
            print(f"process {state.process_index}: stream {number}, {walk.frames.shape[1]} frames", flush=True)
    state.destroy_process_group()


if __name__ == "__main__":
    main()
