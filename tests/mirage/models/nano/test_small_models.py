# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Small models on the cosine codec, from the folder of a training run or from their own files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import small_training
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from mirage.cli.main import main
from mirage.errors import DataError
from mirage.io.images import write_image
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec
from mirage.models.nano.files import find_lora, is_small_model
from mirage.models.nano.model import SmallModel, load_small_model
from mirage.models.nano.packing import write_small_model
from mirage.rollout import RolloutSession
from mirage.training.build import build_shards
from mirage.training.run import train
from mirage_kernels import Cameras, save_tensors

LORA = Path("lora", "pytorch_lora_weights.safetensors")
SIZE = small_training.SIZE


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all three stages, whose model generates something, however little it was trained."""
    folder = tmp_path_factory.mktemp("small")
    clips = small_training.TableClips(4)
    build_shards([clips], folder / "data", DctCodec(16, 1), SIZE, small_training.SETTINGS)
    AcceleratorState._reset_state(reset_partial_state=True)
    recipe = small_training.recipe("stages=['base','adapter','lora']", "max_sequence_length=1", preset="nano")
    train(recipe, folder / "data", folder / "run")
    AcceleratorState._reset_state(reset_partial_state=True)
    return folder / "run"


def camera() -> Cameras:
    return Cameras(torch.tensor([[90.0, 0, 48], [0, 90, 32], [0, 0, 1]]), torch.eye(4), SIZE)


def walk(small: SmallModel, chunks: int = 2) -> Tensor:
    """Latents (C, T, h, w) along a path to the right."""
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    memory = LatentSpatialMemory(small.codec.channels, codec=small.codec.name, **small.conditioning.memory_options())
    session = RolloutSession(
        image, torch.full(SIZE, 4.0), camera(), memory=memory, codec=small.codec, model=small.chunk_model,
        **small.conditioning.session_options(),
    )  # fmt: skip
    poses = torch.eye(4).repeat(2 * chunks, 1, 1)
    poses[:, 0, 3] = 0.1 * torch.arange(1, 2 * chunks + 1)
    cameras = Cameras(camera().intrinsics.expand(2 * chunks, 3, 3), poses, SIZE)
    return torch.cat([session.step(cameras[2 * k : 2 * k + 2]).latents for k in range(chunks)], 1)


def test_a_run_generates(run: Path) -> None:
    assert is_small_model(run)
    small = load_small_model(run)
    conditioning = small.conditioning
    assert (conditioning.codec, conditioning.temporal_stride, conditioning.num_targets) == ("dct-16", 1, 3)
    assert small.codec.temporal_stride == 1
    assert small.chunk_model.steps == 2
    first = walk(small)
    assert first.shape == (48, 5, 4, 6)
    assert first.isfinite().all()
    torch.testing.assert_close(walk(load_small_model(run)), first)


def test_others_may_read_all_files(run: Path, tmp_path: Path) -> None:
    """safetensors makes files for their owner alone; those of a run have the permissions of the umask."""
    write_small_model(run, tmp_path / "small", {"night": run / LORA})
    found = [path for folder in (run, tmp_path / "small") for path in folder.rglob("*.safetensors")]
    assert {path.name for path in found} > {
        LORA.name,
        "diffusion_pytorch_model.safetensors",
        "adapter_model.safetensors",
    }
    (tmp_path / "new").touch()
    modes = {str(path): path.stat().st_mode for path in found}
    assert modes == dict.fromkeys(modes, (tmp_path / "new").stat().st_mode)


def test_memory_steps_and_lora_have_an_effect(run: Path) -> None:
    plain = walk(load_small_model(run, keep_known=False))
    for options in ({"control_scale": 0.0}, {"steps": 2}, {"lora": run / LORA, "lora_scale": 30.0}):
        assert not torch.allclose(walk(load_small_model(run, keep_known=False, **options)), plain), options
    torch.testing.assert_close(walk(load_small_model(run, lora=run / LORA, lora_scale=0.0)), plain)


def test_lora_may_change_what_is_known(run: Path) -> None:
    trained = load_small_model(run).conditioning
    assert trained.keep_known
    assert not load_small_model(run, lora=run / LORA).conditioning.keep_known
    assert load_small_model(run, lora=run / LORA, keep_known=True).conditioning.keep_known
    assert not load_small_model(run, keep_known=False).conditioning.keep_known


def test_half_of_the_size(run: Path, tmp_path: Path) -> None:
    sizes = write_small_model(run, tmp_path / "small", {"night": run / LORA})
    backbone = "transformer/diffusion_pytorch_model.safetensors"
    assert sorted(sizes) == ["adapter.safetensors", "night.safetensors", backbone]
    assert sizes["adapter.safetensors"] < 0.6 * (run / "adapter" / "adapter.safetensors").stat().st_size
    small = load_small_model(tmp_path / "small", lora="night")
    assert {p.dtype for p in small.transformer.parameters()} == {torch.float32}
    torch.testing.assert_close(walk(small), walk(load_small_model(run, lora=run / LORA)), atol=0.05, rtol=0.05)
    again = write_small_model(tmp_path / "small", tmp_path / "again", {})
    assert again["adapter.safetensors"] == sizes["adapter.safetensors"]


def test_white_latents_are_those_of_a_white_video() -> None:
    codec = DctCodec(8, 4)
    torch.testing.assert_close(codec.white_latents(3, 2, 4), codec.encode(torch.ones(1, 3, 9, 16, 32))[0])


def test_unsuitable_files(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"transformer/config.json and adapter.safetensors, or a run of mirage train"):
        load_small_model(tmp_path)
    assert not is_small_model(tmp_path)
    write_small_model(run, tmp_path / "small", {"night": run / LORA})
    with pytest.raises(DataError, match=r"lora: expected a file, or one of night in .*, got 'day'"):
        find_lora(tmp_path / "small", "day")
    with pytest.raises(DataError, match=r"none.safetensors: no such file"):
        write_small_model(run, tmp_path / "other", {"night": tmp_path / "none.safetensors"})
    assert not (tmp_path / "other").exists()
    config = tmp_path / "small" / "transformer" / "config.json"
    text = config.read_text()
    for damage, got in (("x", "an error: "), ("{}", "a config.json without _class_name")):
        config.write_text(damage)
        with pytest.raises(DataError, match=f"transformer: expected .*, got {got}") as raised:
            load_small_model(tmp_path / "small")
        assert "Wan2.2" not in str(raised.value), "advice is for this model"
    config.write_text(text)
    (tmp_path / "small" / "adapter.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"adapter.safetensors: expected an adapter"):
        load_small_model(tmp_path / "small")
    save_tensors(
        tmp_path / "small" / "adapter.safetensors", {"a": torch.ones(1)}, kind="adapter", version=1, settings={}
    )
    with pytest.raises(DataError, match="expected an adapter with its layers and control channels"):
        load_small_model(tmp_path / "small")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_image(path, torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(1)))
    return path


def generate(photo: Path, model: Path | str, out: Path, *more: str) -> int:
    return main(["generate", "--image", str(photo), "--model", str(model), "--out", str(out), "--frames=5",
                 "--overwrite", *more])  # fmt: skip


def test_command_line(run: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert generate(photo, run, out, "--lora", str(run / LORA), "--lora-scale=0.5", "--steps=2") == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["generator"], metrics["chunk"], metrics["steps"], metrics["size"]) == ("small", 3, 2, [96, 128])
    assert metrics["conditioning"]["codec"] == "dct-16"
    assert (out / "video.mp4").is_file()


def test_larger_photos_are_scaled_to_the_size_of_the_training(run: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "large.png", torch.rand(3, 450, 600, generator=torch.Generator().manual_seed(1)))
    assert generate(tmp_path / "large.png", run, tmp_path / "out", "--steps=1") == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["size"] == [288, 384]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "a room"], "--prompt: expected --model FOLDER with Wan2.2, got --model"),
        (["--block=8"], "--block: expected --model embedded, got --model"),
        (["--lora", "rain"], "--lora: expected a file, or one of none in"),
        (["--lora", "a", "--lora", "b"], "--lora: expected one file with a small model, got 2"),
        (["--adapter", "a"], "--adapter: expected --model FOLDER with Wan2.2, got --model"),
        (["--steps=0"], "--steps: expected at least 1, got 0"),
    ],
)
def test_wrong_options(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert generate(photo, run, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_of_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small"
    assert main(["export", str(run), "--out", str(out), "--lora", f"night={run / LORA}"]) == 0
    assert "night.safetensors" in capsys.readouterr().out
    assert load_small_model(out, lora="night").codec.name == "dct-16"
    assert main(["export", str(run), "--out", str(out)]) == 2
    assert "expected a new folder" in capsys.readouterr().err
    for lora in ("night", "adapter=a", "a/b=c", "night=none"):
        assert main(["export", str(run), "--out", str(tmp_path / "new"), "--lora", lora]) == 2
        assert not (tmp_path / "new").exists()
    shutil.rmtree(out)
