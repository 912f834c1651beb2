"""The commands that change a registry: publish, promote, rollback, withdraw, prune, and keygen for those who sign."""

import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from petmodels.errors import UsageError
from petmodels.names import LAST_VERSION
from petmodels.options import JsonOption, MessageOption, RegistryOption, SpecArgument, registry_at, where
from petmodels.progress import progress
from petmodels.terminal import counted, say, show, show_json, size_text

if TYPE_CHECKING:
    from petmodels.aliases import Alias

GraceOption = Annotated[float, typer.Option(help="Respect others' notes younger than this.", min=0)]


def publish(
    bundle: Annotated[Path, typer.Argument(help="The folder to publish.")],
    model: Annotated[str, typer.Option("--model", help="The model's name.")],
    registry: RegistryOption = "",
    message: MessageOption = "",
    git_commit: Annotated[str | None, typer.Option("--git-commit", help="The commit that made it, in full.")] = None,
    dvc_lock: Annotated[Path | None, typer.Option("--dvc-lock", help="The dvc.lock that made it.")] = None,
    params: Annotated[Path | None, typer.Option("--params", help="Instead of the bundle's params.yaml.")] = None,
    sign: Annotated[Path | None, typer.Option("--sign", help="A secret key made by keygen.")] = None,
    above: Annotated[
        int, typer.Option("--above", min=0, max=LAST_VERSION - 1, help="Give it a higher number than this one.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Publish a folder as the model's next version."""
    from petmodels.publish import Origin

    texts = {"git_commit": _commit(git_commit), "dvc_lock": _text(dvc_lock), "params": _text(params)}
    origin = Origin(message=message, key_file=sign, **texts)
    with progress(f"publishing {bundle}", is_quiet=json) as told:
        done = registry_at(registry).publish(bundle, model, origin, above=above, progress=told)
    manifest = done.manifest
    if json:
        facts = {"sent_bytes": done.sent_bytes, "present_bytes": done.present_bytes, "new": done.is_new}
        show_json({"model": model, "version": manifest.version, "files": len(manifest.files), **facts})
        return
    if not done.is_new:
        show(f"{manifest.name}: unchanged, this is already the newest version")
        return
    there = f" ({size_text(done.present_bytes)} already there)" if done.present_bytes else ""
    show(f"{manifest.name}: {counted(len(manifest.files), 'file')}, {size_text(manifest.size_bytes)}{there}")
    say(f"published; next: petmodels promote {manifest.name} production{where(registry)}")


def promote(
    spec: SpecArgument,
    alias: Annotated[str, typer.Argument(help="The alias to move: production, staging …")],
    registry: RegistryOption = "",
    message: MessageOption = "",
    over: Annotated[
        int | None, typer.Option("--over", min=0, help="Only if the alias names this version; 0: none yet.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make an alias name a version."""
    moved = registry_at(registry).promote(spec, alias, message=message, over=over)
    _show_alias(moved, registry, json=json)


def rollback(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    alias: Annotated[str, typer.Argument(help="The alias to move back.")],
    registry: RegistryOption = "",
    message: MessageOption = "",
    json: JsonOption = False,
) -> None:
    """Make an alias name what it named before."""
    moved = registry_at(registry).rollback(model, alias, message=message)
    _show_alias(moved, registry, json=json)


def withdraw(
    spec: Annotated[str, typer.Argument(help="NAME@VERSION.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; told to everybody who asks for the version.")],
    registry: RegistryOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it this only says what would be deleted.")] = False,
    grace_hours: GraceOption = 24.0,
    json: JsonOption = False,
) -> None:
    """Take a version back for good. Deletes its bytes; its number stays taken."""
    done = registry_at(registry).withdraw(spec, reason, is_dry=not yes, grace_hours=grace_hours)
    if json:
        show_json({**vars(done), "withdrawn": yes})
        return
    state = ("withdrawn" if yes else "would be withdrawn") if done.is_new else "is withdrawn already"
    verb = "deleted" if yes else "would delete"
    freed = f"{counted(done.num_blobs, 'blob')}, {size_text(done.size_bytes)}"
    show(f"{done.model}@{done.version}: {state}; {verb} {freed}")
    if done.num_left:
        say(f"petmodels: left because somebody's note counts on it, run it again: {counted(done.num_left, 'blob')}")
    if yes:
        say("done; other registries, caches and pulled folders may still have it: see docs/consumer.md")
    else:
        command = f"petmodels withdraw {spec} --reason {quote(reason)} --yes{where(registry)}"
        say(f"nothing was deleted; to do it: {command}")


def prune(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest versions to keep.")],
    registry: RegistryOption = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete; without it this only says what would be deleted.")
    ] = False,
    grace_hours: GraceOption = 24.0,
    json: JsonOption = False,
) -> None:
    """Delete old versions. Keeps aliased ones; takes what killed publishers left, too."""
    done = registry_at(registry).prune(model, keep=keep, is_dry=not yes, grace_hours=grace_hours)
    if json:
        show_json({**vars(done), "deleted": yes})
        return
    verb = "deleted" if yes else "would delete"
    versions = ", ".join(str(version) for version in done.versions) or "none"
    show(f"{verb} versions of {model}: {versions}")
    rest = f"{counted(done.num_uploads, 'unfinished upload')}, {counted(done.num_notes, 'dead note')}"
    show(f"{verb} {counted(done.num_blobs, 'blob')}, {size_text(done.size_bytes)}; {rest}")
    if not yes:
        say(f"nothing was deleted; to do it: petmodels prune {model} --keep {keep} --yes{where(registry)}")


def keygen(
    key: Annotated[Path, typer.Argument(help="Where to write the secret key.")] = Path("petmodels.key"),
) -> None:
    """Make a key to sign versions with; prints the public key."""
    from petmodels.signing import TRUSTED_KEYS, new_key

    public = new_key(key)
    show(public)
    say(f"the secret key is in {key}, keep it; consumers trust it with: export {TRUSTED_KEYS}={public}")


def _show_alias(moved: "Alias", registry: str, *, json: bool) -> None:
    model, name, version = moved.model, moved.name, moved.version
    if json:
        show_json({"model": model, "alias": name, "version": version, "steps": len(moved.steps)})
        return
    show(f"{model}@{name} is {model}@{version}")
    say(f"done; next: petmodels pull {model}@{name} ./model{where(registry)}")


def _commit(text: str | None) -> str:
    if text is not None and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        way = "takes a commit's whole hash, of 40 or 64 hex digits, as git rev-parse HEAD prints it"
        raise UsageError(f"--git-commit {way}: {text[:90]!r}")
    return text or ""


def _text(path: Path | None) -> str:
    from petmodels.bundle import text_of
    from petmodels.disk import is_file, is_there
    from petmodels.errors import BundleError

    if path is None:
        return ""
    if not is_file(path):
        raise BundleError(f"{'not a plain file' if is_there(path) else 'no such file'}: {path}")
    return text_of(path)
