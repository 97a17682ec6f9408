# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How the videos of the embedded model look: contact sheets of ten images, and PSNR against recorded views.

The images are four of ``hololens_dev`` with recorded depth, three of scikit-image and two photographs of Spatia with
a plane that rises away from the camera as depth, and the motorcycle. For each: an orbit, a dolly and a pan.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as nnf
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras

from ..cameras import dolly, orbit, out_and_back, pan, straight
from ..data.scenes import Scene, motorcycle
from ..io.files import read_image
from ..io.images import contact_sheet, enlarge, write_image
from ..memory import LatentSpatialMemory
from ..models import embedded
from ..rollout import rollout
from . import _studies
from .metrics import psnr
from .recording import data_folder, every_fourth, read_hololens

FRAMES, RECORDED, CHUNK, SHOWN = 33, 5, 17, (0, 6, 14, 22, 32)
STARTS = (0, 13, 26, 39)  # of the evenly spaced frames of hololens_dev
METHOD = "follow a camera path from each image with the embedded model; compare with recorded views and the first image"


def on_a_plane(image: Tensor) -> Scene:
    """A field of view of 50 degrees, and a plane from 5 m at the top to 2 m at the bottom."""
    h, w = image.shape[1:]
    depth = 1 / torch.linspace(1 / 5, 1 / 2, h, dtype=torch.float32, device="cpu")[:, None].expand(h, w)
    k = torch.tensor([[1.07 * w, 0, w / 2], [0, 1.07 * w, h / 2], [0, 0, 1]], dtype=torch.float32, device="cpu")
    return Scene(image, depth.contiguous(), Cameras(k, torch.eye(4, dtype=torch.float32, device="cpu"), (h, w)), {})


def scenes() -> Iterator[tuple[str, Scene]]:
    """The ten images."""
    from skimage import data

    recorded = read_hololens()
    for start in STARTS:
        k = every_fourth(len(recorded.depth))[start]
        yield f"hololens_{k}", Scene(recorded.images[k], recorded.depth[k], recorded.cameras[k : k + 1], {})
    for name in ("astronaut", "coffee", "chelsea"):
        yield name, on_a_plane(torch.from_numpy(getattr(data, name)().copy()).movedim(2, 0).float() / 255)
    for name in ("case_1", "case_2"):
        yield f"spatia_{name}", on_a_plane(read_image(data_folder() / "spatia_trajectories" / name / "img.jpg"))
    yield "motorcycle", motorcycle()


def make_codec(scene: Scene, block: int | None) -> embedded.DctCodec:
    return embedded.DctCodec.for_size(scene.depth.shape) if block is None else embedded.DctCodec(block)


def walk(scene: Scene, cameras: Cameras, block: int | None) -> tuple[Tensor, Tensor]:
    """Generate a video: frames (F, 3, H, W), and the pixels (F, H, W) that the memory rendered from the image (between
    two latents, those of the first)."""
    codec = make_codec(scene, block)
    memory = LatentSpatialMemory(codec.channels, codec=codec.name)
    model = embedded.FillModel()
    chunks = list(rollout(scene.image, scene.depth, cameras, memory=memory, codec=codec, model=model, chunk=CHUNK))
    seen = torch.cat([chunk.view.stamp[-chunk.latents.shape[1] :] == 0 for chunk in chunks])
    latent = torch.arange(len(cameras), dtype=torch.int64, device="cpu") // codec.temporal_stride
    return torch.cat([c.frames for c in chunks], 1).movedim(1, 0), enlarge(seen[latent], codec.spatial_stride)


def sheet(scene: Scene, block: int | None) -> Tensor:
    """Frames of an orbit, a dolly and a pan, one row for each."""
    start, radius = scene.keys[:1], scene.depth[scene.depth > 0].median().item()
    paths = {
        "orbit": orbit(start, straight(FRAMES), 15, radius),
        "dolly": dolly(start, straight(FRAMES), 0.3 * radius),
        "pan": pan(start, straight(FRAMES), 20),
    }
    walks = {name: walk(scene, cameras, block) for name, cameras in paths.items()}
    labels = [[f"{name}, frame {n}, {known[n].float().mean():.0%} from the image" for n in SHOWN]
              for name, (_, known) in walks.items()]  # fmt: skip
    return contact_sheet([[frames[n] for n in SHOWN] for frames, _ in walks.values()], labels)


def compare(start: int, block: int | None) -> dict[str, float]:
    """PSNR of a video along recorded cameras, and of a pan out and back to its start."""
    recorded = read_hololens()
    index = every_fourth(len(recorded.depth))[start : start + RECORDED]
    scene = Scene(recorded.images[index[0]], recorded.depth[index[0]], recorded.cameras[index[:1]], {})
    scene = scene.trim(make_codec(scene, block).spatial_stride)
    (h, w), images = scene.depth.shape, recorded.images[index]
    frames, seen = walk(scene, recorded.cameras[index].crop(0, 0, (h, w)), block)
    pairs = [(psnr(a, b[:, :h, :w]), psnr(a, b[:, :h, :w], m))
             for a, b, m in zip(frames[1:], images[1:], seen[1:], strict=True)]  # fmt: skip
    whole, known = torch.tensor(pairs, dtype=torch.float32, device="cpu").nanmean(0).tolist()
    back, _ = walk(scene, pan(scene.keys, out_and_back(FRAMES), 20), block)
    with_depth = nnf.max_pool2d((scene.depth[None] > 0).float(), 16, 16, ceil_mode=True)[0] > 0
    loop = psnr(back[-1], scene.image), psnr(back[-1], scene.image, enlarge(with_depth, 16)[:h, :w])
    return {"start": index[0], "whole": whole, "known": known, "loop_whole": loop[0], "loop_with_depth": loop[1]}


def main() -> None:
    options = _studies.parser("look", __doc__)
    options.add_argument("--block", type=int, help="side of a latent cell (default: chosen by size)")
    args = options.parse_args()
    rows = [compare(start, args.block) for start in STARTS]
    for row in rows:
        print("  ".join(f"{name} {value:.2f}" for name, value in row.items()))
    _studies.write(args.out, "look", "hololens_dev", METHOD, rows=rows)
    for name, scene in tqdm(scenes(), total=10, unit="image"):
        write_image(
            args.out / f"{name}.png", sheet(scene.trim(make_codec(scene, args.block).spatial_stride), args.block)
        )


if __name__ == "__main__":
    main()
