"""Sessions of a terminal in the web client: found, opened, followed, and taken over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect

from bridgehub.desk.live.processes import started_at
from tests.bridgehub.desk.transcripts import Transcript, uid
from tests.e2e.shared_server import run_shared
from tests.web.browser import Site

NATIVE = uid(1 << 100)


def test_terminals_session_is_opened_followed_and_taken_over(site: Site, tmp_path: Path) -> None:
    with run_shared(tmp_path) as shared:
        config = tmp_path / "home" / ".claude"
        made = Transcript()
        made.user("plan a trip to <b>the sea</b>")
        made.says("Where to?")
        path = made.write(config, NATIVE)
        own = Site(shared, site.browser)
        screen = own.signed_in()
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as terminal:
            row = {"pid": terminal.pid, "sessionId": NATIVE, "procStart": started_at(terminal.pid)}
            (config / "sessions").mkdir()
            entry = config / "sessions" / f"{terminal.pid}.json"
            entry.write_text(json.dumps({**row, "entrypoint": "cli", "status": "busy", "startedAt": 1}))
            os.chmod(entry, 0o644)
            screen.button("On this computer").click()
            found = screen.page.get_by_role("list", name="On this computer")
            expect(found).to_contain_text("plan a trip to <b>the sea</b>")
            expect(found).to_contain_text("open in a terminal (busy)")
            screen.page.get_by_role("searchbox", name="Search this computer").fill("nothing like it")
            expect(found.get_by_role("listitem")).to_have_count(0)
            screen.page.get_by_role("searchbox", name="Search this computer").fill("the SEA")
            found.get_by_role("button").click()
            expect(screen.answers.last).to_contain_text("Where to?")
            line = screen.page.get_by_role("note", name="Open in a terminal")
            expect(line).to_contain_text("has this session open in a terminal")
            more = Transcript(count=10, leaf=made.leaf)
            more.user("to the north")
            more.says("Cold, but fine.")
            with path.open("ab") as file:
                file.write(more.data())
            expect(screen.answers.last).to_contain_text("Cold, but fine.")
            screen.button("Take over", line).click()
            screen.page.get_by_role("dialog").get_by_role("button", name="Take over").click()
            assert terminal.wait(20) == -15
            expect(line).to_be_hidden()
        assert own.close_pages() == []
