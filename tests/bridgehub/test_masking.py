"""Secrets of an environment are masked in reports about an agent, and nowhere else."""

from __future__ import annotations

import io
import logging

import pytest

from bridgehub.masking import Masker, MaskingFormatter
from bridgehub.protocol.events import HubEvent, Noticed, TaskEnded, TextPiece, TurnFailed

ENV = {
    "OPENAI_API_KEY": "sk-0123456789abcdef",
    "MY_TOKEN": "0123456789abc",
    "HOME": "/home/ann",
    "A_KEY": "1",
}


def test_secrets_are_known_by_name_the_longest_first() -> None:
    masker = Masker.of(ENV)
    assert masker.text("key sk-0123456789abcdef, 0123456789abc in /home/ann") == "key …, … in /home/ann"
    assert "0123456789abc" not in repr(masker)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_AUTHOR_NAME", "Ann Example"),
        ("SSH_AUTH_SOCK", "/home/ann/.ssh/agent"),
        ("XAUTHORITY", "/home/ann/.Xauthority"),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "128000"),
        ("PASSWORD_STORE_DIR", "/home/ann/.password-store"),
    ],
)
def test_what_only_sounds_like_a_secret_garbles_no_text(name: str, value: str) -> None:
    for text in (f"a word of {value} in it", "there is no /home/ann", "/home/ann/.ssh cannot be read"):
        assert Masker.of({name: value}).text(text) == text


@pytest.mark.parametrize("name", ["AUTHORIZATION", "HTTP_AUTHORISATION", "PROXY_AUTH", "SSH_PASSPHRASE"])
def test_names_of_secrets(name: str) -> None:
    assert Masker.of({name: "0123456789abc"}).text("bad: 0123456789abc") == "bad: …"


def test_only_the_password_of_an_address_is_masked() -> None:
    masker = Masker.of(
        {"HTTPS_PROXY": "http://ann:s3cret-word@proxy.example:3128", "BASE": "http://h:8080/a@b"}
    )
    told = masker.text("no way through http://ann:s3cret-word@proxy.example:3128 to http://h:8080/a@b")
    assert told == "no way through http://ann:…@proxy.example:3128 to http://h:8080/a@b"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Its last words:\n789abcdef is wrong", "Its last words:\n… is wrong"),
        ("the key sk-012345678", "the key …"),
        ("sk-012345678\nmore", "…\nmore"),
        ("cdef and sk-01", "cdef and sk-01"),  # too little to be of use
    ],
)
def test_what_a_cut_has_left_of_one_is_masked(text: str, masked: str) -> None:
    assert Masker.of({"OPENAI_API_KEY": "sk-0123456789abcdef"}).text(text) == masked


@pytest.mark.parametrize(
    ("event", "is_masked"),
    [
        (TurnFailed("t", "model_error", "bad key 0123456789abc", retryable=False), True),
        (Noticed("t", "agent_warning", "bad key 0123456789abc"), True),
        (TaskEnded("t", "task", "failed", "bad key 0123456789abc"), True),
        (TaskEnded("t", "task", "succeeded", "the key is 0123456789abc"), False),
        (TextPiece("t", "text", "b", "the key is 0123456789abc"), False),
    ],
)
def test_what_the_agent_says_itself_stays(event: HubEvent, is_masked: bool) -> None:
    assert ("0123456789abc" not in repr(Masker.of(ENV).event(event))) is is_masked


def test_tracebacks_in_the_log_are_masked() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(MaskingFormatter("%(levelname)s %(message)s", Masker.of(ENV)))
    record_of = logging.getLogger("tests.masking").makeRecord
    try:
        raise ValueError("bad key 0123456789abc")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
        handler.emit(record_of("x", logging.ERROR, "f", 1, "with %s", ("0123456789abc",), info))
    assert "ValueError: bad key …" in stream.getvalue()
    assert "with …" in stream.getvalue()
