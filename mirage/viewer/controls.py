# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The controls beside the scene in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ..filters import FilterResult

if TYPE_CHECKING:
    import viser

    from .point_cloud import Coloring

Key = Literal["W", "S", "A", "D", "J", "L", "I", "K"]
KEYS: dict[Key, str] = {
    "W": "forward", "S": "backward", "A": "left", "D": "right", "J": "turn left", "L": "turn right", "I": "look up",
    "K": "look down",
}  # fmt: skip
COLORING_HINT = (
    "image: the decoded latents. components: the three principal components of the latents. frame: when the memory "
    "wrote a point, from violet to yellow."
)


class WalkControls(NamedTuple):
    """What steers a walk.

    Attributes:
        keys: a command for each key, and the action string that it stands for.
        actions, go: an action string to type, and the button that follows it.
    """

    keys: list[tuple[viser.CommandHandle, str]]
    actions: viser.GuiInputHandle[str]
    go: viser.GuiButtonHandle


class Controls:
    """The controls, and the texts that tell what they show.

    Args:
        server: the server.
        title: of the memory.
        colorings: ways to color points, the first one selected.

    Attributes:
        coloring, frame, only, show_cameras, camera, fly, overview, follow: the controls.
        read_folder: where the image of each browser goes.
    """

    def __init__(self, server: viser.ViserServer, title: str, colorings: Sequence[Coloring]) -> None:
        gui = server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        self._gui = gui
        self._title = gui.add_markdown(f"**{title}**", order=0)
        self._status = gui.add_markdown("", order=1, visible=False)
        self.read_folder = gui.add_folder("memory from this camera", order=2)
        with gui.add_folder("points", order=5):
            self.coloring = gui.add_dropdown("color", list(colorings), initial_value=colorings[0], hint=COLORING_HINT)
            self.frame = gui.add_slider("up to frame", 0, 1, 1, 0, hint="hides what later frames have added")
            self.only = gui.add_checkbox("only what it added", False)
            self._added = gui.add_markdown("")
        with gui.add_folder("cameras", order=6):
            self.show_cameras = gui.add_checkbox("show", True)
            self.camera = gui.add_slider("number", 0, 1, 1, 0)
            self.fly = gui.add_button("fly to this camera", hint="a click on a camera in the scene does the same")
            self.overview = gui.add_button("see everything")
            self.follow = gui.add_checkbox("follow new frames", True, visible=False)
        self._frames = gui.add_folder("last generated frame", order=4, visible=False)
        self._image: viser.GuiImageHandle | None = None
        self._reasons: viser.GuiMarkdownHandle | None = None

    def add_walk(self, frames: int) -> WalkControls:
        """Add what steers a walk.

        Args:
            frames: that each key stands for.
        """
        gui = self._gui
        with gui.add_folder("walk", order=3):
            gui.add_markdown(", ".join(f"**{key.lower()}** {meaning}" for key, meaning in KEYS.items()))
            text = gui.add_text("actions", "w*8 l*8", hint="keys and frames, such as w*16 w+l*8")
            go = gui.add_button("go")
        self.follow.visible = True
        commands = {key: gui.add_command(f"walk: {meaning}", hotkey=key) for key, meaning in KEYS.items()}
        return WalkControls([(command, f"{key.lower()}*{frames}") for key, command in commands.items()], text, go)

    def set_status(self, text: str) -> None:
        """Show a line of text; nothing if it is empty."""
        self._status.content, self._status.visible = text, bool(text)

    def is_at_end(self) -> bool:
        """Whether everything is shown, so that new frames are to be shown as well."""
        return bool(self.frame.value >= self.frame.max)

    def set_frames(self, stamps: list[int], counts: list[int], *, at_end: bool) -> None:
        """Adapt the slider to the groups of points.

        Args:
            stamps: last stamp of each group.
            counts: rows of each group.
            at_end: whether to select the last group.
        """
        last = max(len(stamps) - 1, 0)
        self.frame.max = max(last, 1)
        self.frame.value = last if at_end else min(int(self.frame.value), last)  # type: ignore[misc]
        self.describe_frame(stamps, counts)

    def describe_frame(self, stamps: list[int], counts: list[int]) -> None:
        """Tell what the selected group is."""
        number = int(self.frame.value)
        if number >= len(stamps):
            self._added.content = "the memory is empty"
            return
        before = "" if number == 0 or stamps[number] - stamps[number - 1] <= 1 else f"{stamps[number - 1] + 1} to "
        self._added.content = (
            f"frame {before}{stamps[number]} added **{counts[number]:,}** points; **{sum(counts[: number + 1]):,}** of "
            f"{sum(counts):,} up to it"
        )

    def set_cameras(self, count: int) -> None:
        """Adapt the choice of a camera to the number of cameras."""
        self.camera.max = max(count - 1, 1)
        self.camera.disabled = self.fly.disabled = count == 0

    def show_frame(self, image: np.ndarray, number: int, results: Sequence[FilterResult]) -> None:
        """Show a generated frame.

        Args:
            image: (H, W, 3) uint8.
            number: of the frame.
            results: of the filters, if there are any, which tell why cells were not written.
        """
        label = f"frame {number}"
        self._frames.visible = self.follow.visible = True
        if self._image is None:
            with self._frames:
                self._image = self._gui.add_image(image, label=label)
                self._reasons = self._gui.add_markdown("", visible=False)
        self._image.image, self._image.label = image, label
        assert self._reasons is not None
        shares = results[-1].fractions if results else {}
        self._reasons.visible = bool(shares)
        self._reasons.content = "  \n".join(f"{name}: {share:.1%}" for name, share in shares.items() if share > 0)
