"""Firefox ESR through WebDriver BiDi, without a driver program."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.web.engines import actions
from tests.web.engines.bidi import Bidi, BidiError, Json, open_bidi
from tests.web.engines.page import Engine, Page, PageError, Part
from tests.web.engines.programs import Program, end_politely, find_program, opened_twice
from tests.web.sizes import Size

__all__ = ["Firefox", "open_firefox"]

NAMES = ("firefox-esr", "firefox")

NOWHERE = "http://127.0.0.1:9/"
"""Nobody listens at the port `discard`."""

PREFERENCES: Json = {
    "remote.active-protocols": 1,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.aboutwelcome.enabled": False,
    "termsofuse.acceptedVersion": 999,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": NOWHERE,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "dom.push.connection.enabled": False,
}

NETWORK = ("Firefox can’t establish a connection", "The connection to ws", "Failed to load ‘")
"""How Firefox reports a cut network among the errors of scripts."""

SCHEME = "layout.css.prefers-color-scheme.content-override"
"""0 is dark, 1 is light. It holds for the whole program."""


class FirefoxPage(Page):
    """Made by `Firefox.open`. Its profile is a user context."""

    engine = "firefox"

    def __init__(self, bidi: Bidi) -> None:
        super().__init__()
        self._bidi = bidi
        self._profile: str = bidi.command("browser.createUserContext")["userContext"]
        # A window of its own: timers of a tab in the background run once a second.
        self._context: str = bidi.command("browsingContext.create", type="window", userContext=self._profile)[
            "context"
        ]

    def goto(self, url: str) -> None:
        self._bidi.command("browsingContext.navigate", context=self._context, url=url, wait="interactive")

    def reload(self) -> None:
        self._bidi.command("browsingContext.reload", context=self._context, wait="interactive")

    def resize(self, width: int, height: int) -> None:
        viewport = {"width": width, "height": height}
        self._bidi.command("browsingContext.setViewport", context=self._context, viewport=viewport)

    def close(self) -> None:
        self._bidi.command("browser.removeUserContext", userContext=self._profile)
        self._sort_events()

    def type(self, text: str) -> None:
        self._act(actions.typed(text))

    def press(self, key: str) -> None:
        self._act(actions.press(key))

    def set_files(self, button: Part, paths: Sequence[Path]) -> None:
        self.expect(button)
        field = self._nodes({"type": "css", "value": "input[type=file]"})[-1]
        self._bidi.command(
            "input.setFiles",
            context=self._context,
            element={"sharedId": field["sharedId"]},
            files=[str(path) for path in paths],
        )

    def names_alike(self, part: Part) -> bool:
        value = {"role": part.role, "name": part.name}
        return len(self._nodes({"type": "accessibility", "value": value})) == self.count(part)

    def _nodes(self, locator: Json) -> list[Json]:
        found: list[Json] = self._bidi.command(
            "browsingContext.locateNodes", context=self._context, locator=locator
        )["nodes"]
        return found

    def _run(self, body: str, args: Sequence[Any]) -> Any:
        # Arguments and value go as JSON text, so that nothing has to be spelled in BiDi's own form.
        function = (
            f"async (text) => {{ const run = async (args) => {{ {body} }};"
            " return JSON.stringify(await run(JSON.parse(text))) ?? 'null'; }"
        )
        try:
            result = self._bidi.command(
                "script.callFunction",
                functionDeclaration=function,
                awaitPromise=True,
                target={"context": self._context},
                arguments=[{"type": "string", "value": json.dumps(args)}],
            )
        except BidiError as error:
            raise PageError(str(error)) from error
        self._sort_events()
        if result["type"] == "exception":
            raise PageError(result["exceptionDetails"]["text"][:500])
        return json.loads(result["result"]["value"])

    def _press_at(self, x: float, y: float) -> None:
        self._act(actions.click_at(x, y))

    def _picture(self) -> bytes:
        taken = self._bidi.command("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(taken["data"])

    def _act(self, steps: actions.Actions) -> None:
        self._bidi.command("input.performActions", context=self._context, actions=steps)

    def _sort_events(self) -> None:
        """Take this page's errors out of what came."""
        others = []
        for event in self._bidi.events:
            params = event.get("params", {})
            if params.get("source", {}).get("context") != self._context:
                others.append(event)
            elif params["type"] == "javascript" and not params["text"].startswith(NETWORK):
                self.mistakes.append(params["text"])
        self._bidi.events[:] = others


class Firefox(Engine):
    """Made by `open_firefox`. A dark page is in a program of its own."""

    name = "firefox"

    def __init__(self, folder: Path, programs: ExitStack) -> None:
        self._folder, self._programs = folder, programs
        self._browsers: dict[bool, Bidi] = {}

    def open(self, size: Size, *, dark: bool = False) -> Page:
        if dark not in self._browsers:
            folder = self._folder / ("dark" if dark else "light")
            folder.mkdir()
            browser = opened_twice(lambda: _open_browser(folder, dark), "Firefox")
            self._browsers[dark] = self._programs.enter_context(browser)
        page = FirefoxPage(self._browsers[dark])
        page.resize(size.width, size.height)
        return page


@contextmanager
def open_firefox(folder: Path) -> Iterator[Firefox]:
    """Make an engine whose files are in the folder. It starts programs as pages need them."""
    with ExitStack() as programs:
        yield Firefox(folder, programs)


@contextmanager
def _open_browser(folder: Path, dark: bool) -> Iterator[Bidi]:
    preferences = PREFERENCES | {SCHEME: 0 if dark else 1}
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in preferences.items()]
    (folder / "user.js").write_text("".join(lines))
    program = find_program("FIREFOX", NAMES, "firefox-esr")
    options = ["--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "MOZ_HEADLESS": "1"}
    process = Program([program, *options, "about:blank"], environment)
    try:
        url = process.wait_line("WebDriver BiDi listening on").rsplit(" ", 1)[-1]
        with open_bidi(f"{url}/session") as bidi:
            bidi.command("session.new", capabilities={})
            bidi.command("session.subscribe", events=["log.entryAdded"])
            yield bidi
            end_politely(lambda: bidi.command("browser.close"), "Firefox")
    finally:
        process.end()
