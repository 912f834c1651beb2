"""How a version does on photographs that came after it, and whether that is less than on its test side.

Reads what was counted; leaves nothing. Pure: the same counts give the same sentence and page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flows.artifacts import shown
from flows.newcomers import Answer
from flows.shares import percent
from flows.slipping import Tally, interval, least_unnoticed, p_value
from petmodels.terminal import counted

_MOST_LABELS, _MOST_MISNAMED = 200, 20


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
        return p_value(self.tallies)

    @cached_property
    def least_unnoticed(self) -> int:
        """With how few right answers, at least, it would not be said to slip; where it isn't."""
        return least_unnoticed(self.tallies, self.limit)

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
        return {"sentence": self.sentence, "version": self.version, **numbers, "p_value": self.p_value}

    def page(self, accepted: str) -> str:
        """Return the tallies, and the newest photographs that are misnamed, as Markdown; those lie at `accepted`."""
        parts = [f"**{shown(self.sentence)}**", *_labels(self.tallies[:_MOST_LABELS], is_held=not self.lacks)]
        wrong = [one for one in self.answers if not one.is_right][:_MOST_MISNAMED]
        return "\n\n".join([*parts, *_misnamed(wrong, accepted)]) + "\n"

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
            verdict, unnoticed = "it is slipping", ""
        elif self.num_right >= self.expected:
            verdict, unnoticed = "as expected", self._unnoticed()
        else:
            verdict, unnoticed = "the difference may be chance", self._unnoticed()
        told = f"{verdict} (p = {self.p_value:.2g}){unnoticed}"
        return f"; as on its test side it would be about {self.expected:.0f}: {told}"

    def _unnoticed(self) -> str:
        """Return how far it could have fallen unnoticed: no alarm by few test images says little."""
        least, num_images = self.least_unnoticed, len(self.answers)
        told = f"a fall to below {least} of {num_images} right, each label alike, would have been called a slip"
        if not least:
            told = f"even with none of {num_images} right it would not be called a slip"
        tested = counted(sum(its.test_images for its in self.tallies), "image")
        return f"; the test side has {tested} of these labels: {told}"


def _labels(tallies: Sequence[Tally], *, is_held: bool) -> list[str]:
    if not tallies:
        return []
    rows = ["| label | photographs | named rightly | as on the test side |", "|---|---|---|---|"]
    for its in tallies:
        test = f"{its.expected:.1f} ({its.test_right} of {its.test_images} there)" if is_held else ""
        rows.append(f"| {shown(its.label)} | {its.num_images} | {its.num_right} | {test} |")
    return ["\n".join(rows)]


def _misnamed(wrong: Sequence[Answer], accepted: str) -> list[str]:
    if not wrong:
        return []
    rows = ["| arrived | label | called | photograph |", "|---|---|---|---|"]
    for one in wrong:
        cells = (one.row.arrived, one.row.label, one.said, f"{accepted}/{one.name}")
        rows.append(f"| {' | '.join(shown(cell) for cell in cells)} |")
    return ["The newest ones that it calls something else; look whether they do show what they are listed as:",
            "\n".join(rows)]  # fmt: skip
