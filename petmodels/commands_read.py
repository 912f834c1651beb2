"""The commands that read a registry: list, show, history, pull, verify, diff, and copy to another one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from petmodels.errors import ChecksumError, RequestError
from petmodels.options import JsonOption, RegistryOption, SpecArgument, registry_at
from petmodels.terminal import progress, say, show, show_json, show_table, size_text


def list_versions(
    model: Annotated[str, typer.Argument(help="A model's name; without it all models are listed.")] = "",
    registry: RegistryOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the newest versions to list.")] = 10,
    json: JsonOption = False,
) -> None:
    """List the models, or a model's newest versions."""
    found = registry_at(registry)
    if model:
        rows = [_listed(one) for one in found.listing(model, limit=limit)]
        keys = ["version", "created", "size", "files", "aliases", "message"]
    else:
        rows = [{"model": name, "newest": found.newest(name)} for name in found.models()]
        keys = ["model", "newest"]
    if json:
        show_json(rows)
        return
    show_table(keys, [[_cell(key, row[key]) for key in keys] for row in rows])


def show_version(spec: SpecArgument, registry: RegistryOption = "", json: JsonOption = False) -> None:
    """Show where a version comes from, its metrics and its files."""
    found = registry_at(registry).resolve(spec)
    manifest = found.manifest
    signers = [one.key for one in found.statement.signatures]
    if json:
        show_json({**manifest.to_json(), "sha256": found.statement.sha256, "signed_by": signers})
        return
    facts = {"version": manifest.name, "created": manifest.created, "message": manifest.message,
             "git commit": manifest.git_commit, "signed by": ", ".join(signers), "manifest": found.statement.sha256,
             "parent": f"{manifest.model}@{manifest.parent.version}" if manifest.parent else ""}  # fmt: skip
    show_table(("what", "value"), [*(row for row in facts.items() if row[1]), *manifest.metrics.items()])
    show("")
    show_table(("file", "size", "sha256"), [(f.path, size_text(f.size_bytes), f.sha256) for f in manifest.files])


def history(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    registry: RegistryOption = "",
    json: JsonOption = False,
) -> None:
    """Show every step of every alias, oldest first."""
    aliases = registry_at(registry).aliases(model)
    rows = [{"alias": alias.name, **vars(step)} for alias in aliases for step in alias.steps]
    if json:
        show_json(rows)
        return
    keys = ("alias", "serial", "at", "action", "version", "note")
    show_table(keys, [[row[key] for key in keys] for row in rows])


def pull(
    spec: SpecArgument,
    folder: Annotated[Path | None, typer.Argument(help="Where to put it; by default a folder in the cache.")] = None,
    registry: RegistryOption = "",
    json: JsonOption = False,
) -> None:
    """Bring a version to this machine, verified; prints the folder."""
    found = registry_at(registry)
    manifest = found.manifest(spec)
    with progress(f"pulling {spec}", is_quiet=json) as told:
        target = found.pull(manifest.name, folder, progress=told)  # by its number: an alias is asked for once
    if json:
        show_json({"folder": str(target), "model": manifest.model, "version": manifest.version})
        return
    show(str(target))
    place = target if target.is_absolute() else f"./{target}"  # without a slash it would name a model
    say(f"pulled {manifest.name}; next: petmodels predict IMAGE --model {place}")


def verify(
    spec: Annotated[str, typer.Argument(help="NAME@VERSION, NAME@ALIAS or NAME.")] = "",
    registry: RegistryOption = "",
    all_versions: Annotated[bool, typer.Option("--all", help="All versions and aliases of all models.")] = False,
    json: JsonOption = False,
) -> None:
    """Read every byte again, from the store, run the self-test, and name what is broken."""
    if bool(spec) == all_versions:
        raise RequestError("give one version, or --all; for example: petmodels verify pets@7")
    found = registry_at(registry)
    with progress("verifying", is_quiet=json) as told:
        if spec:
            done = [found.verify(spec, progress=told)]
        else:
            done = [found.verify_all(model, progress=told) for model in found.models()]
    findings = [finding for one in done for finding in one.findings]
    if spec and not findings:
        findings += _self_tested(found, spec)
    counts = {"versions": sum(one.num_versions for one in done), "files": sum(one.num_files for one in done),
              "size_bytes": sum(one.size_bytes for one in done)}  # fmt: skip
    if json:
        show_json({**counts, "findings": findings})
    else:
        for finding in findings:
            show(finding)
        show(f"{counts['versions']} versions, {counts['files']} files, {size_text(counts['size_bytes'])} read again")
    if findings:
        raise ChecksumError(f"broken, do not use: {len(findings)} findings")


def diff(before: SpecArgument, after: SpecArgument, registry: RegistryOption = "", json: JsonOption = False) -> None:
    """Show what changed from one version to another."""
    found = registry_at(registry).diff(before, after)
    if json:
        show_json(vars(found))
        return
    rows: list[tuple[object, ...]] = []
    for kind, changes in (("metric", found.metrics), ("card", found.card), ("origin", found.origin)):
        rows += [(kind, key, *(_brief(value) for value in pair)) for key, pair in changes.items()]
    rows += [("label", label, "there", "removed") for label in found.labels[0]]
    rows += [("label", label, "", "added") for label in found.labels[1]]
    rows += [("file", path, "", word) for path, word in found.files.items()]
    show_table(("what", "name", found.before, found.after), rows)
    for line in found.params:
        show(line)


def copy(
    spec: SpecArgument,
    target: Annotated[str, typer.Argument(help="The other registry.")],
    registry: RegistryOption = "",
    json: JsonOption = False,
) -> None:
    """Copy a version to another registry, verified, under the same number."""
    found = registry_at(registry)
    name = found.manifest(spec).name
    with progress(f"copying {spec}", is_quiet=json) as told:
        is_new = found.copy(name, target, progress=told)
    if json:
        show_json({"version": name, "target": target, "new": is_new})
        return
    show(f"{name}: {'copied to' if is_new else 'already in'} {target}")
    say(f"done; next: petmodels promote {name} production --registry {target}")


def _listed(one: Any) -> dict[str, Any]:
    row = {"version": one.version, "aliases": list(one.aliases), "error": one.error}
    if one.manifest is None:
        return {**row, "created": "", "size": 0, "files": 0, "message": one.error, "metrics": {}}
    made = one.manifest
    facts = {"created": made.created, "size": made.size_bytes, "files": len(made.files), "message": made.message}
    return {**row, **facts, "metrics": dict(made.metrics), "git_commit": made.git_commit}


def _cell(key: str, value: Any) -> str:
    if key == "size":
        return size_text(value)
    return ", ".join(value) if isinstance(value, list) else str(value if value is not None else "none")


def _brief(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _self_tested(found: Any, spec: str) -> list[str]:
    from petmodels.bundle import MODEL
    from petmodels.errors import MachineError, SelfTestError
    from petmodels.selftest import self_test

    if MODEL not in {file.path for file in found.manifest(spec).files}:
        return []
    try:
        done = self_test(found.load(spec))
    except SelfTestError as error:
        return [str(error)]
    except MachineError as error:
        say(f"petmodels: the self-test was left out: {error}")
        return []
    say(f"self-test: {done.num_images} images answered, off by at most {done.worst:.6f}" if done else "no self-test")
    return []
