"""What Codex is told of the folder that it works in: whether its settings count, and its instructions if they do not.

The word on trust goes with each start, so Codex asks nobody and writes nothing into the person's own config. In a
folder that is not trusted it would leave the instructions out with the settings; they are handed over with the thread.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import attrs
import orjson

from bridgehub.protocol.messages import HubSpec
from bridgehub.trust.gate import Settled
from bridgehub.trust.instructions import codex_instructions
from bridgehub.trust.reading import project_folders

__all__ = ["FolderWords", "trust_arguments"]


def trust_arguments(spec: HubSpec, settled: Settled) -> tuple[str, ...]:
    """Return the options of `codex` that say whether the folder is trusted. Reads the disk: use a thread."""
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
    """What goes with a thread. Codex takes `instructions` of a new one only.

    Attributes:
        instructions: those of a folder whose settings do not count; empty if Codex reads them itself.
        own_env: variables of the operator that the folder's settings would override.
    """

    instructions: str = ""
    own_env: dict[str, str] = attrs.field(factory=dict, repr=False)

    @classmethod
    def of(cls, spec: HubSpec, settled: Settled) -> FolderWords:
        """Read what the folder says. Reads the disk: use a thread."""
        if not settled.loads:
            return cls(codex_instructions(spec.workspace))
        names = settled.environment & spec.env.keys() & set(spec.own_env)
        return cls("", {name: spec.env[name] for name in names})

    @property
    def mark(self) -> str:
        """What tells these instructions from others; empty if there are none."""
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
