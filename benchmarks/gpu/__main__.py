# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Performance and correctness of the kernels on a GPU, in parts that can be run separately:

measure     the time of every backend, each result checked against the CPU first (at most 4 minutes)
test        the self-test, and all tests of the kernels (at most 5 minutes)
sanitize    the four tools of compute-sanitizer on the CUDA kernels (at most 4 minutes)
wan         a chunk of the full-size model, where diffusers is installed (at most 4 minutes)

All parts write to the same results.json and results.md after every row and check; their logs are in the same folder.
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
    """Measure all backends and add every row to the results at once; the state is ``ok``, or what is missing."""
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
    unmeasured = [f"{missing} rows"] * bool(missing) + absent
    failed = missing or args.asked.intersection(absent) or "cuda" in absent
    details = f" ({', '.join(unmeasured)} not measured)" if unmeasured else ""
    yield "measure", ("FAILED" if failed else "ok") + details


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all of them)")
    parser.add_argument("--out", type=Path, default=checks.ROOT / "out" / "gpu", help="folder for results and logs")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try the program")
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that child processes are killed too
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
