"""What browsers get of the web client's modules: all of the code, on the same lines, and no comments."""

from __future__ import annotations

import re
from itertools import pairwise
from os.path import normpath
from pathlib import PurePosixPath

from transport.http.static import WEB_FOLDER, read_web_files, without_comments, without_spaces

MAX_FIRST_BYTES = 150_000
"""Of HTML, CSS and JavaScript that a page begins with. The contract says 153,600 for a visit; tasks and the welcome
come to this in some visits."""

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

one((text), "// no comment", `/* nor this */`); // behind code
(one).said = 1;
}
"""


def test_comments_go_and_lines_keep_their_numbers() -> None:
    assert without_comments(SOURCE) == SERVED


def test_spaces_go_only_where_no_text_is() -> None:
    source = (
        'const { a } = (b) => a === b && { c: 1, ...d };\nsay("a , b = c"); // a = b\nreturn a / b > c;\n'
        'say({ a: " , " }, "b = c") || "";\nsay(\'"\', a = b);\nsay("\\" = ", c = d);\n'
    )
    served = 'const{a}=(b)=>a===b&&{c: 1,...d};\nsay("a , b = c"); // a = b\nreturn a / b > c;\n'
    served += 'say({a: " , "},"b = c")||"";\nsay(\'"\', a = b);\nsay("\\" = ", c = d);\n'
    assert without_spaces(source, ".js") == served
    source = 'import { a, b as c } from "../d.js";\n} from "./e.js";\nimport * as f from "./f.js";\nimport "./g, h.js";\n'
    served = (
        'import{a,b as c}from"../d.js";\n}from"./e.js";\nimport*as f from"./f.js";\nimport "./g, h.js";\n'
    )
    assert without_spaces(source, ".js") == served
    style = 'a > b:hover, .c { margin: 0 1px; }\n.d { content: ": , "; }\nx { grid-row: 1 / 2; }\n'
    served = 'a>b:hover,.c{margin:0 1px;}\n.d{content:": , ";}\nx { grid-row: 1 / 2; }\n'
    assert without_spaces(style, ".css") == served


def test_a_style_sheet_keeps_its_rules() -> None:
    assert without_comments("/* a\nb */\na { b: c }\n") == "\n\na { b: c }\n"


def test_a_line_like_an_expression_stays_apart() -> None:
    # Were a line to begin with a bracket once its comment is gone, it would continue the statement above.
    for file in sorted(WEB_FOLDER.rglob("*.js")):
        lines = file.read_text().split("\n")
        for before, line in pairwise(lines):
            if line.lstrip().startswith("/** @type") and line.rstrip()[-2:] != "*/":
                assert before.rstrip().endswith((";", "{", "(", ",", "=", "=>", ":", "&&", "||")), (
                    file.name,
                    line,
                )


def listed(name: str) -> set[str]:
    """Return the paths of one of the service worker's lists."""
    source = (WEB_FOLDER / "sw.js").read_text()
    start = source.index(f"const {name} = [")
    return set(re.findall(r'"(/[^"]*)"', source[start : source.index("];", start)]))


def imported(path: str) -> set[str]:
    """Return a module with all that it imports at once."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        found.add(one)
        source = (WEB_FOLDER / one.lstrip("/")).read_text()
        names = re.findall(r'^import [^;(]*?"(\.[^"]+)";', source, re.MULTILINE)
        folder = PurePosixPath(one).parent
        waiting += {normpath(folder / name) for name in names} - found
    return found


def test_what_comes_first_is_small() -> None:
    files = {file.path: file for file in read_web_files(WEB_FOLDER)}
    first = (listed("FIRST") - {"/"}) | {"/index.html", "/sw.js"}
    sizes = {path: len(files[path].body) for path in first if path.endswith((".html", ".css", ".js"))}
    assert sum(sizes.values()) <= MAX_FIRST_BYTES, sorted(sizes.items(), key=lambda one: -one[1])


def test_the_service_worker_keeps_every_file() -> None:
    served = {file.path for file in read_web_files(WEB_FOLDER)} - {"/index.html", "/sw.js"}
    assert listed("FIRST") | listed("REST") == served
    assert not listed("FIRST") & listed("REST")


def test_what_comes_first_is_what_the_start_imports() -> None:
    modules = {path for path in listed("FIRST") if path.endswith(".js")}
    assert modules == imported("/js/main.js")
