"""Markdown as Rich draws it, with our headings and code: to the left, on the terminal's own background."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown
from rich.syntax import Syntax
from rich.text import Text

__all__ = ["Page"]


class _Heading(Heading):
    LEVEL_ALIGN = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Code(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        if not self.theme:
            yield Text(code)
            return
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, background_color="default")


class Page(Markdown):
    """A text in Markdown. Without a `code_theme` code has no colours, for which a language takes time to load."""

    elements = Markdown.elements | {"heading_open": _Heading, "fence": _Code, "code_block": _Code}
