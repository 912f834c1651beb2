"""Since which version new images are counted: since the newest, or the newest one whose commit git still has.

Reads the registry and a clone; leaves nothing. A git remote that was restored older, or whose history was rewritten,
doesn't know what the versions since were made of; nor what another project has published to this model.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass

from flows.arrivals import hashes_at, listed
from flows.workspace import Workspace
from petmodels import Manifest, Registry
from petmodels.errors import NotFoundError, TrustError

_MOST_VERSIONS = 20  # a request each, and each hour


@dataclass(frozen=True)
class Base:
    """The SHA-256 of the images that aren't new, and since when they aren't, as a part of a sentence."""

    hashes: Set[str]
    since: str


def newest_version(registry: str, model: str) -> Manifest | None:
    """Return the manifest of a model's newest version, None while nothing is published."""
    try:
        return Registry(registry).manifest(model)
    except NotFoundError:
        return None


def versions_from(registry: str, newest: Manifest | None) -> Iterator[Manifest]:
    """Yield a version and the ones before it, newest first; they are read as they are asked for."""
    if not newest:
        return
    yield newest
    found = Registry(registry)
    for number in found.versions(newest.model, limit=_MOST_VERSIONS):
        if number < newest.version:
            try:
                yield found.manifest(f"{newest.model}@{number}")
            except (NotFoundError, TrustError):  # it was withdrawn or pruned, or is broken, which the audit says
                continue


def base_of(space: Workspace, versions: Iterable[Manifest], tell: Callable[[str], None]) -> Base:
    """Return what the first of these versions had whose commit git has; a commit that git has lost is told in a line.

    Where it has none of them, only what comes from now on counts: all rows would call for a retraining of images that
    the newest version may know.
    """
    newest = None
    for version in versions:
        newest = newest or version
        is_newest = version == newest
        hashes = hashes_at(space, version.git_commit, tell)
        if hashes is None or not (is_newest or version.git_commit):  # without a commit nobody knows what an old one had
            continue
        if not is_newest:
            tell(_lost(newest, f"since {version.name}"))
        return Base(hashes, f"since {version.name}")
    if newest is None:
        return Base(set(), "while no version is published")
    tell(_lost(newest, "in this run alone"))
    return Base(set(listed(space)), f"in this run (git has lost the commit of {newest.name})")


def _lost(version: Manifest, how: str) -> str:
    what = f"git has lost the commit that {version.name} was made of, so images are counted {how}"
    other = f"if another project publishes to {version.model}, give it a model of its own"
    return f"{what}; push it from a clone that has it, or, {other}: {version.git_commit}"
