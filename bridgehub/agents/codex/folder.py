"""What Codex is given about its folder: whether its settings count, and its instructions if they do not.

The decision on trust is passed at each start, so Codex asks nobody and writes nothing into the person's own config. In a
folder that is not trusted, Codex would ignore the instructions together with the settings. So the thread gets them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import attrs
import orjson

from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.trust.gate import Settled
from bridgehub.trust.instructions import codex_instructions
from bridgehub.trust.reading import project_folders

__all__ = ["FolderWords", "trust_arguments"]


def trust_arguments(spec: HubSpec, settled: Settled) -> tuple[str, ...]:
    """Return the options of `codex` that set whether the folder is trusted. Reads the disk: use a thread."""
    level = "trusted" if settled.loads else "untrusted"
    places = {spec.workspace, os.path.realpath(spec.workspace)}
    places |= {str(project_folders(Path(place))[-1]) for place in places}
    # A JSON text is the same in TOML.
    table = ", ".join(
        f'{orjson.dumps(place).decode()} = {{trust_level = "{level}"}}' for place in sorted(places)
    )
    return ("-c", f"projects={{{table}}}")


@attrs.frozen
class FolderWords:
    """What a thread gets. Codex takes `instructions` only for a new thread.

    Attributes:
        instructions: those of a folder whose settings do not count. Empty if Codex reads them itself.
        own_env: variables of the operator that the folder's settings would override.
    """

    instructions: str = ""
    own_env: dict[str, str] = attrs.field(factory=dict, repr=False)

    @classmethod
    def of(cls, spec: HubSpec, settled: Settled) -> FolderWords:
        """Return the instructions and settings of the folder. Reads the disk: use a thread."""
        if not settled.loads:
            return cls(codex_instructions(spec.workspace))
        names = settled.environment & spec.env.keys() & set(spec.own_env)
        return cls("", {name: spec.env[name] for name in names})

    @property
    def mark(self) -> str:
        """A short text that differs for different instructions. Empty if there are none."""
        return (
            hashlib.sha256(self.instructions.encode(errors="replace")).hexdigest()
            if self.instructions
            else ""
        )

    def params(self) -> dict[str, Any]:
        """Return fields of `thread/start` and `thread/resume`."""
        told: dict[str, Any] = {"developerInstructions": self.instructions} if self.instructions else {}
        if self.own_env:
            told["config"] = {"shell_environment_policy": {"set": self.own_env}}
        return told
