"""What a model answers: labels in the order of their probability, and whether it is sure enough to be believed."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A label with its probability from 0 to 1, and the species that the bundle gives it, "" for none."""

    label: str
    probability: float
    species: str = ""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A model's answer for one image: the most probable labels, best first.

    `unsure` is true when the best probability lies below the bundle's threshold, which was chosen on images that
    neither trained nor tested the model; the model card says in measured numbers how often the model is right above it.
    `image` is the path, or what kind of thing was given.
    """

    image: str
    ranked: tuple[Ranked, ...]
    unsure: bool

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.ranked[0].label

    @property
    def probability(self) -> float:
        """The most probable label's probability, from 0 to 1."""
        return self.ranked[0].probability

    def to_json(self) -> dict[str, Any]:
        """Return the answer as a plain JSON object."""
        ranked = [{"label": one.label, "probability": one.probability, "species": one.species} for one in self.ranked]
        return {"image": self.image, "label": self.label, "probability": self.probability, "unsure": self.unsure,
                "ranked": ranked}  # fmt: skip
