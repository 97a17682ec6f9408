# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Generate several videos from one image, distributed over the processes of torchrun, one GPU each:

    torchrun --nproc-per-node 2 examples/two_streams.py MODEL --image room.png --depth depth.png --intrinsics K.txt \
        --stream 0 "w*32" "a kitchen" --stream 1 "l*16 w*16" "a kitchen at night"

MODEL is a folder or a name on the Hub, as for MiragePipeline.from_pretrained. Each stream has its own seed, actions,
prompt and memory. The results do not depend on the number of processes.
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
    parser = argparse.ArgumentParser(description="Generate several videos from one image, distributed over processes.")
    parser.add_argument("model", help="folder of a saved MiragePipeline or of Wan2.2-TI2V-5B-Diffusers")
    parser.add_argument("--adapter", type=Path, help="weights of the memory adapter, if the folder has none")
    parser.add_argument("--lora", type=Path, help="LoRA weights")
    parser.add_argument("--image", type=Path, required=True, help="the image that the videos start from")
    parser.add_argument(
        "--depth", type=Path, required=True, help="its depth map: 16-bit PNG in millimeters, or .npy in meters"
    )
    parser.add_argument("--intrinsics", type=Path, required=True, help="text file: a 3x3 matrix or fx fy cx cy")
    parser.add_argument(
        "--stream",
        nargs=3,
        action="append",
        required=True,
        metavar=("SEED", "ACTIONS", "PROMPT"),
        help="a video to generate; may be repeated",
    )
    parser.add_argument("--steps", type=int, help="denoising steps")
    parser.add_argument("--raw", action="store_true", help="also write frames and latents as float32 (.safetensors)")
    parser.add_argument("--out", type=Path, default=Path("out/streams"), help="output folder (default: out/streams)")
    args = parser.parse_args()
    for seed, *_ in args.stream:
        if not seed.isdecimal():
            parser.error(f"--stream: expected a non-negative integer as SEED, got {seed!r}")
    args.stream = [(int(seed), actions, prompt) for seed, actions, prompt in args.stream]
    return args


def main() -> None:
    args = read_arguments()
    state = PartialState(cpu=not torch.cuda.is_available())  # without cpu=True it ignores torchrun's CPU processes
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
    with state.split_between_processes(list(enumerate(args.stream))) as streams:
        for number, (seed, actions, prompt) in streams:
            generator = torch.Generator().manual_seed(seed)
            output = pipe(
                image, prompt, camera, actions,
                depth=depth, num_inference_steps=args.steps, generator=generator, output_type="pt",
            )  # fmt: skip
            with VideoWriter(args.out / f"stream-{number}.mp4", fps=16) as video:
                for frame in output.frames[0]:
                    video.write(frame)
            output.memory.save(args.out / f"stream-{number}-memory.safetensors")
            if args.raw:
                tensors = {"frames": output.frames.contiguous().cpu(), "latents": output.latents.cpu()}
                save_file(tensors, args.out / f"stream-{number}.safetensors")
            print(f"process {state.process_index}: stream {number}, {output.frames.shape[1]} frames", flush=True)
    state.destroy_process_group()


if __name__ == "__main__":
    main()
