"""Files appear whole or not at all, and a disk that refuses is one clear error."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medzoo.errors import SavingError
from medzoo.files import whole


def test_a_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with whole.writing(path) as file:
        file.write(b"half")
        assert not path.exists() and len(list(tmp_path.glob(whole.PARTS))) == 1
    assert path.read_bytes() == b"half" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    whole.write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), whole.writing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_json_is_the_same_whatever_the_order_of_its_keys(tmp_path: Path) -> None:
    whole.write_json(tmp_path / "a.json", {"b": 1, "a": [2, None]})
    whole.write_json(tmp_path / "b.json", {"a": [2, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [2, None], "b": 1}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_what_is_free_and_what_to_do(tmp_path: Path, number: int) -> None:
    message = r"no space left for .*x\.png \(.*, [\d.]+ MB are free\); 3 are whole: delete something"
    with (
        pytest.raises(SavingError, match=message),
        whole.disk_errors(
            tmp_path / "x.png", SavingError, state=lambda: "3 are whole", full="delete something", denied="-"
        ),
    ):
        raise OSError(number, os.strerror(number))


def test_other_refusals_have_their_own_advice(tmp_path: Path) -> None:
    with (
        pytest.raises(
            SavingError, match=r"cannot be written \(Permission denied\); nothing was written: choose another"
        ),
        whole.disk_errors(tmp_path, SavingError),
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_too_little_space_is_an_error_before_the_work(tmp_path: Path) -> None:
    whole.need_space(tmp_path, 1)
    with pytest.raises(OSError, match="MB are needed") as caught:
        whole.need_space(tmp_path, 10**18)
    assert whole.is_full(caught.value)


def killed_while_writing(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from medzoo.files import whole\n"
        "with whole.writing(Path(sys.argv[1])) as file:\n    file.write(b'half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)


def test_the_next_writer_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    killed_while_writing(path)
    assert len(list(tmp_path.glob(whole.PARTS))) == 1 and not path.exists()
    whole.write_bytes(path, b"whole")
    assert list(tmp_path.iterdir()) == [path]


def test_what_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with whole.writing(path) as file:
        file.write(b"first")
        whole.write_bytes(path, b"second")  # sweeps
        assert len(list(tmp_path.glob(whole.PARTS))) == 1
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def test_leftovers_of_other_names_go_when_they_are_old(tmp_path: Path) -> None:
    old, new = tmp_path / ".x.0000.part", tmp_path / ".y.0000.part"
    for part in (old, new):
        part.touch()
    os.utime(old, (0, 0))
    whole.write_bytes(tmp_path / "z", b"")
    assert not old.exists() and new.exists()


def test_many_processes_write_one_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from medzoo.files import whole\n"
        "for k in range(200): whole.write_bytes(Path(sys.argv[1]), sys.argv[2].encode() * 1000)"
    )
    path = tmp_path / "x"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), str(k)]) for k in range(4)]
    assert [process.wait(120) for process in running] == [0] * 4
    assert len(set(path.read_bytes())) == 1 and path.stat().st_size == 1000 and list(tmp_path.iterdir()) == [path]
