"""Two models on the same images: who is right where, over all of them and a label at a time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from petmodels.comparison import Compared
from petmodels.significance import difference_interval, mcnemar


@dataclass(frozen=True, kw_only=True)
class Paired:
    """How two models did on the same images."""

    num_images: int
    champion_right: int
    challenger_right: int
    only_champion: int
    only_challenger: int

    @property
    def p_value(self) -> float:
        return mcnemar(self.only_champion, self.only_challenger)

    @property
    def difference(self) -> float:
        return (self.only_challenger - self.only_champion) / max(self.num_images, 1)

    @property
    def interval(self) -> tuple[float, float]:
        return difference_interval(self.only_champion, self.only_challenger, self.num_images)


def paired(records: Sequence[Compared]) -> Paired:
    """Count who is right where."""
    champion = [record.before_label == record.label for record in records]
    challenger = [record.after_label == record.label for record in records]
    both = list(zip(champion, challenger, strict=True))
    return Paired(
        num_images=len(records),
        champion_right=sum(champion),
        challenger_right=sum(challenger),
        only_champion=both.count((True, False)),
        only_challenger=both.count((False, True)),
    )


def by_label(records: Sequence[Compared]) -> dict[str, Paired]:
    """Count who is right where, a label at a time; the label that the challenger loses most at comes first."""
    found: dict[str, list[Compared]] = defaultdict(list)
    for record in records:
        found[record.label].append(record)
    counts = {label: paired(of_label) for label, of_label in sorted(found.items())}
    return dict(sorted(counts.items(), key=lambda item: item[1].difference))
