"""The data folder: private, held by one process, and it says by whom."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from storage.data_folder import open_data_folder, read_holder
from storage.errors import StorageLocked, StorageUnavailable
from tests.storage.stores import LIMIT_S

_HOLD = """
import sys
from pathlib import Path
from storage.data_folder import open_data_folder
with open_data_folder(Path(sys.argv[1])) as folder:
    folder.note_address("http://127.0.0.1:8080")
    print("held", flush=True)
    sys.stdin.readline()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_private_even_if_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    path.mkdir(parents=True)
    path.chmod(0o755)
    with open_data_folder(path) as folder:
        assert mode(path) == mode(folder.hubs_path) == mode(folder.uploads_path) == 0o700
        assert mode(path / "lock") == 0o600
        assert folder.database_path.parent == folder.log_path.parent == path


def test_one_process_holds_it_and_the_next_is_told_who(tmp_path: Path) -> None:
    assert read_holder(tmp_path) is None
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(StorageLocked) as caught, open_data_folder(tmp_path):
            pass
        assert caught.value.holder == f"process {process.pid} at http://127.0.0.1:8080"
        holder = read_holder(tmp_path)
        assert holder is not None
        assert holder.is_running()
        assert holder.started_at_s == pytest.approx(psutil.Process(process.pid).create_time(), abs=1)
        process.kill()
        process.wait(LIMIT_S)
    assert not holder.is_running()
    with open_data_folder(tmp_path):
        again = read_holder(tmp_path)
        assert again is not None
        assert (again.pid, again.address, again.is_running()) == (os.getpid(), "", True)


def test_a_later_process_of_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    with open_data_folder(tmp_path):
        holder = read_holder(tmp_path)
    assert holder is not None
    earlier = type(holder)(holder.pid, holder.started_at_s - 100, "")
    assert not earlier.is_running()


def test_a_garbled_note_names_nobody(tmp_path: Path) -> None:
    with open_data_folder(tmp_path):
        (tmp_path / "lock").write_bytes(b"\xff{")
        assert read_holder(tmp_path) is None
        with pytest.raises(StorageLocked, match="another process"), open_data_folder(tmp_path):
            pass


def test_the_key_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    with open_data_folder(tmp_path) as folder:
        assert folder.read_key() is None
        folder.write_key("a" * 64)
        (tmp_path / "api-key.new").write_text("left by a crash")
        folder.key_path.chmod(0o644)
        folder.write_key("b" * 64)
        assert folder.read_key() == "b" * 64
        assert mode(folder.key_path) == 0o600
        assert sorted(os.listdir(tmp_path)) == ["api-key", "blobs", "hubs", "lock", "uploads"]


def test_a_file_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("a file")
    with pytest.raises(StorageUnavailable, match="data"), open_data_folder(path):
        pass
