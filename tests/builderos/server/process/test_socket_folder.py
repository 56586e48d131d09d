"""The folder for sockets keeps what living hubs listen on, and nothing else."""

from __future__ import annotations

from pathlib import Path

from builderos.server.process.socket_folder import tidy_socket_folder
from storage.data_folder import open_data_folder


def test_sockets_of_living_hubs_and_their_programs_stay(tmp_path: Path) -> None:
    sockets = tmp_path / "short"
    sockets.mkdir()
    for name in ("alive", "alivex", "dead", "deadx"):
        (sockets / name).touch()
    with open_data_folder(tmp_path / "data") as folder:
        tidy_socket_folder(folder, sockets, {"alive"})
    assert sorted(path.name for path in sockets.iterdir()) == ["alive", "alivex"]
