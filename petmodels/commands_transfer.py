"""The commands that take every byte of a version: pull to this machine, copy or mirror to another registry,
verify, repair.

Each shows on stderr how far it is, unless it prints JSON.
"""

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from petmodels.errors import ChecksumError, UsageError
from petmodels.options import JsonOption, RegistryOption, SpecArgument, registry_at, where
from petmodels.progress import progress
from petmodels.terminal import counted, say, show, show_json, show_path, size_text


def pull(
    spec: SpecArgument,
    folder: Annotated[Path | None, typer.Argument(help="Where to put it; by default a folder in the cache.")] = None,
    registry: RegistryOption = "",
    json: JsonOption = False,
) -> None:
    """Bring a version to this machine, verified; prints the folder."""
    found = registry_at(registry)
    manifest = found.manifest(spec)
    with progress(f"pulling {spec}", total=manifest.size_bytes, is_quiet=json) as told:
        target = found.pull(manifest.name, folder, progress=told)  # by its number: an alias is asked for once
    if json:
        show_json({"folder": str(target), "model": manifest.model, "version": manifest.version})
        return
    show_path(target)
    place = str(target) if target.is_absolute() else f"./{target}"  # without a slash it would name a model
    say(f"pulled {manifest.name}; next: petmodels predict IMAGE --model {quote(place)}")


def copy(
    spec: SpecArgument,
    target: Annotated[str, typer.Argument(help="The other registry.")],
    registry: RegistryOption = "",
    json: JsonOption = False,
) -> None:
    """Copy a version to another registry. Verified, and under the same number."""
    found = registry_at(registry)
    manifest = found.manifest(spec)
    name = manifest.name
    with progress(f"copying {spec}", total=manifest.size_bytes, is_quiet=json) as told:
        is_new = found.copy(name, target, progress=told)
    if json:
        show_json({"version": name, "target": target, "new": is_new})
        return
    show(f"{name}: {'copied to' if is_new else 'already in'} {target}")
    say(f"done; next: petmodels promote {name} production{where(target)}")


def mirror(
    target: Annotated[str, typer.Argument(help="The other registry, a backup of this one.")],
    registry: RegistryOption = "",
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Only this model; may be given several times.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring a whole registry to another one. Versions, withdrawals, and aliases with their history."""
    found = registry_at(registry)
    with progress("mirroring", is_quiet=json) as told:
        done = found.mirror(target, models or (), progress=told)
    if json:
        show_json({"target": target, **vars(done)})
    else:
        for line in (*done.mended, *done.findings):
            show(line)
        brought = f"{counted(len(done.versions), 'version')}, {counted(len(done.withdrawn), 'withdrawal')}"
        show(f"brought to {target}: {brought}; aliases moved: {', '.join(done.aliases) or 'none'}")
    if done.findings:
        text = "not everything could be brought, the rest is there; petmodels verify --all reads what is broken here"
        raise ChecksumError(f"{text}: {counted(len(done.findings), 'finding')}")
    say(f"done; next: petmodels verify --all{where(target)}")


def repair(
    spec: SpecArgument,
    source: Annotated[str, typer.Argument(help="The registry that still has it.")],
    registry: RegistryOption = "",
    json: JsonOption = False,
) -> None:
    """Restore what a version has lost. Takes it from another registry and reads every byte again."""
    found = registry_at(registry)
    with progress(f"repairing {spec}", is_quiet=json) as told:
        mended = found.repair(spec, source, progress=told)
    if json:
        show_json({"version": spec, "source": source, "repaired": list(mended)})
        return
    for finding in mended:
        show(f"{finding}; put back")
    show(f"{spec}: {len(mended)} repaired" if mended else f"{spec}: nothing to repair")
    say(f"done; next: petmodels verify {spec}{where(registry)}")


def verify(
    spec: Annotated[str, typer.Argument(help="NAME@VERSION, NAME@ALIAS or NAME.")] = "",
    registry: RegistryOption = "",
    all_versions: Annotated[bool, typer.Option("--all", help="All versions and aliases of all models.")] = False,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="With --all: only this model; may be given several times.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check a version and name what is broken. Reads every byte from the store and runs the self-test."""
    if bool(spec) == all_versions:
        raise UsageError("give one version, or --all; for example: petmodels verify pets@7")
    if models and spec:
        raise UsageError("--model is for --all; for example: petmodels verify --all --model pets")
    found = registry_at(registry)
    with progress("verifying", is_quiet=json) as told:
        if spec:
            done = [found.verify(spec, progress=told)]
        else:
            done = [found.verify_all(model, progress=told) for model in models or found.models_seen()]
    findings = [finding for one in done for finding in one.findings]
    if spec and not findings:
        findings += _self_tested(found, spec)
    counts = {"versions": sum(one.num_versions for one in done), "files": sum(one.num_files for one in done),
              "size_bytes": sum(one.size_bytes for one in done),
              "withdrawn": sum(one.num_withdrawn for one in done)}  # fmt: skip
    if json:
        show_json({**counts, "findings": findings})
    else:
        for finding in findings:
            show(finding)
        read = f"{counted(counts['versions'], 'version')}, {counted(counts['files'], 'file')}"
        gone = f"; {counted(counts['withdrawn'], 'withdrawn version')}" if counts["withdrawn"] else ""
        show(f"{read}, {size_text(counts['size_bytes'])} read again{gone}")
    if findings:
        from petmodels.verify import MENDED_BY

        raise ChecksumError(f"broken, do not use: {counted(len(findings), 'finding')}; {MENDED_BY}")


def _self_tested(found: Any, spec: str) -> list[str]:
    from petmodels.bundle import MODEL
    from petmodels.errors import BundleError, MachineError, TrustError
    from petmodels.selftest import self_test

    if MODEL not in {file.path for file in found.manifest(spec).files}:
        return []
    try:
        done = self_test(found.load(spec))
    except TrustError as error:
        return [str(error)]
    except (BundleError, MachineError) as error:  # it never could predict, or can't here: its bytes are right
        say(f"petmodels: the self-test was left out: {error}")
        return []
    say(
        f"self-test: {counted(done.num_images, 'image')} answered, off by at most {done.worst:.6f}"
        if done
        else "no self-test"
    )
    return []
