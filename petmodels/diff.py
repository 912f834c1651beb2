"""What changed between two versions: metrics, labels, params, files and where they come from."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petmodels.manifest import Manifest

Change = tuple[Any, Any]

# Of a side's text that are compared line by line: difflib's time grows faster than the square of their number.
_MOST_LINES = 2000
_LONGEST_LINE = 10_000


@dataclass(frozen=True, kw_only=True)
class Diff:
    """The differences from one version to another; a pair is (before, after), None where it was absent.

    `labels` are (removed, added); `params` and `dvc_lock` are the lines of a unified diff, or one that says how long
    both are where one has more than 2,000 lines, or one of 10,000 characters; `files` say removed, added or changed;
    `origin` has the commit and the message. The time, the parent and the signatures, which no two have alike, are left
    out.
    """

    before: str
    after: str
    metrics: Mapping[str, Change]
    card: Mapping[str, Change]
    labels: tuple[tuple[str, ...], tuple[str, ...]]
    params: tuple[str, ...]
    dvc_lock: tuple[str, ...]
    files: Mapping[str, str]
    origin: Mapping[str, Change]


def diff(before: Manifest, after: Manifest, labels: tuple[list[str], list[str]] = ([], [])) -> Diff:
    """Return what changed; `labels` are both versions' labels, as labels.json lists them."""
    old, new = labels
    there_before, there_after = set(old), set(new)
    removed = tuple(label for label in old if label not in there_after)
    added = tuple(label for label in new if label not in there_before)
    origin = {
        key: (getattr(before, key), getattr(after, key))
        for key in ("git_commit", "message")
        if getattr(before, key) != getattr(after, key)
    }
    return Diff(
        before=before.name,
        after=after.name,
        metrics=_changes(before.metrics, after.metrics),
        card=_changes(before.card, after.card),
        labels=(removed, added),
        params=_lines("params", (before.params, after.params), (before.name, after.name)),
        dvc_lock=_lines("lines of dvc.lock", (before.dvc_lock, after.dvc_lock), (before.name, after.name)),
        files=_files(before, after),
        origin=origin,
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    keys = list(dict.fromkeys([*before, *after]))
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _lines(what: str, texts: tuple[str, str], names: tuple[str, str]) -> tuple[str, ...]:
    old, new = (text.splitlines() for text in texts)
    if old == new:
        return () if texts[0] == texts[1] else (f"{what} differ in nothing but line ends",)
    if max(len(old), len(new)) > _MOST_LINES or max(map(len, [*old, *new])) > _LONGEST_LINE:
        return (f"{what} differ: {len(old)} and {len(new)} lines",)
    return tuple(difflib.unified_diff(old, new, *names, n=0, lineterm=""))


def _files(before: Manifest, after: Manifest) -> dict[str, str]:
    old = {file.path: file.sha256 for file in before.files}
    new = {file.path: file.sha256 for file in after.files}
    words = {path: "removed" for path in old if path not in new} | {path: "added" for path in new if path not in old}
    return words | {path: "changed" for path in old if path in new and old[path] != new[path]}
