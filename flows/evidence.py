"""Gather what the gate decides by: champion and challenger, run by the consumer's own client on the same photographs.

Reads a workspace that has been reproduced and the registry; leaves nothing but the client's cache. The photographs are
the originals of the test side, as a consumer would send them, not the pipeline's own prepared copies.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.champion import Champion, champion_of, seen_in
from flows.tested import of_test_side
from flows.turns import network_in, network_of, turn_of
from petmodels import Model, Registry, load
from petmodels.bundle import MODEL
from petmodels.comparison import Compared, compare
from petmodels.hashing import sha256_of

BUNDLE = Path("data/bundle")
_DAY = len("2026-11-29")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known before the rules are applied; shares from 0 to 1, times in seconds, sizes in bytes.

    `metrics` are the challenger's own, from the pipeline; `tested` says of each label how many test images its card
    counts, and how many right ones. `polluting` are test images that the challenger was trained
    on. Without a `champion` the rest is empty. `records` hold both models' answers on the test photographs, one of each
    group; `unseen` those of them that the champion never saw and whose label it knows, none where it doesn't say what
    it saw; `older` those of these that arrived before the champion's day; `unread` the photographs that nobody could
    read. `lost_labels` are those that the challenger no longer knows, `new_labels` those that are new with it. It is
    the `turn`-th challenger of this champion, from 1.
    """

    metrics: Mapping[str, Any]
    polluting: tuple[str, ...]
    tested: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    champion: str = ""
    champion_version: int | None = None
    is_same_network: bool = False
    says_what_it_saw: bool = True
    lost_labels: tuple[str, ...] = ()
    new_labels: tuple[str, ...] = ()
    records: tuple[Compared, ...] = ()
    unseen: tuple[Compared, ...] = ()
    older: tuple[Compared, ...] = ()
    champion_seconds: float = 0.0
    challenger_seconds: float = 0.0
    champion_bytes: int = 0
    challenger_bytes: int = 0
    unread: tuple[str, ...] = ()
    turn: int = 1


def evidence(registry: Registry, model: str, alias: str, project: Path, number: int | None = None) -> Evidence:
    """Return the evidence on the bundle in `project` against the version that `alias` names, if there is one.

    `number` is the challenger's version, None where it isn't published. Raises ChampionError when the champion can't be
    used, and petmodels' own errors for the bundle.
    """
    bundle = project / BUNDLE
    challenger = load(bundle)
    test = _rows(project / "data/split/test.csv")
    known = [row for name in ("train", "valid") for row in _rows(project / f"data/split/{name}.csv")]
    seen = _marks(known) | (seen_in(bundle) or frozenset())
    polluting = tuple(row["source"] for row in test if _is_seen(row, seen))
    alone = Evidence(metrics=challenger.metrics, polluting=polluting, tested=of_test_side(challenger.card))
    if polluting:  # nothing that such a test side says means anything
        return alone
    champion = champion_of(registry, model, alias)
    if champion is None:
        return alone
    turn = turn_of(registry, champion.manifest, number or (registry.newest(model) or 0) + 1)
    return _against(champion, challenger, project, test, turn)


def _against(champion: Champion, challenger: Model, project: Path, test: list[dict[str, str]], turn: int) -> Evidence:
    bundle, old, day = project / BUNDLE, champion.model, champion.manifest.created[:_DAY]
    photographs = {str(_photograph(project, row)): row for row in _one_of_each(test)}
    found = compare(old, challenger, [(path, row["label"]) for path, row in photographs.items()])
    trained_on = seen_in(champion.folder)
    familiar = {row["group"] for row in test if trained_on is None or _is_seen(row, trained_on)}
    known = [one for one in found.records if one.label in old.labels]
    unseen = [one for one in known if photographs[one.image]["group"] not in familiar]
    older = (one for one in unseen if photographs[one.image].get("arrived", "") < day)
    return Evidence(
        metrics=challenger.metrics,
        polluting=(),
        champion=champion.manifest.name,
        champion_version=champion.manifest.version,
        is_same_network=network_of(bundle) == network_in(champion.manifest),
        says_what_it_saw=trained_on is not None,
        lost_labels=tuple(sorted(set(old.labels) - set(challenger.labels))),
        new_labels=tuple(sorted(set(challenger.labels) - set(old.labels))),
        records=found.records,
        unseen=tuple(unseen),
        older=tuple(older),
        champion_seconds=found.before_seconds,
        challenger_seconds=found.after_seconds,
        champion_bytes=(champion.folder / MODEL).stat().st_size,
        challenger_bytes=(bundle / MODEL).stat().st_size,
        unread=found.unread,
        turn=turn,
    )


def labels_in(project: Path) -> set[str]:
    """Return the labels of the images that `project` has dealt to its sides."""
    return {row["label"] for side in ("train", "valid", "test") for row in _rows(project / f"data/split/{side}.csv")}


def files_of(bundle: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a bundle, by its path in it."""
    return {path.relative_to(bundle).as_posix(): sha256_of(path) for path in bundle.rglob("*") if path.is_file()}


def _rows(listing: Path) -> list[dict[str, str]]:
    if not listing.exists():
        return []
    with listing.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _one_of_each(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the first row of each group: copies of a picture all say the same, and would make luck look like none."""
    first: dict[str, dict[str, str]] = {}
    for row in rows:
        first.setdefault(row["group"], row)
    return list(first.values())


def _marks(rows: list[dict[str, str]]) -> frozenset[str]:
    """Return the hashes of images and of the groups that hold their near-duplicates."""
    return frozenset(row[key] for row in rows for key in ("sha256", "group") if row.get(key))


def _is_seen(row: dict[str, str], seen: frozenset[str]) -> bool:
    return row["sha256"] in seen or row["group"] in seen


def _photograph(project: Path, row: dict[str, str]) -> Path:
    """Return the original, or the prepared copy where the original's name can't be spelled in the index."""
    original = project / "data/raw" / row["source"]
    return original if original.is_file() else project / "data/prepared" / row["path"]
