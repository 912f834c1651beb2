"""How a version does on photographs that came after it, and whether that is less than on its test side.

Reads what was counted; leaves nothing. Pure: the same counts give the same sentence and page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from flows.artifacts import shown
from flows.newcomers import Answer
from flows.shares import percent
from flows.slipping import Tally, interval, label_limit, least_unnoticed, p_value, slip_p_value
from petmodels.terminal import counted

_MOST_LABELS, _MOST_MISNAMED, _MOST_TOLD = 200, 20, 3


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The answers of a version about newer photographs, newest first, and a tally of each label, the worst one first.

    `lacks` says why nothing can be held against its test side, "" where it can be; `without` how many photographs are
    not among them, by the reason. It slips when its p-value is at most `limit`, on `fewest` photographs or more.
    """

    version: str
    answers: Sequence[Answer]
    tallies: Sequence[Tally]
    without: Mapping[str, int]
    lacks: str
    fewest: int
    limit: float

    @property
    def num_right(self) -> int:
        return sum(one.is_right for one in self.answers)

    @property
    def expected(self) -> float:
        """How many would be right if each label were as hard as on the test side."""
        return sum(its.expected for its in self.tallies)

    @cached_property
    def p_value(self) -> float:
        """Of the two looks, at all labels' sum and at each label by itself."""
        return slip_p_value(self.tallies)

    @cached_property
    def least_unnoticed(self) -> int:
        """With how few right answers, at least, it would not be said to slip; where it isn't."""
        return least_unnoticed(self.tallies, self.limit)

    @cached_property
    def label_limit(self) -> float:
        """With which p-value, at most, a label slips by itself."""
        return label_limit(self.tallies, self.limit)

    @cached_property
    def slipping(self) -> Sequence[Tally]:
        """The labels that slip by themselves, as their sum may not; none while nothing is decided."""
        return [its for its in self.tallies if self.is_decided and p_value([its]) <= self.label_limit]

    @property
    def is_decided(self) -> bool:
        return not self.lacks and len(self.answers) >= self.fewest

    @property
    def is_slipping(self) -> bool:
        return self.is_decided and self.p_value <= self.limit

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        aside = ", ".join(f"{number} {reason}" for reason, number in self.without.items())
        return f"{self._said()}{self._meaning()}{f'; not counted: {aside}' if aside else ''}"

    @property
    def payload(self) -> dict[str, Any]:
        """The same for programs."""
        numbers = {"images": len(self.answers), "right": self.num_right, "expected": round(self.expected, 1)}
        labels = [its.label for its in self.slipping]
        return {
            "sentence": self.sentence, "version": self.version, **numbers, "p_value": self.p_value, "labels": labels,
        }  # fmt: skip

    def page(self, accepted: str) -> str:
        """Return the tallies, and the newest photographs that are misnamed, as Markdown; those lie at `accepted`."""
        parts = [f"**{shown(self.sentence)}**", *self._labels()]
        wrong = [one for one in self.answers if not one.is_right][:_MOST_MISNAMED]
        return "\n\n".join([*parts, *_misnamed(wrong, accepted)]) + "\n"

    def _labels(self) -> list[str]:
        """Return the table of the labels, with which fall of each alone would have been noticed."""
        if not self.tallies:
            return []
        rows = [["label", "photographs", "named rightly", "as on the test side", "by itself a slip"], ["---"] * 5]
        for its in self.tallies[:_MOST_LABELS]:
            test = "" if self.lacks else f"{its.expected:.1f} ({its.test_right} of {its.test_images} there)"
            noticed = _noticed(its, self.label_limit) if self.is_decided else ""
            rows.append([shown(its.label), str(its.num_images), str(its.num_right), test, noticed])
        return ["\n".join(f"| {' | '.join(row if self.is_decided else row[:-1])} |" for row in rows)]

    def _said(self) -> str:
        if not self.answers:
            return f"no photograph that {self.version} could be judged by has arrived since it was made"
        low, high = interval(self.num_right, len(self.answers))
        share = f"{percent(self.num_right / len(self.answers), 0)} %, {percent(low, 0)} to {percent(high, 0)}"
        photographs = counted(len(self.answers), "photograph")
        return f"{self.version} names {self.num_right} of {photographs} that arrived since rightly ({share})"

    def _meaning(self) -> str:
        if not self.answers:
            return ""
        if self.lacks:
            return f"; nothing says whether that is less than on its test side, because {self.lacks}"
        if not self.is_decided:
            return f"; too few to decide by ({self.fewest})"
        if self.is_slipping:
            verdict, more = "it is slipping", self._at_labels()
        elif self.num_right >= self.expected:
            verdict, more = "as expected", self._unnoticed()
        else:
            verdict, more = "the difference may be chance", self._unnoticed()
        told = f"{verdict} (p = {self.p_value:.2g}){more}"
        return f"; as on its test side it would be about {self.expected:.0f}: {told}"

    def _at_labels(self) -> str:
        """Return which labels slip by themselves; where there is but one, the sentence has said it."""
        told = (f"{its.label}: {its.num_right} of {its.num_images} for about {its.expected:.0f}"
                for its in self.slipping[:_MOST_TOLD])  # fmt: skip
        more = f" and {len(self.slipping) - _MOST_TOLD} more" if len(self.slipping) > _MOST_TOLD else ""
        return f", by itself at {', '.join(told)}{more}" if self.slipping and len(self.tallies) > 1 else ""

    def _unnoticed(self) -> str:
        """Return how far it could have fallen unnoticed: no alarm by few test images says little."""
        least, num_images = self.least_unnoticed, len(self.answers)
        told = f"a fall to below {least} of {num_images} right, each label alike, would have been called a slip"
        if not least:
            told = f"even with none of {num_images} right it would not be called a slip"
        tested = counted(sum(its.test_images for its in self.tallies), "image")
        return f"; the test side has {tested} of these labels: {told}"


def _noticed(its: Tally, limit: float) -> str:
    """Return with how few right answers a label slips by itself, or that it has too few images to."""
    least = least_unnoticed([replace(its, num_right=its.num_images)], limit)
    if least:
        return f"below {least} of {its.num_images}"
    return f"not even with none of {its.num_images}: too few images"


def _misnamed(wrong: Sequence[Answer], accepted: str) -> list[str]:
    if not wrong:
        return []
    rows = ["| arrived | label | called | photograph |", "|---|---|---|---|"]
    for one in wrong:
        cells = (one.row.arrived, one.row.label, one.said, f"{accepted}/{one.name}")
        rows.append(f"| {' | '.join(shown(cell) for cell in cells)} |")
    return ["The newest ones that it calls something else; look whether they do show what they are listed as:",
            "\n".join(rows)]  # fmt: skip
