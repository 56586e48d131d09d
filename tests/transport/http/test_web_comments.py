"""What browsers get of the web client's modules: all of the code, on the same lines, and no comments."""

from __future__ import annotations

from itertools import pairwise

from transport.http.static import WEB_FOLDER, read_web_files, without_comments

MAX_CLIENT_BYTES = 153_600
"""Of HTML, CSS and JavaScript together (PROTOCOL section 7)."""

SOURCE = """\
// What this is.
import { one } from "./one.js";

/**
 * Say it.
 * @param {string} text
 */
export function say(text) {
\t// aside
\tone(/** @type {any} */ (text), "// no comment", `/* nor this */`); // behind code
\t/** @type {any} */ (one).said = 1;
}
"""

SERVED = """\

import { one } from "./one.js";





export function say(text) {

\tone((text), "// no comment", `/* nor this */`); // behind code
(one).said = 1;
}
"""


def test_comments_go_and_lines_keep_their_numbers() -> None:
    assert without_comments(SOURCE) == SERVED


def test_a_style_sheet_keeps_its_rules() -> None:
    assert without_comments("/* a\nb */\na { b: c }\n") == "\n\na { b: c }\n"


def test_what_begins_like_an_expression_stays_apart_from_the_line_before() -> None:
    # Were a line to begin with a bracket once its comment is gone, it would go on with the statement above.
    for file in sorted(WEB_FOLDER.rglob("*.js")):
        lines = file.read_text().split("\n")
        for before, line in pairwise(lines):
            if line.lstrip().startswith("/** @type") and line.rstrip()[-2:] != "*/":
                assert before.rstrip().endswith((";", "{", "(", ",", "=>", ":", "&&", "||")), (
                    file.name,
                    line,
                )


def test_the_client_is_small() -> None:
    files = {file.path: file for file in read_web_files(WEB_FOLDER) if file.path != "/"}
    sizes = {path: len(file.body) for path, file in files.items() if path.endswith((".html", ".css", ".js"))}
    assert sum(sizes.values()) <= MAX_CLIENT_BYTES, sorted(sizes.items(), key=lambda one: -one[1])


def test_the_service_worker_keeps_every_file() -> None:
    source = (WEB_FOLDER / "sw.js").read_text()
    kept = set(source[source.index("[") : source.index("];")].replace('"', "").replace(",", "").split()) - {
        "["
    }
    served = {file.path for file in read_web_files(WEB_FOLDER)} - {"/index.html", "/sw.js"}
    assert kept == served
