"""What the drop's accepted/ and the list of arrivals have lost of each other, and how it comes back.

Reads what was listed and the rows; leaves nothing. A row is lost with a git remote that is restored older, an image
with the drop; neither shows by itself until a machine without DVC's cache retrains, or ever.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from flows.arrivals import PATH, Row
from flows.drop import ACCEPTED, Listing, name_at
from petmodels.terminal import counted

_MOST_NAMED, _MOST_ROWS = 3, 200
_DIGITS = 12  # of a SHA-256: as many as people compare
_WHERE = "(docs/operations.md, Backup and restore)"


@dataclass(frozen=True)
class Losses:
    """Accepted images without a row, by name, and rows without an accepted image; `folder` is where those should be."""

    folder: str
    unlisted: Sequence[str]
    missing: Sequence[Row]

    def lines(self) -> list[str]:
        """Return a sentence for each of the two that there is, with the way back."""
        found = []
        if self.unlisted:
            have = _have(len(self.unlisted), "accepted image")
            back = "no model learns from them until rows are brought back, or they are dropped again"
            found.append(f"{have} no row in {PATH}: {_named(self.unlisted)}; {back} {_WHERE}")
        if self.missing:
            have = _have(len(self.missing), "row")
            names = _named([name_at(row.address) for row in self.missing])
            back = "a machine that must fetch them can't retrain until they are copied back, or dropped again"
            found.append(f"{have} no image: {names}, in {self.folder}; {back} {_WHERE}")
        return found

    def to_rows(self) -> list[dict[str, str]]:
        """Return them as rows of the table of outcomes, the first ones of each."""
        columns = ("file", "label", "outcome", "reason", "address")
        unlisted = [(name, "", "no row", "", f"{self.folder}/{name}") for name in self.unlisted[:_MOST_ROWS]]
        missing = [(name_at(row.address), row.label, "no image", "", row.address) for row in self.missing[:_MOST_ROWS]]
        return [dict(zip(columns, row, strict=True)) for row in [*unlisted, *missing]]


def losses(
    drop: str, listing: Listing, *, before: Iterable[Row], after: Mapping[str, Row], healed: Set[str], gone: Set[str]
) -> Losses:
    """Compare what was listed in the drop at an address with the rows from `before` that and from `after` the run.

    `healed` are the SHA-256 of what the run has put back, `gone` those of what was withdrawn, which neither needs a row
    nor an image.
    """
    folder = f"{drop}/{ACCEPTED}"
    known, whole = after.keys() | gone, healed | gone
    settled = sorted(listing.accepted - listing.young)
    unlisted = [name for name in settled if name.partition(".")[0] not in known]
    missing = [
        row
        for row in before
        if listing.is_known
        and row.address.startswith(f"{folder}/{row.sha256}.")
        and name_at(row.address) not in listing.accepted
        and row.sha256 not in whole
    ]
    return Losses(folder, unlisted, missing)


def _have(number: int, noun: str) -> str:
    return f"{counted(number, noun)} {'has' if number == 1 else 'have'}"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name[:_DIGITS]}…" for name in names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown
