"""The barest program of Textual: one text on a full screen. What any client that draws with it takes to start."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widgets import Static

__all__ = ["TEXT", "BareApp"]

TEXT = "the first text"


class BareApp(App[None]):
    """Shows the text until it is ended."""

    def compose(self) -> ComposeResult:
        """Return the text."""
        yield Static(TEXT)


if __name__ == "__main__":
    BareApp().run()
