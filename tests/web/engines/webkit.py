"""WebKitGTK through its WebDriver, each page in a program of its own on a screen of its own (Xvfb).

- `--full-screen`: otherwise the toolbar keeps the page at 447 pixels or more.
- WEBKIT_DISABLE_DMABUF_RENDERER and WEBKIT_DISABLE_COMPOSITING_MODE stay unset: pictures would never come.
- The window cannot be narrower than its widgets, 334 pixels as they are; `NARROW` takes their margins away.
- A driver has one session at a time. An automated session is always private.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx

from tests.web.engines import actions
from tests.web.engines.page import FIND, LIMIT_S, Engine, Page, PageError, Part
from tests.web.engines.programs import START_S, Program, find_program, opened_twice, poll
from tests.web.limits import at_most
from tests.web.sizes import Size

__all__ = ["WebKit", "open_webkit"]

SCREEN = "1600x1200x24"

NARROW = "* { min-width: 0; margin: 0; padding: 0; }"
"""Style of the window's widgets. It does not reach into pages."""

Json = dict[str, Any]


class DriverError(Exception):
    """The driver refused a command."""


class Driver:
    """A driver that runs, with its screen. Made by `_open_driver`."""

    def __init__(self, http: httpx.Client, programs: ExitStack) -> None:
        self._http, self._programs = http, programs

    def end(self) -> None:
        """End it with its screen and its pages."""
        self._programs.close()

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Send a command and return its value. DriverError if the driver refuses it."""
        answer = self._http.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        if answer.status_code != 200:
            raise DriverError(f"{path}: {value['error']}: {value['message'][:500]}")
        return value


class WebKitPage(Page):
    """Made by `WebKit.open`. Its profile is a session of a driver."""

    engine = "webkit"

    def __init__(self, driver: Driver, free: list[Driver]) -> None:
        super().__init__()
        self._driver, self._free = driver, free
        options = {"binary": _find_browser(), "args": ["--automation", "--full-screen"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        session: str = driver.call("POST", "/session", capabilities=capabilities)["sessionId"]
        self._path = f"/session/{session}"
        limit_ms = int(LIMIT_S * 1000)
        self._call("POST", "/timeouts", script=limit_ms, pageLoad=limit_ms)

    def goto(self, url: str) -> None:
        self._call("POST", "/url", url=url)

    def reload(self) -> None:
        self._call("POST", "/refresh")

    def resize(self, width: int, height: int) -> None:
        # The window may be larger than the page.
        window = self._call("GET", "/window/rect")
        inner = self.evaluate("return [innerWidth, innerHeight]")
        more = (window["width"] - inner[0], window["height"] - inner[1])
        self._call("POST", "/window/rect", x=0, y=0, width=width + more[0], height=height + more[1])
        size = "innerWidth === args[0] && innerHeight === args[1]"
        self.wait_for(size, width, height, what=f"the page has {width} × {height} pixels")

    def close(self) -> None:
        self._call("DELETE", "")
        self._free.append(self._driver)

    def type(self, text: str) -> None:
        self._act(actions.typed(text))

    def press(self, key: str) -> None:
        self._act(actions.press(key))

    def set_files(self, button: Part, paths: Sequence[Path]) -> None:
        self.expect(button)
        found = self._call("POST", "/elements", using="css selector", value="input[type=file]")
        (field,) = found[-1].values()
        self._call("POST", f"/element/{field}/value", text="\n".join(str(path) for path in paths))

    def names_alike(self, part: Part) -> bool:
        script = f"{FIND}\nreturn find(arguments[0])"
        (node,) = self._call("POST", "/execute/sync", script=script, args=[attrs.asdict(part)]).values()
        role = self._call("GET", f"/element/{node}/computedrole")
        return bool(role == part.role and self._call("GET", f"/element/{node}/computedlabel") == part.name)

    def _run(self, body: str, args: Sequence[Any]) -> Any:
        script = (
            f"const [args, done] = arguments; (async () => {{ {body} }})()"
            ".then((value) => done({value: value ?? null}), (error) => done({error: String(error)}));"
        )
        try:
            answer = self._call("POST", "/execute/async", script=script, args=[list(args)])
        except DriverError as error:
            raise PageError(str(error)) from error
        if "error" in answer:
            raise PageError(answer["error"][:500])
        return answer["value"]

    def _press_at(self, x: float, y: float) -> None:
        self._act(actions.click_at(x, y))

    def _picture(self) -> bytes:
        return base64.b64decode(self._call("GET", "/screenshot"))

    def _act(self, steps: actions.Actions) -> None:
        self._call("POST", "/actions", actions=steps)

    def _call(self, method: str, path: str, **body: Any) -> Any:
        return self._driver.call(method, self._path + path, **body)


class WebKit(Engine):
    """Made by `open_webkit`. Drivers that a page is done with serve the next one."""

    name = "webkit"

    def __init__(self, folder: Path, programs: ExitStack) -> None:
        self._folder, self._programs = folder, programs
        self._free: dict[bool, list[Driver]] = {False: [], True: []}
        self._count = 0

    def open(self, size: Size, *, dark: bool = False) -> Page:
        free = self._free[dark]
        try:
            page = self._open_page(free.pop() if free else self._start_driver(dark), free)
        except (DriverError, httpx.HTTPError) as error:
            print(f"WebKit did not open a page and is started once more: {error!r}")
            page = self._open_page(self._start_driver(dark), free)
        page.resize(size.width, size.height)
        return page

    def _open_page(self, driver: Driver, free: list[Driver]) -> WebKitPage:
        try:
            return WebKitPage(driver, free)
        except BaseException:
            driver.end()
            raise

    def _start_driver(self, dark: bool) -> Driver:
        self._count += 1
        home = self._folder / str(self._count)
        style = home / ".config" / "gtk-3.0" / "gtk.css"
        style.parent.mkdir(parents=True)
        style.write_text(NARROW)
        home.chmod(0o700)
        programs = self._programs.enter_context(ExitStack())
        http = programs.enter_context(opened_twice(lambda: _open_driver(home, dark), "WebKitWebDriver"))
        return Driver(http, programs)


@contextmanager
def open_webkit(folder: Path) -> Iterator[WebKit]:
    """Make an engine whose files are in the folder. It starts programs as pages need them."""
    with ExitStack() as programs:
        yield WebKit(folder, programs)


@contextmanager
def _open_driver(home: Path, dark: bool) -> Iterator[httpx.Client]:
    """Run a screen and a driver on it; give the way to the driver."""
    program = find_program("WEBKIT_DRIVER", ("WebKitWebDriver",), "webkit2gtk-driver")
    with _open_screen(home) as display:
        port = _free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "DISPLAY": display,
            "GDK_BACKEND": "x11",
            "GTK_THEME": "Adwaita:dark" if dark else "Adwaita",
            # Nothing of the desktop that the tests run on.
            "XDG_RUNTIME_DIR": str(home),
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
            "GIO_USE_VFS": "local",
            "GSETTINGS_BACKEND": "memory",
            "GTK_USE_PORTAL": "0",
            "NO_AT_BRIDGE": "1",
        }
        process = Program([program, f"--port={port}", "--host=127.0.0.1"], environment)
        try:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=2 * LIMIT_S, trust_env=False) as http:
                poll(lambda: process.has_ended or _is_ready(http), "WebKitWebDriver answers")
                assert not process.has_ended, "WebKitWebDriver ended at once"
                yield http
        finally:
            process.end()


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/status", timeout=LIMIT_S).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _open_screen(home: Path) -> Iterator[str]:
    program = find_program("XVFB", ("Xvfb",), "xvfb")
    reader, writer = os.pipe()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    try:
        command = [program, "-displayfd", str(writer), "-screen", "0", SCREEN, "-nolisten", "tcp"]
        process = Program(command, environment, pass_fds=[writer])
    finally:
        os.close(writer)
    try:
        with os.fdopen(reader) as told, at_most(START_S, "Xvfb says its number"):
            # The whole line: Xvfb writes number and line end apart, and dies if nobody reads the second.
            number = told.readline().strip()
        assert number, "Xvfb does not start"
        yield f":{number}"
    finally:
        process.end()


def _find_browser() -> str:
    """Return the browser that comes with WebKitGTK."""
    found = [str(path) for path in Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser")]
    return find_program("WEBKIT_BROWSER", (*found, "MiniBrowser"), "webkit2gtk-driver")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port
