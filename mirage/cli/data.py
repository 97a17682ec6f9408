# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage data build``: training shards from clips."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm  # type: ignore[import-untyped]

from ..errors import DataError, first_line
from ..models.embedded import DctCodec
from ..models.nano.files import named_folder
from .launchers import default_device
from .memory_options import load_depth_model
from .messages import note, warn
from .model_options import DTYPES, EMBEDDED
from .output_lock import OutputLock
from .recording_options import LoadedCodec, add_codec_options, check_codec_options, load_codec, parse_part
from .signals import raise_again

if TYPE_CHECKING:
    from ..training.build import BuildReport, EncodeText
    from ..training.samples import SampleSettings

_DESCRIPTION = """\
Make training samples of clips: latents, and what the memory shows to their cameras. They are written to OUT as
WebDataset shards (00000.tar and so on) with an index. The command can be stopped at any time and started again; shards
that are finished are skipped. A clip that cannot be read is left out, and OUT/report.json says why.
"""
_EXAMPLES = """\
examples:
  Fifty procedural scenes and a recording, with the built-in codec:
    mirage data build procedural:0-49 kitchen/ --out shards --height 256 --width 384

  The first of eight machines that share a folder, with Wan2.2's autoencoder and text encoder:
    mirage data build clips/*/ --out shards --height 704 --width 1280 --model WAN --text --part 1/8
"""
MAX_SIDE = 8192


def add_data(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
    data = commands.add_parser(
        "data",
        help="make training data",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kinds = data.add_subparsers(dest="data_command", required=True)
    build = kinds.add_parser(
        "build",
        help="make training shards of clips",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    build.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="procedural:FIRST-LAST for procedural scenes of these seeds, procedural:FIRST-LAST:night to train a look "
        "by night; photos:FIRST-LAST for a camera that moves in front of photographs; realestate10k:PATH for camera "
        "files, with --videos and --depth-model; or the folder or file of a recording: RGB-D images and poses, TUM, "
        "nerfstudio, COLMAP, geometry.npz, ViPE; with @FIRST-LAST for some of its frames",
    )
    build.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the shards (no default: required)")
    clips = build.add_argument_group("clips")
    for name, default in (("height", 256), ("width", 384)):
        clips.add_argument(
            f"--{name}", type=int, default=default, metavar="PIXELS", help=f"{name} of the frames (default: {default})"
        )
    clips.add_argument(
        "--frames",
        type=int,
        default=129,
        metavar="N",
        help="frames of a clip; longer recordings are cut (default: 129)",
    )
    clips.add_argument("--every", type=int, default=1, metavar="N", help="take one frame of N of recordings, so that "
                       "the camera moves more in a clip (default: 1)")  # fmt: skip
    clips.add_argument(
        "--captions", type=Path, metavar="FILE", help="JSON object with the caption of each SOURCE (default: empty)"
    )
    clips.add_argument("--videos", type=Path, metavar="FOLDER", help="videos of realestate10k: (default: none)")
    clips.add_argument("--depth-model", type=Path, metavar="FOLDER", help="depth network for realestate10k:, see "
                       "mirage generate --help (default: none)")  # fmt: skip
    _add_sample_options(build)
    add_codec_options(build)
    build.add_argument("--temporal-stride", type=int, metavar="N", help="frames from one latent to the next of the "
                       "embedded codec (default: 4, as Wan2.2's)")  # fmt: skip
    build.add_argument("--text", action="store_true", help="store embeddings of the captions, by the text encoder of "
                       "--model (default: none)")  # fmt: skip
    build.add_argument("--part", default="1/1", metavar="I/N", help="build every N-th shard, from the I-th on, beside "
                       "other processes (default: 1/1)")  # fmt: skip
    build.set_defaults(run=run)


def _add_sample_options(build: argparse.ArgumentParser) -> None:
    samples = build.add_argument_group("samples")
    for name, default, text in (
        ("targets", 9, "latents of a sample"),
        ("samples", 4, "samples of each clip"),
        ("max-before", 64, "largest number of earlier latents that the memory holds"),
        ("references", 4, "largest number of retrieved latents"),
        ("preceding", 2, "largest number of latents before the sample"),
        ("clips-per-shard", 16, "clips of a shard"),
        ("seed", 0, "of what is drawn"),
        ("max-words", 512, "largest number of tokens of a caption"),
    ):
        samples.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text} (default: {default})")
    samples.add_argument(
        "--extents",
        default="0,0.65",
        metavar="SCALES",
        help="half-sizes of the squares that the memory is rendered with, in footprints; one is drawn for each sample "
        "(default: 0,0.65)",
    )
    samples.add_argument(
        "--threshold", type=float, default=0.1, metavar="IOU", help="minimum overlap of references (default: 0.1)"
    )
    samples.add_argument(
        "--latent-dtype", choices=("float16", "bfloat16", "float32"), default="float16", help="(default: float16)"
    )


def run(args: argparse.Namespace) -> str:
    """Build the shards, and return a summary."""
    settings, part = _check(args)
    report = _build(args, settings, part)
    for name, reason in list(report.refused.items())[:5]:
        warn(f"{name} was refused: {reason}")
    if not report.samples and not report.missing:
        raise DataError(
            f"SOURCE: expected clips that samples can be made of, got none; {args.out}/report.json says why"
        )
    refused = f", {len(report.refused)} refused" if report.refused else ""
    left = f"{report.missing} shard{'s are' if report.missing > 1 else ' is'}"
    missing = f"; {left} left to other parts" if report.missing else ""
    known = f"; the memory shows {report.known:.0%} of their cells" if report.samples else ""
    return f"{args.out}: {report.samples} samples of {report.clips} clips{refused}{known}{missing}"


def _check(args: argparse.Namespace) -> tuple[SampleSettings, tuple[int, int]]:
    """Check the options, and return the settings and the part."""
    from ..training.samples import SampleSettings

    if args.model == EMBEDDED and args.block is None:
        args.block = 16
    check_codec_options(args)
    if args.temporal_stride is not None and args.model != EMBEDDED:
        raise DataError(f"--temporal-stride: expected --model embedded, got --model {args.model}")
    if args.temporal_stride is None:
        args.temporal_stride = 4
    if args.text and args.model == EMBEDDED:
        raise DataError("--text: expected --model FOLDER with a text encoder, got --model embedded")
    for name, least, most in (("height", 1, MAX_SIDE), ("width", 1, MAX_SIDE), ("frames", 1, 1 << 20),
                              ("every", 1, 1 << 20), ("clips_per_shard", 1, 1 << 20),
                              ("max_words", 1, 4096), ("temporal_stride", 1, 64)):  # fmt: skip
        if not least <= getattr(args, name) <= most:
            raise DataError(f"--{name.replace('_', '-')}: expected {least} to {most}, got {getattr(args, name)}")
    part, parts = parse_part("--part", args.part)
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"--out: expected a folder, got the file {args.out}")
    try:
        scales = tuple(float(word) for word in args.extents.split(","))
    except ValueError:
        raise DataError(f"--extents: expected numbers separated by commas, got {args.extents[:60]!r}") from None
    options = {"targets": args.targets, "per_clip": args.samples, "max_before": args.max_before,
               "num_references": args.references, "num_preceding": args.preceding,
               "reference_threshold": args.threshold, "extent_scales": scales, "dtype": args.latent_dtype,
               "seed": args.seed}  # fmt: skip
    try:
        return SampleSettings(**options), (part - 1, parts)
    except ValueError as error:
        name, _, reason = first_line(error).partition(": ")
        raise DataError(f"--{_OPTION.get(name, name.replace('_', '-'))}: {reason}") from None


_OPTION = {"per_clip": "samples", "num_references": "references", "num_preceding": "preceding",
           "reference_threshold": "threshold", "extent_scales": "extents"}  # fmt: skip


def _build(args: argparse.Namespace, settings: SampleSettings, part: tuple[int, int]) -> BuildReport:
    from ..training.build import build_shards
    from ..training.clips import SourceOptions, open_sources

    captions = _read_captions(args)
    size = (args.height, args.width)
    loaded = load_codec(args)
    if args.model == EMBEDDED:
        loaded = loaded._replace(codec=DctCodec(args.block, args.temporal_stride))
    estimator = None if args.depth_model is None else load_depth_model(args.depth_model, loaded.device)
    options = SourceOptions(args.frames, size, "", args.videos, estimator, args.every)
    if args.captions is not None and not args.text:
        note("captions are stored, but without --text no embeddings of them, and training runs without prompts")
    sources = [
        source
        for text in args.sources
        for source in open_sources(text, options._replace(caption=captions.get(text, "")))
    ]
    step = loaded.codec.spatial_stride * settings.patch
    for name in ("height", "width"):
        if getattr(args, name) % step:
            raise DataError(f"--{name}: expected a multiple of {step}, got {getattr(args, name)}")
    encode_text = _load_text_encoder(args) if args.text else None
    args.out.mkdir(parents=True, exist_ok=True)
    lock = OutputLock(args.out / f"part-{part[0] + 1}-of-{part[1]}")
    total = sum(len(source.names) for source in sources)
    note(f"{total} clips")
    try:
        with tqdm(total=-(-total // part[1]), unit="clip", desc="building") as bar:

            def on_clip(name: str) -> None:
                bar.set_postfix_str(name)
                bar.update()
                raise_again()

            return build_shards(
                sources, args.out, loaded.codec, size, settings, clips_per_shard=args.clips_per_shard, part=part,
                encode_text=encode_text, options=_describe(args, loaded, encode_text), device=loaded.device,
                on_clip=on_clip,
            )  # fmt: skip
    finally:
        lock.release()


def _describe(args: argparse.Namespace, loaded: LoadedCodec, encode_text: EncodeText | None) -> dict[str, Any]:
    """What samples depend on besides the clips and their settings."""
    from ..training.fingerprints import sample_tensor

    options = {"dtype": loaded.settings.get("dtype"), "depth_model": None, "text": None}
    if args.depth_model is not None:
        options["depth_model"] = str(named_folder(args.depth_model).resolve())
    if encode_text is not None:
        options["text"] = [args.max_words, hashlib.sha256(sample_tensor(encode_text("a test"))).hexdigest()[:16]]
    return options


def _read_captions(args: argparse.Namespace) -> dict[str, str]:
    from ..io.files import read_json

    if args.captions is None:
        return {}
    captions = read_json(args.captions, "captions")
    if not isinstance(captions, dict) or not all(isinstance(text, str) for text in captions.values()):
        raise DataError(f"{args.captions}: expected an object of captions, got {json.dumps(captions)[:60]}")
    unknown = next((name for name in captions if name not in args.sources), None)
    if unknown is not None:
        expected = f"a SOURCE as it is given ({', '.join(args.sources)[:200]})"
        raise DataError(f"{args.captions}: expected {expected}, got {unknown[:60]!r}")
    return captions


def _load_text_encoder(args: argparse.Namespace) -> EncodeText:

    from ..training.texts import load_text_encoder

    device = args.device or default_device()
    dtype = DTYPES[args.dtype or ("float32" if device == "cpu" else "bfloat16")]
    return load_text_encoder(Path(args.model), device, dtype, args.max_words)
