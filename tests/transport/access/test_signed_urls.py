"""Addresses open one file each, and lead nowhere else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.access.signed_urls import UrlSigner, base_url, blob_url
from transport.http.multipart import Data, MultipartError, MultipartReader, PartBegins, boundary_of
from transport.uploads import clean_name

LINKS = UrlSigner(b"key")
NAME = "0" * 32 + "_a.png"
SIGNED = LINKS.sign(f"/uploads/{NAME}")


def test_a_signature_opens_its_path_only() -> None:
    path, _, query = SIGNED.partition("?")
    assert LINKS.opens(path, query)
    assert not LINKS.opens(path + "x", query)
    assert not LINKS.opens(path, "")
    assert not LINKS.opens(path, query[:-1])
    assert not LINKS.opens(path, query + "0")
    assert not LINKS.opens(path, query.upper())
    assert not UrlSigner(b"other").opens(path, query)
    assert not LINKS.opens(path, "&".join(["a=b"] * 100))


@given(st.text(), st.text())
def test_any_text_is_looked_at(path: str, query: str) -> None:
    assert not LINKS.opens(path, query)
    assert LINKS.upload_of(path) is None


@pytest.mark.parametrize(
    "url", [SIGNED, f"http://h:1{SIGNED}", f"https://tunnel.example{SIGNED}", f"/uploads/{NAME}"]
)
def test_addresses_that_were_given_out(url: str) -> None:
    assert LINKS.upload_of(url) == NAME


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/uploads",
        "/uploads/../x",
        f"http://h/uploads/{NAME}",
        f"http://h/uploads/{NAME}?sig=0",
        f"ftp://h{SIGNED}",
        f"file://{SIGNED}",
        f"/uploads/blobs/{NAME}",
        f"/x/uploads/{NAME}",
        "http://[/uploads/x",
        SIGNED + "x" * 3000,
    ],
)
def test_addresses_that_were_not(url: str) -> None:
    assert LINKS.upload_of(url) is None


def test_where_the_client_found_the_server() -> None:
    assert base_url("http", {"host": "a:8080"}) == "http://a:8080"
    assert base_url("http", {"host": "a", "x-forwarded-proto": "https"}) == "https://a"
    proxied = {"host": "a", "x-forwarded-proto": "https, http", "x-forwarded-host": "b.example, c"}
    assert base_url("http", proxied) == "https://b.example"
    assert base_url("http", {"host": "[::1]:80"}) == "http://[::1]:80"
    wrong = {"host": "a", "x-forwarded-proto": "javascript", "x-forwarded-host": "b/c?d"}
    assert base_url("https", wrong) == "https://a"
    assert base_url("http", {"host": "a b"}) == "http://localhost"


def test_a_blobs_address() -> None:
    assert blob_url("trip", "0" * 64) == f"/uploads/blobs/trip/{'0' * 64}"


BODY = (
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="my "odd" p\xc3\xa4.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\nhel\r\n--lo\r\n--B\r\n"
    b'Content-Disposition: form-data; name="type"\r\n\r\nphoto\r\n--B--\r\n'
)


@given(st.sets(st.integers(0, len(BODY)), max_size=20))
def test_parts_are_the_same_however_they_are_cut(cuts: set[int]) -> None:
    reader = MultipartReader(b"B")
    parts: list[tuple[str, str | None, bytes]] = []
    places = [0, *sorted(cuts), len(BODY)]
    for start, end in itertools.pairwise(places):
        for piece in reader.feed(BODY[start:end]):
            if isinstance(piece, PartBegins):
                parts.append((piece.name, piece.filename, b""))
            elif isinstance(piece, Data):
                name, filename, data = parts[-1]
                parts[-1] = (name, filename, data + piece.data)
    assert parts == [("file", 'my "odd" pä.jpg', b"hel\r\n--lo"), ("type", None, b"photo")]
    assert reader.complete


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda more: BODY[:90] + more)))
def test_any_bytes_are_parts_or_no_form(data: bytes) -> None:
    reader = MultipartReader(b"B")
    try:
        list(reader.feed(data))
    except MultipartError:
        return


def test_bounds_of_a_form() -> None:
    many = b"".join(b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' for _ in range(20))
    long = b"--B\r\nX-Fill: " + b"f" * 20_000 + b"\r\n\r\n"
    nameless = b"--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--\r\n"
    for body in (many, long, nameless):
        with pytest.raises(MultipartError):
            list(MultipartReader(b"B").feed(body))
    assert boundary_of("application/json") is None
    assert boundary_of("multipart/form-data; boundary=x") == b"x"
    for wrong in ("multipart/form-data", f"multipart/form-data; boundary={'x' * 300}"):
        with pytest.raises(MultipartError):
            boundary_of(wrong)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a b.png", "a b.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\foto.jpg", "foto.jpg"),
        ("..", "file"),
        ("", "file"),
        ("a\r\nSet-Cookie: x\x00.txt", "aSet-Cookie: x.txt"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("x" * 400 + ".tar", "x" * 251 + ".tar"),
    ],
)
def test_file_names_are_names(said: str, shown: str) -> None:
    assert clean_name(said) == shown
