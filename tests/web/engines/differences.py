"""What an engine cannot do, each with its reason and a check.

`docs/internals/testing.md` has the same table. `test_engines.py` holds every pair of engine and ability against it, so it
fails if an engine learns something, and if it forgets something.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tests.web.engines.page import EngineName, Page

__all__ = ["ABILITIES", "SHIFT_TAB", "Ability", "can"]

SHIFT_TAB = "Shift and Tab named as `Tab`"


@attrs.frozen
class Ability:
    """Something that a journey or the client may need.

    Attributes:
        name: what it is, as in the docs.
        is_there: tries it in a page of the client.
        cannot: engines that lack it, each with the reason.
    """

    name: str
    is_there: Callable[[Page], bool]
    cannot: dict[EngineName, str]


def _by_script(expression: str) -> Callable[[Page], bool]:
    return lambda page: bool(page.evaluate(f"return {expression}"))


KEEP_BLOB = """await new Promise((done) => {
    const opening = indexedDB.open("ability");
    opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
    opening.onerror = () => done(false);
    opening.onsuccess = () => {
        const end = (kept) => {
            opening.result.close();
            indexedDB.deleteDatabase("ability");
            done(kept);
        };
        try {
            const writing = opening.result.transaction("kept", "readwrite");
            writing.oncomplete = () => end(true);
            writing.onerror = writing.onabort = () => end(false);
            writing.objectStore("kept").put(new Blob(["text"]), 1);
        } catch {
            end(false);
        }
    };
})"""


def _reports_errors(page: Page) -> bool:
    page.evaluate("setTimeout(() => { throw new Error('planted') })")
    page.evaluate("await new Promise((done) => setTimeout(done, 50))")
    planted = [mistake for mistake in page.mistakes if "planted" in mistake]
    page.mistakes[:] = [mistake for mistake in page.mistakes if mistake not in planted]
    return bool(planted)


def _names_shift_tab(page: Page) -> bool:
    page.evaluate("window.pressed = []; addEventListener('keydown', (event) => pressed.push(event.key))")
    page.press("Shift+Tab")
    return "Tab" in page.evaluate("return window.pressed")


_NO_SPEECH = "has no SpeechRecognition; the client shows no button `Dictate`"

ABILITIES = (
    Ability(
        "a window with the focus",
        _by_script("document.hasFocus()"),
        {"webkit": "its screen has no window manager that gives it"},
    ),
    Ability(
        "dictation",
        _by_script("'SpeechRecognition' in window || 'webkitSpeechRecognition' in window"),
        {"firefox": _NO_SPEECH, "webkit": _NO_SPEECH},
    ),
    Ability("reading aloud", _by_script("'speechSynthesis' in window"), {}),
    Ability(
        "a Blob in IndexedDB",
        _by_script(KEEP_BLOB),
        {"webkit": "automated sessions are private ones, which keep ArrayBuffers and no Blob or File"},
    ),
    Ability("a service worker", _by_script("'serviceWorker' in navigator"), {}),
    Ability(
        SHIFT_TAB,
        _names_shift_tab,
        {"webkit": "names the key `Unidentified`, with the code `Tab`"},
    ),
    Ability(
        "`user-select: all`",
        _by_script("CSS.supports('user-select', 'all')"),
        {"webkit": "knows it with the prefix `-webkit-` only"},
    ),
    Ability(
        "installing the app from the page",
        _by_script("'onbeforeinstallprompt' in window"),
        {
            "firefox": "has no `beforeinstallprompt`; a phone's browser installs from its own menu",
            "webkit": "has no `beforeinstallprompt`; Safari installs from its share sheet",
        },
    ),
    Ability(
        "errors of scripts reported to the test",
        _reports_errors,
        {"webkit": "WebDriver without BiDi has no events; the other two report what fails"},
    ),
)


def can(engine: EngineName, ability: str) -> bool:
    """Return whether an engine has the ability of this name."""
    (one,) = (one for one in ABILITIES if one.name == ability)
    return engine not in one.cannot
