# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Division of a video into chunks."""

from __future__ import annotations

from mirage_kernels import check

CHUNK = 33  # frames: 9 latents of Wan2.2. A later chunk shares its first latent with the chunk before it.


def plan_chunks(frames: int, chunk: int = CHUNK, stride: int = 4) -> list[range]:
    """Divide a video into chunks of latents.

    Every chunk after the first begins with the last latent of the chunk before it.

    Args:
        frames: frames of the video, ``stride * N + 1``.
        chunk: maximum frames per chunk, ``stride * N + 1`` with N >= 1.
        stride: frames from one latent to the next.

    Returns:
        The range of latents of each chunk.

    Raises:
        TypeError, ValueError: a number is not an integer, or a number of frames not of this form.

    Example:
        >>> plan_chunks(41, chunk=17)
        [range(0, 5), range(4, 9), range(8, 11)]
    """
    frames, chunk = check.integer("frames", frames, -(1 << 63)), check.integer("chunk", chunk, -(1 << 63))
    stride = check.integer("stride", stride, 1)
    for name, value in (("frames", frames), ("chunk", chunk)):
        if value < 1 or (value - 1) % stride:
            below = max((value - 1) // stride, 0 if name == "frames" else 1) * stride + 1
            near = f"{below} or {below + stride}" if value > below else str(below)
            raise ValueError(f"{name}: expected {stride} N + 1, got {value} (nearest: {near})")
    if chunk < stride + 1:
        raise ValueError(f"chunk: expected at least {stride + 1} frames, got {chunk}")
    last, step = (frames - 1) // stride, (chunk - 1) // stride
    return [range(a, min(a + step, last) + 1) for a in range(0, max(last, 1), step)]
