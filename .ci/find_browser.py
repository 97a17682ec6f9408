# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Print the path of a Chromium: one on PATH, else that of npm's @sparticuz/chromium, which is installed in build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FOLDER = Path("build/browser")
PACKAGE = "@sparticuz/chromium"
PRINT_PATH = f"import('{PACKAGE}').then(m => m.default.executablePath()).then(path => console.log(path))"


def find_browser() -> str | None:
    """The browser that BROWSER_BINARY names, or one on PATH."""
    return os.environ.get("BROWSER_BINARY") or next(filter(None, map(shutil.which, NAMES)), None)


def install_browser() -> str:
    """Install and unpack npm's Chromium, if it is not there yet."""
    if not (FOLDER / "node_modules" / PACKAGE).is_dir():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(FOLDER), PACKAGE]
        subprocess.run(command, check=True, stdout=sys.stderr)
    home = os.environ | {"TMPDIR": str(FOLDER.absolute())}  # where it unpacks itself
    found = subprocess.run(["node", "-e", PRINT_PATH], cwd=FOLDER, env=home, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def main() -> int:
    browser = find_browser()
    if browser is None and shutil.which("npm") and shutil.which("node"):
        try:
            browser = install_browser()
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"npm's {PACKAGE} cannot be used: {error}", file=sys.stderr)
    if browser is None:
        print("no browser found: install Debian's package chromium, or npm", file=sys.stderr)
        return 1
    print(browser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
