"""A page as journeys use it, whatever the engine: parts by role and name, a person's acts, conditions with a limit.

An engine gives the few things that only it can do (the abstract methods). All that looks into the page is one
script, `find.js`, so the engines cannot disagree about what a role or a name is; `names_alike` asks the engine
itself for both.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from tests.web.limits import at_most
from tests.web.sizes import SCREENSHOTS, Size

__all__ = ["FIND", "LIMIT_S", "Engine", "EngineName", "Page", "PageError", "Part"]

EngineName = Literal["chromium", "firefox", "webkit"]

LIMIT_S = 30.0
"""How long a page may take for what must come. Without other load it takes milliseconds."""

_SLICE_S = 5.0
"""The longest wait inside one script: a page that loads again throws its scripts away."""

_RETRY_S = 0.05

FIND = (Path(__file__).parent / "find.js").read_text(encoding="utf-8")
"""Functions of a page's script. They declare, and run nothing."""


DRAWN = "for (const _ of 'ab') await new Promise((done) => requestAnimationFrame(done))"
"""Waits until what the page has now is drawn."""


class PageError(Exception):
    """A script could not run in the page: it threw, or the page was just replaced."""


@attrs.frozen
class Part:
    """What a person or a screen reader finds in a page. None matches everything.

    Attributes:
        role: its ARIA role, given or native.
        name: its whole accessible name.
        text: a piece of the text that it shows.
        data: its `data-role`.
        href: its address, as written.
        within: it is inside of one of these.
        first: the first in the document; otherwise acts and conditions take the last.
    """

    role: str
    name: str | None = None
    text: str | None = attrs.field(default=None, kw_only=True)
    data: str | None = attrs.field(default=None, kw_only=True)
    href: str | None = attrs.field(default=None, kw_only=True)
    within: Part | None = attrs.field(default=None, kw_only=True)
    first: bool = attrs.field(default=False, kw_only=True)


class Page(ABC):
    """One page in a browser profile of its own: a device.

    Attributes:
        engine: what runs it.
        mistakes: errors of its scripts, if the engine reports them (`differences.py`).
    """

    engine: EngineName

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    # ---- what only the engine can do ----

    @abstractmethod
    def goto(self, url: str) -> None:
        """Load an address, or go to another fragment of the same document."""

    @abstractmethod
    def reload(self) -> None:
        """Load the page again."""

    @abstractmethod
    def resize(self, width: int, height: int) -> None:
        """Give the page this many CSS pixels."""

    @abstractmethod
    def close(self) -> None:
        """End the page and remove its profile."""

    @abstractmethod
    def type(self, text: str) -> None:
        """Type at the focus, a key for each character."""

    @abstractmethod
    def press(self, key: str) -> None:
        """Press `Tab`, `Enter`, `Escape`, `Backspace` or a character, also with `Shift+` before it."""

    @abstractmethod
    def set_files(self, button: Part, paths: Sequence[Path]) -> None:
        """Choose files in the dialog that the button opens."""

    @abstractmethod
    def names_alike(self, part: Part) -> bool:
        """Return whether the engine's own accessibility gives the part this role and name."""

    @abstractmethod
    def _run(self, body: str, args: Sequence[Any]) -> Any:
        """Run the body of an async function that has the list `args`. PageError if it throws."""

    @abstractmethod
    def _press_at(self, x: float, y: float) -> None:
        """Press the main button of the mouse there."""

    @abstractmethod
    def _picture(self) -> bytes:
        """Return the viewport as PNG."""

    # ---- looking ----

    def evaluate(self, body: str, *args: Any) -> Any:
        """Run the body of an async function in the page and return its value.

        Arguments and value are JSON; the body finds the arguments in the list `args` and may use what `find.js`
        declares. PageError if it throws, HungError if it never ends.
        """
        with at_most(2 * LIMIT_S, f"{self.engine}: the script {body[:80]!r}"):
            return self._run(f"{FIND}\n{body}", args)

    def count(self, part: Part) -> int:
        """Return how many there are now."""
        return int(self.evaluate("return findAll(args[0]).length", attrs.asdict(part)))

    def texts(self, part: Part) -> list[str]:
        """Return what all of them show now, white space made one space."""
        found: list[str] = self.evaluate(
            "return findAll(args[0]).map((node) => tidy(node.innerText))", attrs.asdict(part)
        )
        return found

    @property
    def address(self) -> str:
        """The page's address."""
        return str(self.evaluate("return location.href"))

    def picture(self, name: str) -> None:
        """Keep a picture of the viewport in `build/screenshots`."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.evaluate(DRAWN)
        (SCREENSHOTS / f"{name}-{self.engine}.png").write_bytes(self._picture())

    # ---- conditions ----

    def expect(self, part: Part, *, limit_s: float = LIMIT_S, **wanted: Any) -> None:
        """Wait until the part is there and is as wanted. AssertionError at the limit, with what is wrong.

        Args:
            part: without `first`, the last of all that match.
            limit_s: how long to wait.
            wanted: `count=N`: exactly so many are there. Otherwise any of these: `text`, `lacks` (a piece of text
                that it shows or does not show), `filled` (it shows a text), `whole` (a list: its whole text is one
                of these), `value` (of a field), `focused` (the focus is in it), `in_view` (some of it can be seen).
        """
        body = "return faultOf(args[0], args[1])"
        self._until(body, [attrs.asdict(part), wanted], f"{part} {wanted}", limit_s)

    def wait_for(self, condition: str, *args: Any, what: str, limit_s: float = LIMIT_S) -> None:
        """Wait until a script's expression is true. AssertionError at the limit, with `what`."""
        self._until(f"return ({condition}) ? null : 'not so'", args, what, limit_s)

    def _until(self, body: str, args: Sequence[Any], what: str, limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while True:
            left = end - time.monotonic()
            wait_ms = 1000 * max(0.0, min(left, _SLICE_S))
            try:
                wrong = self.evaluate(f"return await until(async () => {{ {body} }}, {wait_ms})", *args)
            except PageError as error:
                wrong = str(error)
                time.sleep(_RETRY_S)
            if not wrong:
                return
            if left <= 0:
                raise AssertionError(f"{self.engine}: {what}: {wrong}\n{self._seen()}")

    def _seen(self) -> str:
        try:
            return str(self.evaluate("return location.href + '\\n' + document.body.innerText.slice(0, 1500)"))
        except PageError as error:
            return str(error)

    # ---- acts ----

    def click(self, part: Part) -> None:
        """Press it, once it is there, enabled, at rest and not covered."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            self.expect(part)
            point = self.evaluate("return await pointOf(args[0])", attrs.asdict(part))
            if point:
                self._press_at(*point)
                return
        raise AssertionError(f"{self.engine}: {part} cannot be pressed\n{self._seen()}")

    def fill(self, part: Part, text: str) -> None:
        """Put the text in place of what the field has, by keys."""
        self.click(part)
        self.evaluate("find(args[0]).select()", attrs.asdict(part))
        self.press("Backspace")
        self.type(text)
        self.expect(part, value=text)

    def choose(self, part: Part, value: str) -> None:
        """Choose an option of a native select by its value."""
        self.expect(part)
        has = "[...find(args[0]).options].some((one) => one.value === args[1])"
        self.wait_for(has, attrs.asdict(part), value, what=f"{part} offers {value}")
        self.evaluate(
            "const select = find(args[0]); select.value = args[1];"
            "for (const type of ['input', 'change']) select.dispatchEvent(new Event(type, {bubbles: true}))",
            attrs.asdict(part),
            value,
        )
        self.expect(part, value=value)


class Engine(ABC):
    """A browser that runs. Each page that it opens is a device of its own."""

    name: EngineName

    @abstractmethod
    def open(self, size: Size, *, dark: bool = False) -> Page:
        """Return an empty page in a new profile, for a person who likes it `dark` or light."""
