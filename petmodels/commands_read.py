"""The commands that say what a registry holds: list, show, history, diff and find.

They read documents, and of files labels.json and the lists of images alone; what they found is on stdout, as tables or
as JSON.
"""

from heapq import merge
from typing import TYPE_CHECKING, Annotated, Any

import typer

from petmodels.errors import NotFoundError
from petmodels.listing import listing
from petmodels.options import JsonOption, RegistryOption, SpecArgument, registry_at
from petmodels.signing import claims
from petmodels.terminal import counted, say, show, show_json, show_table, size_text

if TYPE_CHECKING:
    from petmodels.find import Use
    from petmodels.registry import Registry


def list_versions(
    model: Annotated[str, typer.Argument(help="A model's name; without it all models are listed.")] = "",
    registry: RegistryOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the newest versions to list.")] = 10,
    json: JsonOption = False,
) -> None:
    """List the models, or a model's newest versions."""
    found = registry_at(registry)
    if model:
        # One more than is shown tells that there are more; to count them all takes a request for every thousand.
        numbers = found.versions(model, limit=limit + 1)
        rows = [_listed(one) for one in listing(found.storage, model, numbers[:limit], found.aliases(model))]
        keys = ["version", "created", "size", "files", "aliases", "message"]
    else:
        rows = [_newest(found, name) for name in found.models()]
        numbers, keys = [], ["model", "newest"]
    if json:
        show_json(rows)
    else:
        show_table(keys, [[_cell(key, row) for key in keys] for row in rows])
    if len(numbers) > limit:
        say(f"there are more; for example: --limit {10 * limit}")


def show_version(spec: SpecArgument, registry: RegistryOption = "", json: JsonOption = False) -> None:
    """Show where a version comes from, its metrics and its files."""
    found = registry_at(registry).resolve(spec)
    manifest = found.manifest
    signers, others = claims(found.statement)
    if json:
        signed = {"signed_by": signers, "signatures_that_do_not_hold": others}
        more = {"sha256": found.statement.sha256, **signed, "confirmed_at": found.confirmed_at}
        show_json({**manifest.to_json(), **more})
        return
    facts = {"version": manifest.name, "created": manifest.created, "message": manifest.message,
             "git commit": manifest.git_commit, "signed by": ", ".join(signers),
             "signature doesn't hold": ", ".join(others), "manifest": found.statement.sha256,
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
    found = registry_at(registry)
    aliases = found.aliases(model)
    if not aliases:
        found.versions(model, limit=1)  # says so when there is no such model
    # Merged and not sorted: whatever the clocks of those who took them said, an alias's steps stay in their order.
    by_alias = ([{"alias": alias.name, **vars(step)} for step in alias.steps] for alias in aliases)
    rows = list(merge(*by_alias, key=lambda row: row["at"]))
    if json:
        show_json(rows)
        return
    keys = ("alias", "serial", "at", "action", "version", "note")
    show_table(keys, [[row[key] for key in keys] for row in rows])


def diff(before: SpecArgument, after: SpecArgument, registry: RegistryOption = "", json: JsonOption = False) -> None:
    """Show what changed from one version to another."""
    found = registry_at(registry).diff(before, after)
    if json:
        show_json(vars(found))
        return
    rows: list[tuple[object, ...]] = []
    for kind, changes in (("metric", found.metrics), ("card", found.card), ("origin", found.origin)):
        rows += [(kind, key, *(_brief(value) for value in pair)) for key, pair in changes.items()]
    if found.dvc_lock:  # of which --json has the lines: after a retrain they are a page of hashes
        rows.append(("origin", "dvc.lock", "", "changed"))
    rows += [("label", label, "there", "removed") for label in found.labels[0]]
    rows += [("label", label, "", "added") for label in found.labels[1]]
    rows += [("file", path, "", word) for path, word in found.files.items()]
    show_table(("what", "name", found.before, found.after), rows)
    for line in found.params:
        show(line)


def find(
    image: Annotated[str, typer.Argument(help="An image's file, or its SHA-256.")],
    model: Annotated[str, typer.Argument(help="A model's name; without it all models are searched.")] = "",
    registry: RegistryOption = "",
    json: JsonOption = False,
) -> None:
    """Find the versions that were trained on an image or show it."""
    found = registry_at(registry).find(image, model)
    if json:
        show_json({"sha256": found.sha256, "found": [vars(one) for one in found.uses], "unknown": found.unknown})
    elif found.uses:
        keys = ("version", "aliases", "how", "what", "file")
        show_table(keys, [_use_row(one) for one in found.uses])
    for line in () if json else found.unknown:
        say(f"can't be known of {line}")
    if not found.uses:
        num_unknown = len({line.partition(":")[0] for line in found.unknown})
        gap = f"; of {counted(num_unknown, 'version')} it can't be known" if num_unknown else ""
        raise NotFoundError(f"no version's lists have this image or a copy of it{gap}: {found.sha256}")


def _use_row(one: "Use") -> tuple[str, ...]:
    what = "a copy of it" if one.is_copy else "it"
    return f"{one.model}@{one.version}", ", ".join(one.aliases), one.how, what, one.file


def _newest(registry: "Registry", model: str) -> dict[str, Any]:
    """Return a model's highest number and whether it is gone, in two requests; the newest one left could take any."""
    version = registry.newest(model)
    found = listing(registry.storage, model, [version] if version else [], [])
    return {"model": model, "newest": version, "withdrawn": "".join(_listed(one)["withdrawn"] for one in found)}


def _listed(one: Any) -> dict[str, Any]:
    told = one.tombstone.told if one.tombstone else ""
    row = {"version": one.version, "aliases": list(one.aliases), "error": one.error, "withdrawn": told}
    if one.manifest is None:
        nothing = {"created": "", "size": 0, "files": 0, "metrics": {}, "git_commit": ""}
        return {**row, **nothing, "message": one.error or told}
    made = one.manifest
    facts = {"created": made.created, "size": made.size_bytes, "files": len(made.files), "message": made.message}
    return {**row, **facts, "metrics": dict(made.metrics), "git_commit": made.git_commit}


def _cell(key: str, row: dict[str, Any]) -> str:
    value = row[key]
    if key == "newest" and row["withdrawn"]:
        return f"{value} (withdrawn)"
    if key == "size":
        return size_text(value)
    return ", ".join(value) if isinstance(value, list) else str(value if value is not None else "none")


def _brief(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
