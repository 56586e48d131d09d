"""What Codex is told of the folder that it works in: whether its settings count, and its instructions if they do not.

The word on trust goes with each start, so Codex asks nobody and writes nothing into the person's own config. In a
folder that is not trusted it would leave the instructions out with the settings; they are handed over with the thread.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from bridgehub.protocol.messages import HubSpec
from bridgehub.trust.gate import Settled
from bridgehub.trust.instructions import codex_instructions
from bridgehub.trust.reading import project_folders

__all__ = ["folder_params", "trust_arguments"]


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


def folder_params(spec: HubSpec, settled: Settled) -> dict[str, Any]:
    """Return fields of `thread/start` and `thread/resume`. Reads the disk: use a thread."""
    if not settled.loads:
        return {"developerInstructions": codex_instructions(spec.workspace)}
    own = {name: spec.env[name] for name in spec.own_env if name in settled.environment and name in spec.env}
    return {"config": {"shell_environment_policy": {"set": own}}} if own else {}
