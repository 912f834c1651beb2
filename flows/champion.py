"""Bring the version that an alias names to this machine, ready to be compared with, or say why it can't be.

Reads the registry; leaves nothing but the client's cache.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from flows.errors import ChampionError
from petmodels import Manifest, Model, Registry, load
from petmodels.errors import BundleError, NotFoundError, TrustError

SEEN = "seen_images.csv"
_MARKS = ("sha256", "group")


@dataclass(frozen=True, kw_only=True)
class Champion:
    """A version that an alias names: what was published, the folder with its files, and the model, loaded."""

    manifest: Manifest
    folder: Path
    model: Model


def champion_of(registry: Registry, model: str, alias: str) -> Champion | None:
    """Return what an alias names, None while it doesn't exist; ChampionError, which says what mends it, else."""
    named = f"{model}@{alias}"
    try:
        if not _exists(registry, model, alias):
            return None
        manifest = registry.manifest(named)
        folder = registry.pull(manifest.name)
    except (NotFoundError, TrustError, BundleError) as error:
        told = f"what {named} names is broken, mend it with petmodels repair or roll back, then run again: {error}"
        raise ChampionError(told) from error
    try:
        return Champion(manifest=manifest, folder=folder, model=load(folder))
    except (TrustError, BundleError) as error:
        mend = "give the workers those that it was made with, or another version the alias by release/manual"
        told = f"{manifest.name} is whole, but this worker's petmodels or libraries can't use it; {mend}: {error}"
        raise ChampionError(told) from error


def seen_in(folder: Path) -> frozenset[str] | None:
    """Return the hashes of the images that a bundle's model was trained on, and of the groups of their near-duplicates.

    None for a bundle that doesn't say so, by a list with the columns that are read here: nobody knows what it saw.
    """
    try:
        with (folder / SEEN).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not set(_MARKS) <= set(reader.fieldnames or ()):
                return None
            return frozenset(row[mark] for row in reader for mark in _MARKS if row[mark])
    except (FileNotFoundError, UnicodeDecodeError, csv.Error):
        return None


def _exists(registry: Registry, model: str, alias: str) -> bool:
    """Say whether there is this alias; the others, which may be broken, aren't read."""
    try:
        registry.alias(model, alias)
    except NotFoundError:
        return False
    return True
