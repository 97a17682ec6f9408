# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the native kernels under sanitizers: ``python .ci/sanitize [address] [thread]``.

``address`` is AddressSanitizer with UndefinedBehaviorSanitizer, ``thread`` ThreadSanitizer. Each is built from a copy
of the sources in build/sanitize, together with faults on purpose (planted.cpp), each of which it has to report. Then
come the tests with few random examples (MIRAGE_EXAMPLES sets another number), and with ``address`` calls with wrong
arguments (MIRAGE_HOSTILE_CALLS sets their number).

The last line of each sanitizer is its verdict. Reports are kept in build/sanitize/<name>/reports.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from xml.etree import ElementTree

from builds import Build

# Tests of native code. Left out is what compiles programs or starts processes, and takes minutes here.
TESTS = {
    "address": [
        *("splat", "splat_bilinear", "splat_layers", "splat_composite", "splat_sum", "frontmost", "unproject"),
        *("overlap", "cameras", "ordered_sums", "threads", "library", "project", "flow", "associate"),
        *("quantize", "blend", "splat_surface"),
        *("voxel_cache", "voxel_cache_budget", "voxel_cache_errors", "voxel_cache_files", "voxel_cache_library"),
        *("voxel_cache_values", "voxel_cache_atomic", "errors"),
    ],
    "thread": [
        *("threads", "splat", "splat_bilinear", "splat_layers", "splat_composite", "splat_sum", "frontmost"),
        *("unproject", "overlap", "associate", "voxel_cache", "voxel_cache_atomic", "quantize", "blend"),
    ],
}
SELECTED = {
    "address": "not compile and not fork and not 5000_chunks",  # whose resident memory grows: ASan keeps what is freed
    "thread": "thread or every or equal or same or one_version",
}
EXAMPLES = {"address": "20", "thread": "10"}
HOSTILE_CALLS = 4000
RUN_PLANTED = """
import ctypes, sys, torch, mirage_kernels
torch.set_num_threads(2)
name, kind, value = sys.argv[1:]
getattr(ctypes.CDLL(mirage_kernels._C.__file__), name)(getattr(ctypes, kind)(eval(value)))
"""
# What each sanitizer has to say of the faults on purpose.
PLANTED = {
    "address": {
        ("planted_heap_overflow", "c_int", "8"): "heap-buffer-overflow",
        ("planted_signed_overflow", "c_int", "2**31 - 1"): "signed integer overflow",
        ("planted_float_cast", "c_float", "1e20"): "is outside the range of representable values",
    },
    "thread": {("planted_race", "c_int64", "100000"): "data race"},
}

# Of calls with wrong arguments that ask for more memory than there is: not a fault, an error is raised.
_REFUSED = re.compile(r"^==\d+==WARNING: AddressSanitizer failed to allocate 0x[0-9a-f]+ bytes\n", re.MULTILINE)


class Run:
    """The run of one sanitizer."""

    def __init__(self, name: str) -> None:
        self.name, self.build = name, Build(name)
        self.reports = self.build.folder / "reports"
        self.stderr: list[str] = []
        self.counts: dict[str, int] = {}
        self.failed: list[str] = []

    def start(self, *command: str, shim: bool = False) -> subprocess.CompletedProcess[str]:
        """Run Python with the sanitized kernels. Reports are files, also those of child processes, or lines of stderr:
        beside ASan, UBSan does not know the name of the files."""
        environment = os.environ | self.build.environment(self.reports / "report", shim=shim)
        environment |= {"MIRAGE_EXAMPLES": os.environ.get("MIRAGE_EXAMPLES", EXAMPLES[self.name])}
        result = subprocess.run(
            [sys.executable, *command], cwd=self.build.folder, env=environment, capture_output=True, text=True
        )
        self.stderr.append(result.stderr)
        return result

    def say(self, text: str) -> None:
        print(f"sanitize {self.name}: {text}", flush=True)

    def found(self) -> list[str]:
        files = [_REFUSED.sub("", path.read_text(errors="replace")) for path in sorted(self.reports.iterdir())]
        return [text for text in files if text.strip()] + re.findall(
            r"^.*: runtime error: .*(?:\n +#\d.*)*", "\n".join(self.stderr), re.MULTILINE
        )

    def clear(self) -> None:
        shutil.rmtree(self.reports, ignore_errors=True)
        self.reports.mkdir(parents=True)
        self.stderr.clear()

    def check_planted(self) -> None:
        """Every fault on purpose has to end the program with the report that is expected."""
        for (fault, kind, value), expected in PLANTED[self.name].items():
            self.clear()
            result = self.start("-c", RUN_PLANTED, fault, kind, value)
            found = result.returncode != 0 and any(expected in report for report in self.found())
            self.say(f"{fault}: {expected if found else 'NOT FOUND'}")
            self.counts["planted faults found"] = self.counts.get("planted faults found", 0) + found
            if not found:
                self.failed.append(f"{fault} was not found")
                print(result.stderr[-4000:], *self.found(), sep="\n", flush=True)
        self.clear()

    def check_tests(self) -> None:
        """A report ends the process, which fails the test that it ran."""
        results = self.build.folder / "tests.xml"
        results.unlink(missing_ok=True)
        paths = [f"tests/kernels/test_{name}.py" for name in TESTS[self.name]]
        options = [
            "-q",
            "--capture=sys",
            "-p",
            "no:cacheprovider",
            "--numprocesses",
            "auto",
            "--dist",
            "worksteal",
            "--durations=15",
        ]
        result = self.start("-m", "pytest", *options, f"--junitxml={results}", "-k", SELECTED[self.name], *paths)
        print(result.stdout[-6000:], result.stderr[-2000:], flush=True)
        suite = ElementTree.parse(results).getroot().find("testsuite") if results.exists() else None
        self.counts["tests"] = 0 if suite is None else int(suite.get("tests", 0)) - int(suite.get("skipped", 0))
        if result.returncode != 0 or not self.counts["tests"]:
            self.failed.append("tests failed")

    def check_program(self, what: str, *command: str) -> None:
        """Run a program of tests/kernels whose last line begins with the number of things that it did."""
        result = self.start(f"tests/kernels/{command[0]}", *command[1:], shim=True)
        lines = result.stdout.splitlines()
        number = re.match(r"\d+", lines[-1]) if lines else None
        self.counts[what] = self.counts.get(what, 0) + (int(number[0]) if number else 0)
        self.say(lines[-1] if lines else f"{command[0]} printed nothing")
        if result.returncode != 0 or not number:
            self.failed.append(f"{command[0]} failed")
            print(result.stdout[-4000:], result.stderr[-4000:], sep="\n", flush=True)

    def run(self) -> bool:
        """Build and run everything; end with the verdict."""
        self.build.make()
        started = time.monotonic()
        self.check_planted()
        if not self.failed:  # else the rest would say nothing
            self.check_tests()
            if self.name == "address":
                calls = os.environ.get("MIRAGE_HOSTILE_CALLS", str(HOSTILE_CALLS))
                self.check_program("calls with wrong arguments", "hostile_calls.py", "0", calls, "0")
        reports = self.found()
        print(*(report[:4000] for report in reports), sep="\n", flush=True)
        done = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        clean = not self.failed and not reports
        verdict = "clean" if clean else f"FAILED ({', '.join(self.failed) or 'see the reports'})"
        self.say(f"{verdict}; {done}; {len(reports)} findings; {time.monotonic() - started:.0f} s")
        return clean


def main(asked: list[str]) -> None:
    if unknown := set(asked) - set(PLANTED):
        sys.exit(f"expected {' or '.join(PLANTED)}, got {', '.join(sorted(unknown))}")
    clean = [Run(name).run() for name in asked or PLANTED]
    sys.exit(not all(clean))


if __name__ == "__main__":
    main(sys.argv[1:])
