"""Show an image in the terminal, by the protocol that it answers to: sixel or kitty's."""

from __future__ import annotations

import os
import sys

from PIL import Image
from rich.console import Console

from scot.errors import InvalidInput


def check_terminal() -> None:
    """Raise InvalidInput if the standard output is no terminal that can show images; this asks the terminal."""
    # A pseudo-terminal without a size has no place for an image.
    if not sys.stdout.isatty() or 0 in os.get_terminal_size(sys.stdout.fileno()):
        raise InvalidInput("--show needs a terminal; --sheet saves the contact sheet to a file")
    from textual_image.renderable import HalfcellImage, UnicodeImage
    from textual_image.renderable import Image as Drawn

    if Drawn in (HalfcellImage, UnicodeImage):
        raise InvalidInput(
            "this terminal can show no images (it answers neither to sixel nor to kitty's protocol); "
            "--sheet saves the contact sheet to a file"
        )


def show_image(image: Image.Image) -> None:
    """Show an image in the terminal, as wide as the terminal, after :func:`check_terminal`."""
    from textual_image.renderable import Image as Drawn

    Console().print(Drawn(image, width="100%", height="auto"))
