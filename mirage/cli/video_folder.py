# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of videos with their prompts, as VBench (Huang et al. 2024) takes them in its mode for one's own videos."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from mirage_kernels import atomic_write

from .job_list import Job

PROMPTS, VIDEO = "prompts.json", "result.mp4"


def write_prompts(folder: Path, jobs: list[Job]) -> None:
    """Write ``prompts.json``, an object with the prompt of each video by its name; empty where there is none.

    All walks are in it from the beginning, so that processes that share the folder write the same.

    Args:
        folder: of the videos; it is made.
        jobs: all walks of the list.

    Raises:
        OSError: the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prompts = {f"{job.name}.mp4": job.args.prompt or "" for job in jobs}
    with atomic_write(folder / PROMPTS) as partial:
        partial.write_text(json.dumps(prompts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def link_video(walk: Path, folder: Path) -> None:
    """Put the video of a finished walk into the folder, as a second name of the file where the file system can.

    Args:
        walk: folder of the walk, whose name the video gets.
        folder: of the videos.

    Raises:
        OSError: the file cannot be written.
    """
    target = folder / f"{walk.name}.mp4"
    if target.exists() and target.samefile(walk / VIDEO):
        return
    try:
        with atomic_write(target) as partial:
            partial.unlink(missing_ok=True)
            try:
                os.link(walk / VIDEO, partial)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(walk / VIDEO, partial)
    except FileNotFoundError:
        if not target.exists():  # else another process has put it there
            raise
