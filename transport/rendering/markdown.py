"""From an answer's Markdown to HTML that a page may show. Pure, and slow: run in the process of `render_child`.

Two layers, each enough by itself: the Markdown parser writes raw HTML as text and knows no link but to the
web or by mail; then `nh3` keeps only what is listed here. Nothing in the result loads anything: an image
becomes a link to it. There are no ids, no inline styles, and classes only of the lists below, so that an
answer can neither look like a part of the page nor be taken for one by its scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from html import escape
from typing import Final

import nh3
import pygments
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

from transport.rendering.protocol import Block

__all__ = ["MAX_CODE_CHARS", "render_blocks", "render_markdown"]

MAX_CODE_CHARS: Final = 50_000
"""Of one piece of code that gets colours: longer ones are data rather than code."""

_SCHEMES: Final = frozenset({"http", "https", "mailto"})
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9+#._-]{1,32}")
_BARE_LINK: Final = re.compile(r"https?://[^\s<>\"'`|\\^{}]+")
_TASK: Final = re.compile(r"\[([ xX])\][ \t]+")
_FORMULA: Final = re.compile(r"\\\(.{1,500}?\\\)|\\\[.{1,500}?\\\]|\$\$.{1,500}?\$\$", re.DOTALL)
_LINK_TAIL: Final = ".,;:!?"
"""What ends a sentence rather than an address."""

_TAGS: Final = frozenset(
    [
        *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "span"),
        *("blockquote", "ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td", "div"),
    ]
)
_CELL_CLASSES: Final = frozenset({"left", "center", "right"})


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=set(_TAGS),
        attributes={"a": {"href", "title"}, "ol": {"start"}, "pre": {"data-language"}},
        allowed_classes={
            "span": {name for name in STANDARD_TYPES.values() if name},
            "div": {"table"},
            "th": set(_CELL_CLASSES),
            "td": set(_CELL_CLASSES),
        },
        # What scrolls sideways can be reached by the keyboard.
        set_tag_attribute_values={
            "a": {"target": "_blank"},
            "pre": {"tabindex": "0"},
            "div": {"tabindex": "0"},
        },
        url_schemes=set(_SCHEMES),
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )


@cache
def _markdown() -> MarkdownIt:
    # Agents break lines on purpose, most of all in the output of their own commands.
    made = MarkdownIt("commonmark", {"html": False, "breaks": True, "highlight": _highlight})
    made.enable(["table", "strikethrough"])
    made.inline.ruler.before("escape", "math", _math)
    made.core.ruler.push("tame", _tame)
    made.add_render_rule("table_open", _open_table)
    made.add_render_rule("table_close", _close_table)
    return made


def render_blocks(blocks: Sequence[Block]) -> str:
    """Return the blocks of a text, each in a `<div data-block="ID">`: what one leaves open ends with it.

    A block without an id stands by itself.
    """
    return "".join(_wrap(name, render_markdown(text)) for name, text in blocks)


def _wrap(name: str, html: str) -> str:
    return f'<div data-block="{escape(name)}">{html}</div>' if name else html


def render_markdown(text: str) -> str:
    """Return HTML without script, style, or anything that loads. Any text gives some."""
    return _cleaner().clean(_markdown().render(text))


def _highlight(code: str, language: str, _: str) -> str:
    """Return a fence's code with colours as classes, if the language is known."""
    known = language if _LANGUAGE.fullmatch(language) else ""
    inner = escape(code)
    if known and len(code) <= MAX_CODE_CHARS:
        with suppress(ClassNotFound):
            inner = pygments.highlight(code, get_lexer_by_name(known, stripnl=False), _formatter())
    attribute = f' data-language="{escape(known)}"' if known else ""
    return f"<pre{attribute}><code>{inner}</code></pre>\n"


@cache
def _formatter() -> HtmlFormatter:
    return HtmlFormatter(nowrap=True)


def _open_table(*_: object) -> str:
    return '<div class="table"><table>'


def _close_table(*_: object) -> str:
    return "</table></div>"


def _math(state: StateInline, silent: bool) -> bool:
    """Keep a formula as it was written: nothing here can set one, and Markdown would eat its backslashes."""
    found = _FORMULA.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        token = state.push("code_inline", "code", 0)
        token.markup, token.content = "`", " ".join(found[0].split())
    state.pos = found.end()
    return True


# ---- after the parser: links, images, tables, tasks ----


def _tame(state: StateCore) -> None:
    before: list[str] = ["", ""]
    for token in state.tokens:
        if token.type in ("th_open", "td_open"):
            _align(token)
        if token.children:
            if before == ["list_item_open", "paragraph_open"]:
                _tick(token.children[0])
            token.children = list(_tamed(token.children))
        before = [before[1], token.type]


def _tick(first: Token) -> None:
    """Show the box of a task, which begins its item."""
    mark = _TASK.match(first.content) if first.type == "text" else None
    if mark is not None:
        first.content = f"{'☐' if mark[1] == ' ' else '☑'} {first.content[mark.end() :]}"


def _align(token: Token) -> None:
    """Say with a class what the parser says with a style."""
    style = str(token.attrs.pop("style", ""))
    side = style.removeprefix("text-align:")
    if side in _CELL_CLASSES:
        token.attrs["class"] = side


def _tamed(children: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens of a line: links to elsewhere only, images as links, bare addresses as links."""
    linked: str | None = None
    """The link that the present token is inside of; empty for one that is not shown as a link."""
    for token in children:
        if token.type == "link_open":
            linked = str(token.attrs.get("href", "")) if _is_outside(token.attrs.get("href")) else ""
            if linked:
                yield token
        elif token.type == "link_close":
            if linked:
                yield token
            linked = None
        elif token.type == "image":
            yield from _image(token, inside=bool(linked))
        elif token.type == "text" and linked is None:
            yield from _with_links(token.content)
        else:
            yield token


def _is_outside(href: object) -> bool:
    return isinstance(href, str) and href.partition(":")[0].lower() in _SCHEMES and ":" in href


def _image(token: Token, *, inside: bool) -> Iterator[Token]:
    source = token.attrs.get("src")
    text = token.content or "image"
    if inside or not _is_outside(source):
        yield _text(text)
    else:
        yield from _link(str(source), text)


def _with_links(text: str) -> Iterator[Token]:
    position = 0
    for found in _BARE_LINK.finditer(text):
        address = found[0].rstrip(_LINK_TAIL)
        # A closing bracket belongs to the address only if it was opened in it.
        while address.endswith((")", "]")) and _unopened(address):
            address = address[:-1].rstrip(_LINK_TAIL)
        if address.partition("://")[2] == "":
            continue
        yield _text(text[position : found.start()])
        yield from _link(address, address)
        position = found.start() + len(address)
    yield _text(text[position:])


def _unopened(address: str) -> bool:
    close = address[-1]
    opening = "(" if close == ")" else "["
    return address.count(close) > address.count(opening)


def _text(text: str) -> Token:
    return Token("text", "", 0, content=text)


def _link(address: str, text: str) -> Iterator[Token]:
    yield Token("link_open", "a", 1, attrs={"href": address})
    yield _text(text)
    yield Token("link_close", "a", -1)
