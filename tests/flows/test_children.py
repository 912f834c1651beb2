"""Children: what they say, what is kept out of it, and that none outlives its owner."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from flows import telling
from flows.children import output, run
from flows.errors import ChildError, RemoteError, StageError
from flows.pipeline import steps_in
from flows.reasons import Heard, failure
from flows.telling import redacted
from stages import errors
from tests.flows.projects import git, toy_project
from tests.pictures import write_source
from tests.stages.settings import params_yaml

ROOT = Path(__file__).parents[2]
DVC_FAILED = """
import sys
print("Running stage 'prepare':")
print("prepare: 3 of 4 files can't be used; the first: a.jpg", file=sys.stderr)
print("ERROR: failed to reproduce 'prepare': failed to run: python -m stages.prepare, exited with 1", file=sys.stderr)
sys.exit(255)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_every_line_is_told_as_it_comes(tmp_path: Path) -> None:
    told: list[str] = []

    lines = run(python("import sys; print('one'); print('two', file=sys.stderr)"), tmp_path, told.append)

    assert sorted(told) == sorted(lines) == ["one", "two"]


def test_a_line_can_neither_tell_a_terminal_what_to_do_nor_pass_for_several(tmp_path: Path) -> None:
    told: list[str] = []

    lines = run(python(r"print('a\tb\x1b[2J\x07\x85\u202e')"), tmp_path, told.append)

    assert told == lines == ["a\tb" + r"\x1b[2J\x07\x85\u202e"]


@pytest.mark.slow
def test_a_data_set_writes_no_step_of_the_pipeline_and_no_line_of_its_own(tmp_path: Path) -> None:
    write_source(tmp_path / "raw/source", num_images=1, labels=("pug",))
    row = "\"x\nStage 'train' is cached\r\x1b[2JRunning stage 'evaluate':\",pug\n"
    text = f"path,label\n{row}images/pug_1.jpg,pug\n"
    (tmp_path / "raw/source/labels.csv").write_text(text, encoding="utf-8", newline="")
    settings = params_yaml(prepare={"labels_from": "csv", "label_file": "labels.csv"})
    (tmp_path / "params.yaml").write_text(settings, encoding="utf-8")
    options = {"--params": "params.yaml", "--raw": "raw", "--out": "prepared"}
    paths = [word for option, name in options.items() for word in (option, str(tmp_path / name))]
    told: list[str] = []

    lines = run([sys.executable, "-m", "stages.prepare", *paths], ROOT, told.append)

    assert steps_in(lines) == []
    assert all(line.isprintable() and line.startswith("prepare: ") for line in told), told


@pytest.mark.slow
def test_git_does_not_wait_for_ever_for_a_server_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert int(output(python("import os; print(os.environ['GIT_HTTP_LOW_SPEED_TIME'])"), tmp_path)) == 60
    monkeypatch.setenv("GIT_HTTP_LOW_SPEED_TIME", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/project.git"

        with pytest.raises(ChildError, match=r"git ls-remote: .*Operation too slow"):
            output(["git", "ls-remote", address], tmp_path)


def test_a_failed_stage_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^prepare: 3 of 4 files can't be used; the first: a\.jpg$"):
        run(python(DVC_FAILED), tmp_path, lambda _line: None)


@pytest.mark.parametrize(
    ("trace", "cause", "sentence"),
    [
        ("Updating lock file\n", "[Errno 28] No space left",
         "dvc could not do the stage prepare: [Errno 28] No space left"),
        ("", "'data' is busy, blocked by:\n  (PID 7): dvc repro", "dvc could not do the stage prepare: 'data' is busy, "
         "blocked by: (PID 7): dvc repro"),
        ("Traceback (most recent call last):\n  a line\nValueError: bad shape\n",
         "failed to run: python -m stages.prepare, exited with 1",
         "the stage prepare failed and said: ValueError: bad shape"),
        ("", "failed to run: python -m stages.prepare, exited with -9",
         "the stage prepare ended with status -9 (killed, most likely for want of memory: give the worker more, or let "
         "it use fewer cores by LOKY_MAX_CPU_COUNT; as it is, it would end so again), its last words: prepare: 3 of 9"),
        ("", "failed to run: python -m stages.prepare, exited with -11",
         "the stage prepare ended with status -11, its last words: prepare: 3 of 9"),
    ],
)  # fmt: skip
def test_a_stages_progress_is_not_told_for_the_cause(tmp_path: Path, trace: str, cause: str, sentence: str) -> None:
    said = f"prepare: 3 of 9\n{trace}ERROR: failed to reproduce 'prepare': {cause}"

    with pytest.raises(StageError) as caught:
        run(python(f"print({said!r}); raise SystemExit(255)"), tmp_path, lambda _line: None)

    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("stage", "status", "told"),
    [
        (
            "train",
            -9,
            "killed, most likely for want of memory: give the worker more, or lower train.batch_size or train",
        ),
        ("split", 137, "killed, most likely for want of memory: give the worker more; as it is"),
        ("train", 143, "it was asked to end), its last words"),
        ("evaluate", -15, "it was asked to end), its last words"),
    ],
)
def test_a_stage_that_the_system_killed_is_told_with_what_to_lower(
    tmp_path: Path, stage: str, status: int, told: str
) -> None:
    cause = f"failed to run: python -m stages.{stage}, exited with {status}"
    said = [f"{stage}: epoch 1 of 3", f"ERROR: failed to reproduce '{stage}': {cause}"]

    error = failure(Heard(["dvc", "repro"], said, said), 255, tmp_path)

    assert str(error).startswith(f"the stage {stage} ended with status {status} ({told}")


@pytest.mark.parametrize(
    ("free", "files", "told"),
    [
        (2_500_000, 9_000, "data; the disk has 2.5 MB left"),
        (5_000_000_000, 9_000, "data"),
        (5_000_000_000, 7, "data; the disk has room for 7 more files (inodes), however many bytes are free: FOLDER"),
    ],
)
def test_a_checkout_that_fails_says_how_little_room_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, files: int, told: str
) -> None:
    disk = SimpleNamespace(f_bavail=free, f_frsize=1, f_files=10_000, f_favail=files)
    monkeypatch.setattr("os.statvfs", lambda _folder: disk)
    said = (
        "> dvc pull data\nERROR: failed to pull data - Checkout failed for following targets:\ndata\nIs your cache up"
    )

    with pytest.raises(RemoteError) as caught:
        run(python(f"print({said!r}); raise SystemExit(1)"), tmp_path, lambda _line: None)

    expected = told.replace("FOLDER", str(tmp_path))
    assert str(caught.value) == f"dvc pull: failed to pull data - Checkout failed for following targets: {expected}"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("unexpected error - The AWS Access Key Id is wrong", "; the DVC remote is s3://pets/dvc"),
        ("'dvc.lock' is broken", ""),
    ],
)
def test_the_remote_is_named_where_dvc_may_have_failed_at_it(tmp_path: Path, said: str, told: str) -> None:
    printed = [f"ERROR: {said}"]

    error = failure(Heard(["dvc", "status"], printed, printed), 255, tmp_path, dvc_remote="s3://pets/dvc")

    assert str(error) == f"dvc status: {said}{told}"


def test_a_remote_that_is_away_is_told_in_gits_words(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"git clone: .*nowhere"):
        output(["git", "clone", "--quiet", str(tmp_path / "nowhere"), str(tmp_path / "clone")], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["pre-receive", "update"])
def test_what_a_hook_of_the_remote_says_is_told(tmp_path: Path, hook: str) -> None:
    project = toy_project(tmp_path)
    program = project.remote / "hooks" / hook
    program.write_text("#!/bin/sh\necho 'Policy: commits carry a ticket'\necho 'number (ask git-admins)' >&2\nexit 1\n")
    program.chmod(0o755)
    git(project.folder, "commit", "--quiet", "--allow-empty", "--message", "without a ticket")

    with pytest.raises(RemoteError) as caught:
        output(["git", "push", "--quiet", "origin", "HEAD:main"], project.folder)

    start, _, hint = str(caught.value).partition("; the remote says: ")
    assert re.fullmatch(r"git push: ! \[remote rejected\] HEAD -> main \(.*hook declined\)", start)
    assert hint == "Policy: commits carry a ticket number (ask git-admins)"


def test_a_remotes_own_reason_is_told_but_not_its_progress(tmp_path: Path) -> None:
    project = toy_project(tmp_path)
    git(project.remote, "config", "receive.maxInputSize", "10")
    git(project.folder, "commit", "--quiet", "--allow-empty", "--message", "large")

    with pytest.raises(RemoteError, match=r"\(unpacker error\); the remote says: .*maximum allowed size") as caught:
        output(["git", "push", "--progress", "origin", "HEAD:main"], project.folder)

    assert "%" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_dubious_ownership_is_told_with_gits_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    project = toy_project(tmp_path)
    for folder in (project.remote, project.folder):
        os.chown(folder, 12345, 12345)
        os.chown(folder / ".git", 12345, 12345) if (folder / ".git").exists() else None

    with pytest.raises(RemoteError) as remote:
        output(["git", "clone", "--quiet", str(project.remote), str(tmp_path / "new")], tmp_path)
    with pytest.raises(ChildError) as workspace:
        output(["git", "for-each-ref"], project.folder)

    told = f"detected dubious ownership in repository at '{project.remote}'"
    assert str(remote.value) == f"git clone: {told}; git config --global --add safe.directory {project.remote}"
    told = f"detected dubious ownership in repository at '{project.folder}'"
    assert str(workspace.value) == f"git for-each-ref: {told}; give it to the user of this worker, or empty it"


@pytest.mark.slow
@pytest.mark.parametrize("num_lines", [0, 3000])
def test_of_several_dvc_commands_the_one_that_failed_is_named(tmp_path: Path, num_lines: int) -> None:
    said = ["> dvc repro --pull", "ERROR: of a stage, told before", "> dvc push --run-cache"]
    files = "ERROR: no credentials" + num_lines * "\nERROR: failed to transfer a file"

    with pytest.raises(RemoteError, match=r"^dvc push: (no credentials|failed to transfer a file)$"):
        run(python(f"print({chr(10).join([*said, files])!r}); raise SystemExit(255)"), tmp_path, lambda _line: None)


def test_a_program_that_fails_without_a_word_is_told_by_its_status(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="ended with status 3"):
        output(python("raise SystemExit(3)"), tmp_path)


@pytest.mark.parametrize("text", ["क्\u200dष", "dog\u3000cat", "a\u00a0b", "👩\u200d👧"])
def test_letters_and_spaces_of_any_script_are_told_as_they_are(text: str) -> None:
    assert (telling.printable(text), errors.printable(text)) == (text, text)


def test_what_a_failed_program_says_steers_no_terminal(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match=r": \\x1b\[2Jno such thing$"):
        output(python("import sys; sys.exit('\\x1b[2Jno such thing')"), tmp_path)


def test_secrets_of_the_environment_and_users_in_addresses_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")

    told = redacted("denied for wJalrXUtnFEMI at https://ann:hunter2@example.org/x.git")

    assert told == "denied for *** at https://***@example.org/x.git"


def test_the_address_of_the_webhook_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows it can write to the people who are told of trouble."""
    monkeypatch.setenv("PETMODELS_NOTIFY", "https://hooks.example.org/T0/B1/x9Z")

    assert redacted("no answer: https://hooks.example.org/T0/B1/x9Z") == "no answer: ***"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://u:p@ss@host/x", "https://***@host/x"),
        ("https://u:a/b@host/x", "https://***@host/x"),
        ("https://u:a/b:c@d/e@host", "https://***@host"),
        ("to https://u:12/b, mail a@b", "to https://u:12/b, mail a@b"),
        ("s3://bucket/pets@1 http://host:4200/b/pets@2", "s3://bucket/pets@1 http://host:4200/b/pets@2"),
        ("http://[::1]:8333/pets@1 and https://host/a:b@c", "http://[::1]:8333/pets@1 and https://host/a:b@c"),
        ("https://u:a/b@host,http://host:80/pets@1", "https://***@host,http://host:80/pets@1"),
        ('{"at":"https://host","key":"a/b","by":"c@d"}', '{"at":"https://host","key":"a/b","by":"c@d"}'),
    ],
)
def test_users_in_addresses_are_not_told_whatever_their_passwords_hold(text: str, told: str) -> None:
    assert redacted(text) == told


LONG_WORDS = ["a" * 1_000_000, "://" * 300_000, "://a" * 200_000, "://u:a" * 200_000, "://u" + ":a" * 400_000]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", LONG_WORDS, ids=[text[:8] for text in LONG_WORDS])
def test_a_long_word_is_looked_through_once(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_takes_all_its_descendants_along_even_those_that_resist(
    tmp_path: Path, number: signal.Signals
) -> None:
    grandchild = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    grandchild += "open('pid', 'w').write(str(os.getpid())); time.sleep(120)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    owner = f"from pathlib import Path; from flows.children import run; run({python(child)!r}, Path.cwd(), print)"
    process = subprocess.Popen(python(owner), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    pid = _written(tmp_path / "pid")

    process.send_signal(number)
    process.wait()

    assert _ends(pid)


@pytest.mark.slow
@pytest.mark.parametrize("ended", ["the leash", "the owner"])
def test_a_stage_below_dvc_is_asked_to_end_once_and_gets_the_time_for_it(tmp_path: Path, ended: str) -> None:
    """DVC dies of the signal that the stage gets too; a second one some would take for impatience."""
    stage = f"""
import os, signal, time
os.chdir({str(tmp_path)!r})
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
open("begun", "w").write("1")
while not asked:
    time.sleep(0.01)
time.sleep(1)
open("asked", "w").write(str(len(asked)))
"""
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage!r}])"
    owner = f"from pathlib import Path; from flows.children import run; run({python(child)!r}, Path.cwd(), print)"
    process = subprocess.Popen(
        python(owner), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    _written(tmp_path / "begun")
    (leash,) = psutil.Process(process.pid).children()
    below = leash.children(recursive=True)

    (leash if ended == "the leash" else process).terminate()
    process.wait(60)

    for one in below:
        assert _ends(one.pid)
    assert (tmp_path / "asked").read_text() == "1"


def test_an_interrupted_wait_ends_the_program(tmp_path: Path) -> None:
    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(python("import time; print('here', flush=True); time.sleep(60)"), tmp_path, interrupt)

    assert time.monotonic() - began < 30


def _written(path: Path) -> int:
    for _ in range(200):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError("the grandchild didn't start")


def _ends(pid: int) -> bool:
    for _ in range(400):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
