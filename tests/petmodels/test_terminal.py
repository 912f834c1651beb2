"""What a person sees of a command, and what a script gets, whatever stdout, stderr and the terminal are."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petmodels import progress as progresses
from petmodels.progress import progress
from petmodels.registry import Registry
from petmodels.terminal import show_table
from tests.petmodels.bundles import image_bytes, make_bundle, write_files, write_json
from tests.petmodels.commands import Command

ROOT = Path(__file__).parents[2]
LETTERS = "5\u202fPM\xa0é 漢\u3000字 می\u200cخواهم 👩\u200d🔬 🫩"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Return the registry of this test's environment, with pets@1, and be in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PETMODELS_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Registry(tmp_path / "registry")
    made.publish(make_bundle(tmp_path / "bundle"), "pets")
    return made


def shell(line: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a line of bash in which `petmodels` is the command line."""
    command = f'petmodels() {{ "{sys.executable}" -m petmodels "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, check=False, env={**os.environ, **environment}, timeout=60
    )


# Letters.


def test_letters_of_any_script_are_shown_as_they_are(run: Command, bundle: Path) -> None:
    run("publish", bundle, "--model", "pets", "--message", LETTERS)

    assert run("list", "pets").data[1].endswith(f"  {LETTERS}")


def test_columns_are_aligned_by_what_letters_take_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("a", "b"), [("猫猫", 1), ("e\u0301", 2), ("cat", 3)])

    assert capsys.readouterr().out.splitlines() == ["a     b", "猫猫  1", "e\u0301     2", "cat   3"]


def on_a_terminal(line: str, **environment: str) -> bytes:
    """Return what a terminal gets of a line of bash in which `petmodels` is the command line, less its line feeds."""
    ours, its = pty.openpty()
    command = f'petmodels() {{ "{sys.executable}" -m petmodels "$@"; }}; {line}'
    with os.fdopen(ours, "rb", buffering=0) as screen:
        subprocess.run(["bash", "-c", command], stdout=its, check=True, env={**os.environ, **environment}, timeout=60)
        os.close(its)
        return screen.read(100_000).replace(b"\r\n", b"\n")


@pytest.fixture
def hebrew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a line that asks a model with Hebrew labels for two answers, in a folder with a picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    labels = {"format": 1, "labels": ["חתול", "כלב", "ארנב"], "species": {}, "unsure_below": 0.0}
    write_json(make_bundle(tmp_path / "model", self_test=False) / "labels.json", labels)
    (tmp_path / "צילום.jpg").write_bytes(image_bytes("red"))
    return "petmodels predict צילום.jpg --model ./model --top 2"


def test_predict_isolates_labels_of_other_directions(hebrew: str) -> None:
    shown = on_a_terminal(hebrew, PYTHONIOENCODING="utf-8").decode()

    label = "\u2068[א-ת]+\u2069"
    assert re.fullmatch(rf"  [\d. ]+% {label}  [\d. ]+% {label}  \u2068צילום\.jpg\u2069\n", shown)


@pytest.mark.slow
@pytest.mark.parametrize(("option", "encoding"), [("--json", "utf-8"), ("--csv", "utf-8"), ("", "iso8859-8")])
def test_nothing_is_isolated_for_programs_and_where_it_can_not_be_said(hebrew: str, option: str, encoding: str) -> None:
    line = f"{hebrew} {option}"
    in_a_pipe = shell(line, PYTHONIOENCODING=encoding).stdout

    assert "חתול" in in_a_pipe.decode(encoding)
    assert on_a_terminal(line, PYTHONIOENCODING=encoding) == in_a_pipe


def test_a_pipe_gets_no_isolates(hebrew: str) -> None:
    assert "\u2068" not in shell(hebrew, PYTHONIOENCODING="utf-8").stdout.decode()


def test_a_cell_of_another_direction_is_isolated_and_columns_stay_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)

    show_table(("label", "recall"), [("חתול", 0.5), ("cat \u202e", 1)])

    assert screen.getvalue().splitlines() == ["label  recall", "\u2068חתול\u2069   0.5", "cat \ufffd  1"]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf8:strict"])
def test_json_is_json_whatever_stdout_takes(registry: Registry, tmp_path: Path, encoding: str) -> None:
    registry.publish(make_bundle(tmp_path / "second", tag=LETTERS), "pets")

    done = shell("petmodels show pets --json", PYTHONIOENCODING=encoding)

    said = done.stdout.decode(encoding.partition(":")[0])
    assert json.loads(said)["card"]["tag"] == LETTERS
    assert (LETTERS in said) == encoding.startswith("utf")


@pytest.mark.slow
@pytest.mark.parametrize("name", [b"caf\xe9", "猫 \u202f".encode(), b"a\xff b"])
def test_pull_prints_the_folders_own_bytes(registry: Registry, name: bytes) -> None:
    done = shell('petmodels pull pets "$PLACE"', PLACE=os.fsdecode(name))

    assert (done.returncode, done.stdout) == (0, name + b"\n")
    assert Path(os.fsdecode(name), "model.onnx").exists()


# Streams that are closed, or that nobody takes anything from.


def test_where_stderr_is_closed_the_data_is_all_that_is_said(registry: Registry) -> None:
    done = shell("petmodels pull pets ./model 2>&-")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"model\n", b"")


def test_where_stdout_is_closed_nothing_is_done(registry: Registry) -> None:
    done = shell("petmodels promote pets@1 production >&-")

    told = b"petmodels: the output can't be written, stdout is closed; to throw it away: >/dev/null\n"
    assert (done.returncode, done.stderr) == (9, told)
    assert registry.aliases("pets") == []


@pytest.mark.slow
@pytest.mark.parametrize("stderr", ["2>/dev/full", "2> >(true)", "2>&-"], ids=["full", "nobody listens", "closed"])
@pytest.mark.parametrize(("words", "code"), [("promote pets@1 production", 0), ("pull pets@9", 3)])
def test_talk_that_nobody_hears_changes_no_exit_code(registry: Registry, stderr: str, words: str, code: int) -> None:
    assert shell(f"petmodels {words} {stderr}").returncode == code


# Signals.


@pytest.mark.slow
def test_ctrl_c_that_is_ignored_in_the_background_stays_ignored(registry: Registry, bundle: Path) -> None:
    Path("cat.png").write_bytes(image_bytes("red", kind="PNG"))
    command = f"trap '' INT; exec {sys.executable} -m petmodels predict cat.png - --model {bundle}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(["bash", "-c", command], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()  # the first answer is there, and now it waits for stdin
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(image_bytes("green"), timeout=60)

    assert (process.returncode, err) == (0, b"")
    assert b" green  -\n" in out


def test_ctrl_c_while_the_program_is_being_loaded_shows_no_traceback(tmp_path: Path) -> None:
    write_files(tmp_path, {"typer.py": b"import time\nprint('loading', flush=True)\ntime.sleep(60)\n"})
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "petmodels", "list"]
    with subprocess.Popen(command, **pipes, env=environment) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (-signal.SIGINT, b"")


# How far it is.


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_copy_into_a_folder_tells_how_far_it_is_before_a_file_is_done(
    folder_registry: Registry, tmp_path: Path
) -> None:
    bundle = write_files(tmp_path / "large", {"weights": bytes(3 * 2**20 + 5)})
    moved: list[int] = []

    folder_registry.publish(bundle, "pets", progress=moved.append)

    assert moved == [2**20, 2**20, 2**20, 5]


def test_elsewhere_than_on_a_terminal_lines_say_how_much_of_all_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progresses, "_EVERY_SECONDS", -1.0)

    with progress("pulling", total=5000) as told:
        told(1000)
    with progress("publishing") as told:
        told(1000)

    assert capsys.readouterr().err == "pulling: 1.0 kB of 5.0 kB\npublishing: 1.0 kB\n"


@pytest.mark.parametrize(("kind", "is_bar"), [("xterm", True), ("dumb", False)])
def test_a_terminal_that_can_not_go_back_gets_lines(kind: str, is_bar: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys, "stderr", Terminal())

    with progress("pulling", total=5000) as told:
        told(1000)
        time.sleep(0.2)

    assert ("pulling" in sys.stderr.getvalue()) == is_bar  # type: ignore[attr-defined]
    assert is_bar or sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
