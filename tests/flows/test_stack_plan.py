"""What a stack is made of, before anything of it starts."""

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from flows.errors import StackError
from flows.services import Service
from flows.stack import main
from flows.stack_plan import Options, own_temporary_folder, planned
from tests.disks import small_disk


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_workers_share_no_temporary_folder_with_those_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()

    services = planned(tmp_path / "stack", Options()).services

    folder = tmp_path / f"petmodels-{os.getuid()}"
    assert {name: one.variables.get("TMPDIR") for name, one in services.items() if name.endswith("-1")} == {
        "cpu-1": str(folder),
        "gpu-1": str(folder),
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_temporary_folder_that_somebody_else_has_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"petmodels-{os.getuid()}").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StackError, match=rf"should be yours and is somebody else's; set TMPDIR .*-{os.getuid()}"):
        own_temporary_folder()


def test_no_stack_starts_on_a_disk_to_which_its_store_would_write_nothing(tmp_path: Path) -> None:
    """Seaweedfs starts there, and lets each upload wait without a word."""
    told = r"the disk is full: 0\.4 GB is free .* wants 0\.5; make room, .*/stack/s3$"

    with small_disk(tmp_path / "stack", num_kib=400_000) as folder, pytest.raises(StackError, match=told):
        planned(folder, Options())


def test_the_line_before_prefects_empty_last_one_says_why_a_worker_ended(tmp_path: Path) -> None:
    (tmp_path / "cpu-1.log").write_text("Traceback\nPermissionError: [Errno 13] no: '/tmp/x'\nAn exception occurred.\n")

    assert Service("cpu-1", [], {}, tmp_path).last_line() == "PermissionError: [Errno 13] no: '/tmp/x'"


def test_a_server_says_why_its_database_is_not_its_own(tmp_path: Path) -> None:
    """As one does that is older than the database."""
    words = "alembic.util.exc.CommandError: Can't locate revision identified by 'ffffffffffff'"
    (tmp_path / "server.log").write_text(
        f"Traceback\n{words}\n\nERROR:    Application startup failed. Exiting.\nServer stopped!\n"
    )

    assert Service("server", [], {}, tmp_path).last_line() == words


def test_only_pages_of_the_stacks_own_server_may_drive_it(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()

    stack = planned(tmp_path / "stack", Options())

    own = f"{stack.address},{stack.address.replace('127.0.0.1', 'localhost')}"
    assert stack.services["server"].variables["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == own


@pytest.mark.parametrize(("remote", "signs"), [("", False), ("git@example.org:team/pets.git", True)])
def test_git_signs_only_what_goes_to_another_machine(tmp_path: Path, remote: str, signs: bool) -> None:
    (tmp_path / "stack").mkdir()

    variables = planned(tmp_path / "stack", Options(git=remote or str(tmp_path))).variables

    assert ("commit.gpgSign" not in variables.values()) == signs
    assert "127.0.0.1" in variables["NO_PROXY"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--gpus -1", "argument --gpus: a number from 0 up is wanted: -1"),
        ("--port 99999", "argument --port: a port is a number from 1 to 65535: 99999"),
        ("--s3-port 0", "argument --s3-port: a port is a number from 1 to 65535: 0"),
        ("--port 8333", "Prefect and the S3 store need a port each; give --port or --s3-port another: 8333"),
        ("--port 81 --s3-port 81", "Prefect and the S3 store need a port each; give --port or --s3-port another: 81"),
    ],
)
def test_a_number_that_can_not_be_is_told_before_anything_starts(
    words: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stack", *words.split()])

    with pytest.raises(SystemExit, match="2"):
        main()

    assert capsys.readouterr().err.splitlines()[-1] == f"python -m flows.stack: error: {told}"
