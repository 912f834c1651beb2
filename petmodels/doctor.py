"""`petmodels doctor`: what works from here, one line a question, and what to do about what doesn't.

Leaves the cache's folder, and in a registry where it may write `petmodels.json` if none is, and a folder's `.lock`;
nothing else.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from petmodels.cache import default_folder
from petmodels.disk import is_folder, writing
from petmodels.errors import AccessError, NotFoundError, PetmodelsError, ReadOnlyError
from petmodels.machine import check_system
from petmodels.names import ROOT_KEY, check_model
from petmodels.network import onnxruntime_here
from petmodels.options import JsonOption, RegistryOption
from petmodels.parallel import num_cores
from petmodels.signing import trusted_keys
from petmodels.storage import Storage, open_storage
from petmodels.terminal import counted, show_json, show_table, size_text
from petmodels.writable import check_root, check_writable, root_document

YES, NO, DENIED = "yes", "no", "not allowed"


@dataclass(frozen=True)
class Check:
    """A question, its answer (YES, NO or DENIED), what was found, and the exit code that an error stands for."""

    question: str
    answer: str
    found: str
    exit_code: int = 0


def doctor(
    registry: RegistryOption = "",
    model: Annotated[str, typer.Option("--model", help="Ask for this model alone, as its rights allow.")] = "",
    json: JsonOption = False,
) -> None:
    """Say what works from here. Can the registry be reached, read and written, and does the store keep its promises?

    Whoever may only read is refused to write, which is no fault; a registry that can't be read or listed is one.

    To find out, it writes petmodels.json into the registry where it may and none is, with the lock of a registry in a
    folder, makes the cache's folder, and writes a file into it that it removes again.
    """
    checks = examine(registry, model)
    if json:
        show_json([vars(check) for check in checks])
    else:
        show_table(("check", "answer", "found"), [(one.question, one.answer, one.found) for one in checks])
    failed = [one.exit_code for one in checks if one.answer == NO]
    if failed:
        raise typer.Exit(failed[0])


def examine(address: str, model: str = "") -> list[Check]:
    """Return what works from here; what can't be asked because something before it failed is left out.

    With a `model` that one is listed in the place of all, which is what its rights allow.
    """
    try:
        check_system()
    except PetmodelsError as error:
        return [Check("runs on this system", NO, str(error), error.exit_code), _check("can predict", _predicts)]
    local = [_check("cache can be used", _cache), _check("can predict", _predicts), _check("trusted keys", _keys)]
    storage = None
    try:
        storage = open_storage(address or None)
    except PetmodelsError as error:
        return [Check("registry is named", NO, str(error), error.exit_code), *local]
    checks = [_check("registry can be read", lambda: _reads(storage))]
    if checks[0].answer == YES:
        checks.append(_check("registry can be listed", lambda: _lists(storage, model)))
        # Whoever may only read is refused to write: that is no fault.
        question = "registry can be written, conditions hold"
        checks.append(_check(question, lambda: _writes(storage), is_for_all=False))
    return [*checks, *local]


def _check(question: str, ask: Callable[[], str], *, is_for_all: bool = True) -> Check:
    try:
        return Check(question, YES, ask())
    except PetmodelsError as error:
        # Credentials that aren't accepted are a fault, whatever they are used for.
        is_denied = isinstance(error, AccessError) and "not allowed" in str(error)
        return Check(question, DENIED if is_denied and not is_for_all else NO, str(error), error.exit_code)


def _reads(storage: Storage) -> str:
    data = root_document(storage)
    if data is None:
        return f"{storage.address}: nothing was published here yet"
    check_root(data, ROOT_KEY)
    return storage.address


def _lists(storage: Storage, model: str) -> str:
    if not model:
        return counted(len(list(storage.folders(""))), "model")
    is_there = any(storage.list(f"{check_model(model)}/", 1))
    return model if is_there else f"{model}: nothing was published here yet"


def _writes(storage: Storage) -> str:
    from petmodels.folder import FolderStorage

    if isinstance(storage, FolderStorage) and not is_folder(storage.root):
        raise NotFoundError(f"no such folder; check the address, or make it with mkdir: {storage.address}")
    check_writable(storage, is_replaced=True)
    return "a write that must be refused is refused, one that may be done is done"


def _cache() -> str:
    folder = default_folder()
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
    except ReadOnlyError:
        if not is_folder(folder / "blobs"):
            raise
        return f"{folder}, which may only be read: what is there is used, nothing is added or remembered"
    return f"{folder}, {size_text(shutil.disk_usage(folder).free)} free"


def _predicts() -> str:
    return f"onnxruntime {onnxruntime_here().__version__}, {counted(num_cores(), 'thread')}"


def _keys() -> str:
    keys = trusted_keys()
    return (
        f"{counted(len(keys), 'key')}, unsigned versions are refused" if keys else "none, signatures are not asked for"
    )
