"""A session of `echo` in a git repository, whose turns change what the test wants."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.web.browser import Site
from tests.web.phone import Json, Phone

__all__ = ["Repository", "make_repository"]


@attrs.frozen
class Repository:
    """A session and the folder in which it works."""

    site: Site
    sid: str
    folder: Path

    def write(self, files: Mapping[str, str | None]) -> None:
        """Write files; remove those with None."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def attach(self, phone: Phone) -> None:
        phone.attach(self.sid, settings={"workspace": str(self.folder)})

    def begin(self, phone: Phone) -> str:
        """Begin a turn that works until `decide` ends it; return the request's id."""
        phone.send(self.sid, "/ask work")
        asked = phone.wait_for("permission_requested", lambda one: one["session_id"] == self.sid)
        return str(asked["request_id"])

    def finish(self, phone: Phone, request: str) -> Json:
        """Let the turn end; return its checkpoint."""
        phone.say("decide", session_id=self.sid, request_id=request, decision="allow")
        return phone.wait_for("checkpoint", lambda one: one["position"] == "after")

    def turn(self, files: Mapping[str, str | None]) -> Json:
        """Run a turn that writes these files; return the checkpoint after it."""
        with self.site.phone() as phone:
            self.attach(phone)
            request = self.begin(phone)
            self.write(files)
            return self.finish(phone, request)


def make_repository(site: Site, sid: str, files: Mapping[str, str], folder: str = "") -> Repository:
    """Make a repository with these files in one commit, and a session in it."""
    place = site.server.data.parent / "home" / (folder or sid)
    place.mkdir(exist_ok=True)
    made = Repository(site, sid, place)
    made.write(files)
    if not (place / ".git").exists():
        for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "begin", "--allow-empty")):
            _git(place, *arguments)
    return made


def _git(folder: Path, *arguments: str) -> None:
    environment = {"GIT_CONFIG_GLOBAL": "/dev/null", "PATH": os.environ["PATH"], "HOME": str(folder)}
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment)
