# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernels cost on a GPU, and whether they are right there, in parts that can be run alone:

measure     what every backend takes, checked against the CPU first (4 minutes at most)
test        the self-test, and every test of the kernels (5 minutes at most)
sanitize    compute-sanitizer's four tools over the CUDA kernels (4 minutes at most)
wan         a chunk of the full-size model, where diffusers is installed (4 minutes at most)

Parts add to the same results.json and results.md, which are written after every row and check; logs lie beside them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.gpu import checks, report
from benchmarks.gpu.measure import Settings, measure
from benchmarks.gpu.rows import SIZES

MEASURE_SECONDS = 240
BACKENDS = {"cuda": ("cuda", "triton", "reference"), "cpu": ("cpp", "reference")}
CHECKS = {"test": checks.run_tests, "sanitize": checks.run_sanitizers, "wan": checks.run_wan}
PARTS = ("measure", *CHECKS)


def run_measure(args: argparse.Namespace, results: report.Results) -> checks.States:
    """``ok``, or what is missing; rows are added to the results one by one."""
    deadline, missing = time.monotonic() + MEASURE_SECONDS, 0
    absent: list[str] = []  # backends
    results.add({"checks": {"measure": "not finished"}})
    log = checks.emptied(args.out / "measure.log")
    for backend in ("torch", *args.backends):
        results.forget(backend)
        for name, found in measure(Settings(backend, args.device, args.sizes, log), deadline):
            if isinstance(found, str):
                missing += bool(name)
                absent += [] if name else [backend]
                reason = f"{backend}{', ' * bool(name)}{name}: {found}"
                print("not measured:", reason, flush=True)
                results.add({"not measured": [reason]})
            else:
                results.add(found)
                for row in found["rows"]:
                    print(f"{row['what']}, {backend}: {row['seconds'] * 1e6:.1f} us", flush=True)
    lacking = [f"{missing} rows"] * bool(missing) + absent
    failed = missing or args.asked.intersection(absent) or "cuda" in absent
    told = f" ({', '.join(lacking)} not measured)" if lacking else ""
    yield "measure", ("FAILED" if failed else "ok") + told


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all of them)")
    parser.add_argument("--out", type=Path, default=checks.ROOT / "out" / "gpu", help="folder for results and logs")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try this out")
    parser.add_argument("--backends", nargs="+", metavar="NAME", help="to measure (default: all of the device)")
    parser.add_argument("--sizes", choices=list(SIZES), help="to measure (default: small on a CPU, else full)")
    args = parser.parse_args()
    for name, got, known in (("PART", args.parts, PARTS), ("--backends", args.backends or (), BACKENDS[args.device])):
        for word in got:
            if word not in known:
                parser.error(f"{name}: expected {', '.join(known)}, got {word!r}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "torch finds no GPU here; look at its driver (nvidia-smi) and at CUDA_VISIBLE_DEVICES, or try this out "
            "with --device cpu"
        )
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=args.out).close()
    except OSError as error:
        parser.error(f"--out: expected a folder that can be written to, got {args.out} ({error.strerror})")
    args.asked = set(args.backends or ())
    args.parts = [part for part in PARTS if part in (args.parts or PARTS)]
    args.backends = args.backends or BACKENDS[args.device]
    args.sizes = args.sizes or ("full" if args.device == "cuda" else "small")
    return args


def main() -> int:
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs in a session of its own ends too
    results = report.Results(args.out, args.device)
    sound = True
    for part in args.parts:
        for name, state in CHECKS[part](args.out, args.device) if part in CHECKS else run_measure(args, results):
            print(f"{name}: {state}", flush=True)
            results.add({"checks": {name: state}})
            sound = sound and state.startswith(("ok", "not run"))
    print(report.table(results.content))
    return 0 if sound else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; what was measured is in results.json")
