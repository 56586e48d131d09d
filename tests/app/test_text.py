"""Summaries are cut out of a text in pieces as out of the whole; any text from the app is a frame or nothing."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.events.permissions import PermissionRequested
from bridgehub.protocol.requests import trust_input
from transport.ios.text import SummaryFilter, bare_error, decision_of, may_be_allowed, request_text
from transport.ios.wire import ChatFrame, ConfigFrame, decode_app

PARTS = ["<tts-summary>", "</tts-summary>", "<tts", "-summary>", "</", "a", "\n", "<"]
TEXTS = st.lists(st.sampled_from(PARTS)).map("".join)


@given(text=TEXTS, cuts=st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_pieces_are_cut_like_the_whole(text: str, cuts: list[int]) -> None:
    cut, out, at = SummaryFilter(), [], 0
    while at < len(text):
        size = cuts[at % len(cuts)]
        out.append(cut.feed(text[at : at + size]))
        at += size
    whole = re.sub(r"<tts-summary>.*?</tts-summary>", "", text, flags=re.DOTALL)
    assert "".join(out) + cut.flush() == whole


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.text(), st.lists).map(json.dumps)))
def test_any_frame_is_one_or_nothing(message: str | bytes) -> None:
    assert isinstance(decode_app(message), ChatFrame | ConfigFrame | None)


@pytest.mark.parametrize("options", [("allow", "deny"), ("allow",)])
def test_a_question_of_trust_is_asked_in_words(options: tuple[str, ...]) -> None:
    run = {"kind": "helper", "name": "apiKeyHelper", "from": ".claude/settings.json", "command": "sh key.sh"}
    asked = trust_input("claude", "/w", [run] * 100, 0)
    told = request_text(PermissionRequested("r", "trust", asked, options, about="trust")).splitlines()
    assert told[0] == "The folder /w has settings that would run or apply by themselves:"
    assert told[1:101] == ["- helper apiKeyHelper (.claude/settings.json): sh key.sh"] * 100
    assert told[-1].startswith("Send allow (or yes) to trust this folder, deny (or no) to ")
    assert ("go on without its settings" in told[-1]) == ("deny" in options)
    for cut in (trust_input("claude", "/w", [run], 5), trust_input("claude", "/w", [run] * 200, 0)):
        request = PermissionRequested("r", "trust", cut, options, about="trust")
        assert "It is too long to show here. Another device can trust it." in request_text(request)
        assert not may_be_allowed(request)


def test_words() -> None:
    assert [decision_of(one) for one in ("ALLOW", " no\n", "yes please", "")] == ["allow", "deny", None, None]
    assert bare_error("Error: Error:x") == "x"
    assert bare_error("Error:") != ""
