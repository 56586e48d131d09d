"""Any Markdown gives HTML in which nothing runs, loads, or passes for a part of the page."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.rendering.markdown import MAX_CODE_CHARS, render_blocks, render_markdown

TAGS = frozenset(
    [
        *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "span"),
        *("blockquote", "ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td", "div"),
    ]
)
ATTRIBUTES = {
    "a": {"href", "title", "target", "rel"},
    "ol": {"start"},
    "pre": {"data-language", "tabindex"},
    "div": {"class", "tabindex", "data-block"},
    "span": {"class"},
    "th": {"class"},
    "td": {"class"},
}


class Checked(HTMLParser):
    """Fails at whatever is not listed above; keeps text and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES.get(tag, set()), (tag, attrs)
        told = dict(attrs)
        self.tags.append(tag)
        if tag == "a" and "href" in told:
            address = told["href"] or ""
            assert address.partition(":")[0].lower() in {"http", "https", "mailto"}, address
            assert {"noopener", "noreferrer"} <= set((told["rel"] or "").split())
            assert told["target"] == "_blank"
            self.links.append(address)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def text_of(markdown: str) -> str:
    return Checked(render_markdown(markdown)).text.strip()


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<a href='javascript:alert(1)'>x</a>",
        "<style>*{display:none}</style>",
        "<!-- <p id='x'> -->",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "<javascript:alert(1)>",
        "[x]: javascript:alert(1)\n\n[x]",
        "![x](javascript:alert(1))",
        "![x](data:image/svg+xml,<svg onload=alert(1)>)",
        "![x](https://example.com/pixel.png)",
        "[a](https://x.y 'onmouseover=\"alert(1)')",
        '[a](https://x.y/"onclick="alert(1))',
        '```"><script>alert(1)</script>\nx\n```',
        "```html\n<script>alert(1)</script>\n```",
        "|<script>alert(1)</script>|b|\n|-|-|\n|<b onclick=alert(1)>|x|",
        "https://x.y/<script>alert(1)</script>",
        'https://x.y/"onclick="alert(1)',
        "<div class='dialog' id='root' style='position:fixed'>x</div>",
    ],
)
def test_nothing_hostile_is_left(hostile: str) -> None:
    shown = Checked(render_markdown(hostile))
    assert not any("javascript:" in link.lower() or "data:" in link for link in shown.links)


@given(
    st.lists(
        st.sampled_from(
            [
                "<",
                ">",
                "[",
                "](",
                ")",
                "`",
                "```\n",
                "*",
                "_",
                "|",
                "\n",
                "\n\n",
                "- ",
                "> ",
                "#",
                "!",
                "&#",
                "x",
                "javascript:",
                "https://",
                "<script>",
                '"',
                "'",
                "\\",
                "  ",
            ]
        ),
        max_size=60,
    ).map("".join)
)
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_any_markdown_gives_harmless_html(text: str) -> None:
    Checked(render_markdown(text))


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_text_gives_harmless_html(text: str) -> None:
    Checked(render_blocks([(text[:20], text)]))


def test_raw_html_is_text() -> None:
    assert (
        text_of("a <b onclick=x>bold</b> <script>1</script>") == "a <b onclick=x>bold</b> <script>1</script>"
    )


def test_what_markdown_gives() -> None:
    html = render_markdown(
        "# Title\n\n**bold** *em* ~~gone~~ `code`\n\n- one\n- two\n\n3. three\n\n> quote\n\n|a|b|\n|:-|-:|\n|1|2|\n"
    )
    for part in (
        "<h1>Title</h1>",
        "<strong>bold</strong>",
        "<em>em</em>",
        "<s>gone</s>",
        "<code>code</code>",
        "<li>one</li>",
        '<ol start="3">',
        "<blockquote>",
        '<th class="right">b</th>',
        '<td class="left">1</td>',
        '<div class="table" tabindex="0"><table>',
    ):
        assert part in html, part
    Checked(html)


def test_code_has_colours_as_classes() -> None:
    html = render_markdown("```python\ndef f():\n    return '<b>'\n```\n")
    assert '<pre data-language="python" tabindex="0"><code>' in html
    assert '<span class="k">def</span>' in html
    assert "style=" not in html
    assert Checked(html).text.strip() == "def f():\n    return '<b>'"


@pytest.mark.parametrize("language", ["", "no-such-language", "a b", "<img>", "x" * 100, '"'])
def test_code_in_no_known_language_is_shown(language: str) -> None:
    assert "a < b" in text_of(f"```{language}\na < b\n```")


def test_long_code_has_no_colours() -> None:
    code = "x = 1\n" * (MAX_CODE_CHARS // 6 + 1)
    html = render_markdown(f"```python\n{code}```")
    assert "<span" not in html
    assert Checked(html).text.strip() == code.strip()


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see https://x.y/a_b_c(d). And (https://e.f/g), https://h.i/j?k=l&m=n!", 3),
        ("[t](https://a.b) <https://c.d> <me@example.com> [m](mailto:a@b.c)", 4),
        ("`https://a.b` http:// https://", 0),
        ("[relative](src/app.py:12) [rooted](/api/x) [other host](//x.y) [here](#a)", 0),
        ("[https://shown.example](https://meant.example)", 1),
    ],
)
def test_links_lead_outside_only(text: str, links: int) -> None:
    assert len(Checked(render_markdown(text)).links) == links


def test_a_bare_address_ends_where_the_sentence_goes_on() -> None:
    text = "(see https://x.y/a(b)c), or https://x.y/d."
    assert Checked(render_markdown(text)).links == ["https://x.y/a(b)c", "https://x.y/d"]
    assert text_of(text) == text


def test_an_image_is_a_link_to_it() -> None:
    shown = Checked(render_markdown("![a cat](https://x.y/cat.png) ![no](data:image/png;base64,AA)"))
    assert (shown.links, shown.text.strip()) == (["https://x.y/cat.png"], "a cat no")


def test_each_block_stands_by_itself() -> None:
    html = render_blocks([("one", "```\nopen"), ('t"wo', "**b**"), ("", "*c*")])
    assert html.startswith('<div data-block="one"><pre')
    assert '<div data-block="t&quot;wo"><p><strong>b</strong></p>' in html
    assert html.endswith("</div><p><em>c</em></p>\n")


def test_lines_stay_lines() -> None:
    assert (
        render_markdown("Total cost: $0.12\nDuration: 3 s") == "<p>Total cost: $0.12<br>\nDuration: 3 s</p>\n"
    )


def test_tasks_have_boxes() -> None:
    html = render_markdown("- [x] done\n- [ ] open\n- [z] no task\n\n[x] no item")
    assert "<li>☑ done</li>" in html
    assert "<li>☐ open</li>" in html
    assert "[z] no task" in html
    assert "<p>[x] no item</p>" in html


@pytest.mark.parametrize("formula", [r"\(a\,b\)", r"\[\sum_i x_i\]", r"$$a_1 * b_1$$"])
def test_a_formula_stays_as_it_was_written(formula: str) -> None:
    assert f"<code>{formula}</code>" in render_markdown(f"It is {formula} and *not* more.")
    assert "<em>not</em>" in render_markdown(f"It is {formula} and *not* more.")
