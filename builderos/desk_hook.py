"""The hook in Claude Code's user settings: added with consent, and taken out exactly.

The settings as they were are kept in the data folder. If nobody has changed the file since, removing the hook brings
back those very bytes; otherwise only the hook is taken out of what is there now.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from bridgehub.desk import hook as hook_script
from storage.permissions import open_private

__all__ = ["DeskHook", "HookError", "describe"]

EVENT: Final = "PermissionRequest"
TIMEOUT_S: Final = 3600
"""How long a question may wait for a device; the terminal's own dialog is open all the time."""

MAX_SETTINGS: Final = 4 * 1024 * 1024
KEPT: Final = "desk-settings-before"
NOTE: Final = "desk-settings.json"


class HookError(Exception):
    """The settings cannot be changed; the text is for a person."""


@attrs.frozen
class DeskHook:
    """The hook of one person. `settings`: Claude Code's user settings; `data`: the data folder."""

    settings: Path
    data: Path

    @property
    def command(self) -> str:
        """What Claude Code runs."""
        return shlex.join([sys.executable, "-I", str(Path(hook_script.__file__).absolute()), str(self.data)])

    def plan(self) -> tuple[bytes, bytes] | None:
        """Return the settings as they are and as they would be; None if the hook is there. Raises HookError."""
        old = self._read()
        settings = self._parse(old)
        if self._is_in(settings):
            return None
        hooks = settings.setdefault("hooks", {})
        groups = hooks.setdefault(EVENT, []) if isinstance(hooks, dict) else None
        if not isinstance(groups, list):
            raise HookError(f"{self.settings}: `hooks` does not have the form that Claude Code documents")
        groups.append({"hooks": [{"type": "command", "command": self.command, "timeout": TIMEOUT_S}]})
        return old, orjson.dumps(settings, option=orjson.OPT_INDENT_2) + b"\n"

    def install(self, old: bytes, new: bytes) -> None:
        """Write the settings. Raises HookError: nothing was changed."""
        if self._read() != old:
            raise HookError(f"{self.settings} was changed just now. Try again.")
        note = {"existed": self.settings.exists(), "written": hashlib.sha256(new).hexdigest()}
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(self.data / KEPT, old)
            _write_private(self.data / NOTE, orjson.dumps(note))
            self._replace(new)
        except OSError as error:
            raise HookError(f"{error.filename}: {error.strerror}") from error

    def remove(self) -> bool:
        """Take the hook out; return whether it was there. Raises HookError."""
        now = self._read()
        settings = self._parse(now)
        if not self._is_in(settings):
            return False
        try:
            note = orjson.loads((self.data / NOTE).read_bytes())
            kept = (self.data / KEPT).read_bytes()
        except (OSError, ValueError):
            note, kept = {}, b""
        try:
            if isinstance(note, dict) and note.get("written") == hashlib.sha256(now).hexdigest():
                if note.get("existed") is True:
                    self._replace(kept)
                else:
                    self.settings.unlink()
            else:
                self._take_out(settings)
                self._replace(orjson.dumps(settings, option=orjson.OPT_INDENT_2) + b"\n")
            for name in (KEPT, NOTE):
                (self.data / name).unlink(missing_ok=True)
        except OSError as error:
            raise HookError(f"{error.filename}: {error.strerror}") from error
        return True

    @property
    def is_installed(self) -> bool:
        """Whether the hook is in the settings. Raises HookError."""
        return self._is_in(self._parse(self._read()))

    def _is_ours(self, one: Any) -> bool:
        return isinstance(one, dict) and one.get("type") == "command" and one.get("command") == self.command

    def _groups(self, settings: dict[str, Any]) -> list[Any]:
        hooks = settings.get("hooks")
        groups = hooks.get(EVENT) if isinstance(hooks, dict) else None
        return groups if isinstance(groups, list) else []

    def _is_in(self, settings: dict[str, Any]) -> bool:
        found = (one.get("hooks") for one in self._groups(settings) if isinstance(one, dict))
        return any(self._is_ours(each) for hooks in found if isinstance(hooks, list) for each in hooks)

    def _take_out(self, settings: dict[str, Any]) -> None:
        groups = self._groups(settings)
        for group in groups:
            if isinstance(group, dict) and isinstance(group.get("hooks"), list):
                group["hooks"] = [one for one in group["hooks"] if not self._is_ours(one)]
        groups[:] = [one for one in groups if not isinstance(one, dict) or one.get("hooks") != []]
        if not groups:
            del settings["hooks"][EVENT]
        if not settings["hooks"]:
            del settings["hooks"]

    def _read(self) -> bytes:
        try:
            data = self.settings.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise HookError(f"{error.filename}: {error.strerror}") from error
        if len(data) > MAX_SETTINGS:
            raise HookError(f"{self.settings} is over {MAX_SETTINGS} bytes")
        return data

    def _parse(self, data: bytes) -> dict[str, Any]:
        try:
            found = orjson.loads(data) if data.strip() else {}
        except ValueError as error:
            raise HookError(f"{self.settings} is not JSON. Fix it first.") from error
        if not isinstance(found, dict):
            raise HookError(f"{self.settings} is not a JSON object. Fix it first.")
        return found

    def _replace(self, data: bytes) -> None:
        """Replace the settings as a whole, with the same rights; a link stays one."""
        target = self.settings.resolve() if self.settings.is_symlink() else self.settings
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        draft = target.with_name(f"{target.name}.builderos-{os.getpid()}")
        _write_private(draft, data)
        draft.chmod(mode)
        draft.replace(target)


def _write_private(path: Path, data: bytes) -> None:
    with open(path, "wb", opener=open_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def describe(hook: DeskHook) -> str:
    """Return one line about the hook, for a person. Never raises."""
    try:
        if not hook.is_installed:
            return f"not installed: questions of terminals stay there ({hook.settings})"
    except HookError as error:
        return str(error)
    where = hook.data / "desk-socket"
    reach = "and reaches the server" if where.exists() else "and no server runs, so terminals ask as always"
    return f"installed in {hook.settings}, {reach}"
