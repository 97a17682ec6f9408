# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Two processes: two streams give the frames of one process, bit for bit; one stream can be shared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

from mirage.memory import LatentSpatialMemory
from mirage.models.wan.pipeline import MiragePipeline

ROOT = Path(__file__).resolve().parents[4]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
STREAMS = (("0", "w*8 l*8", "a room"), ("1", "j*20", "the kitchen"))


@pytest.fixture
def scene(tmp_path: Path) -> list[str]:
    """Arguments of the example: a saved model, and an image with depth."""
    parts = tiny.wan().components
    del parts["transformer_2"]
    pipe = MiragePipeline(**parts)
    torch.manual_seed(3)
    for block in pipe.transformer.modules():
        if hasattr(block, "proj_in"):  # an adapter that has an effect, as after training
            for projection in (block.proj_in, block.proj_out):
                if projection is not None:
                    torch.nn.init.normal_(projection.weight, std=0.2)
    pipe.save_pretrained(tmp_path / "model")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(tmp_path / "room.png")
    np.save(tmp_path / "depth.npy", np.full((64, 96), 3, np.float32))
    (tmp_path / "K.txt").write_text("90 90 48 32\n")
    arguments = [str(tmp_path / "model"), "--raw", "--steps", "2"]
    for option, name in (("image", "room.png"), ("depth", "depth.npy"), ("intrinsics", "K.txt")):
        arguments += [f"--{option}", str(tmp_path / name)]
    return arguments


def start(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python with one thread, because the number of threads may change bits."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "mirage", Path(__file__).parent)))
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=300, check=False)


def run(launcher: list[str], arguments: list[str], out: Path) -> list[str]:
    """Run the example and return the lines it printed."""
    options = [word for stream in STREAMS for word in ("--stream", *stream)]
    done = start([*launcher, str(ROOT / "examples" / "two_streams.py"), *arguments, *options, "--out", str(out)])
    assert done.returncode == 0, done.stderr[-3000:]
    return sorted(re.findall(r"process \d: stream \d, \d+ frames", done.stdout))  # lines of processes may run together


def test_two_processes_give_the_frames_of_one(scene: list[str], tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert run([], scene, alone) == ["process 0: stream 0, 17 frames", "process 0: stream 1, 21 frames"]
    assert run(TORCHRUN, scene, together) == ["process 0: stream 0, 17 frames", "process 1: stream 1, 21 frames"]
    for folder in (alone, together):
        names = {f"stream-{n}{end}" for n in (0, 1) for end in (".mp4", ".safetensors", "-memory.safetensors")}
        assert {path.name for path in folder.iterdir()} == names
    videos = []
    for number in (0, 1):
        video, expected = (load_file(folder / f"stream-{number}.safetensors") for folder in (together, alone))
        assert torch.equal(video["frames"], expected["frames"])
        assert torch.equal(video["latents"], expected["latents"])
        memory, other = (folder / f"stream-{number}-memory.safetensors" for folder in (together, alone))
        assert memory.read_bytes() == other.read_bytes()
        assert len(LatentSpatialMemory.load(memory)) > 0
        videos.append(video)
    first, second = (video["frames"] for video in videos)
    assert first.shape == (1, 17, 3, 64, 96)
    assert not torch.equal(first, second[:, :17])


SHARED = """
import sys
import torch
from diffusers import ContextParallelConfig
from mirage.io.files import read_depth, read_image
from mirage.models.wan.pipeline import MiragePipeline
from mirage_kernels import Cameras
from test_transformer import flow, inputs, tiny

folder = sys.argv[1]
torch.distributed.init_process_group("gloo")
torch.accelerator.device_count = lambda: 1  # diffusers divides by it, without an accelerator too
mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1, 2), mesh_dim_names=("ring", "ulysses"))

def share(model):
    model.set_attention_backend("native")
    model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2, mesh=mesh))

model = tiny()
for given in (inputs(), inputs() | {"control_hidden_states": None}):
    alone = flow(model, **given)
    share(model)
    torch.testing.assert_close(flow(model, **given), alone, rtol=1e-4, atol=1e-4)
    model = tiny()

pipe = MiragePipeline.from_pretrained(f"{folder}/model")
pipe.set_progress_bar_config(disable=True)
camera = Cameras(torch.tensor([[90.0, 0, 48], [0, 90, 32], [0, 0, 1]]), torch.eye(4), (64, 96))

def run_rollout():
    return pipe(
        read_image(f"{folder}/room.png"), "a room", camera, "w*8 l*24", depth=read_depth(f"{folder}/depth.npy"),
        chunk=17, num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="latent",
    ).latents

alone = run_rollout()
lengths = []
pipe.transformer.blocks[1].attn1.to_q.register_forward_hook(lambda _, given, out: lengths.append(out.shape[1]))
share(pipe.transformer)
torch.testing.assert_close(run_rollout(), alone, rtol=1e-4, atol=1e-4)
assert lengths[0] == 5 * 6 // 2, lengths  # half of the tokens of five latents
print(f"process {torch.distributed.get_rank()} agrees", flush=True)
torch.distributed.destroy_process_group()
"""


@pytest.mark.long
@pytest.mark.usefixtures("scene")
def test_two_processes_share_a_model_and_a_rollout(tmp_path: Path) -> None:
    """Context parallelism of the transformer, and of a rollout: chunks with and without references and preceding
    latents."""
    (tmp_path / "shared.py").write_text(SHARED)
    done = start([*TORCHRUN, str(tmp_path / "shared.py"), str(tmp_path)])
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(re.findall(r"process \d agrees", done.stdout)) == ["process 0 agrees", "process 1 agrees"]
