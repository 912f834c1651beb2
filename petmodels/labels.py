"""labels.json: what the model's outputs mean, in their order, and below which probability it counts as unsure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petmodels.documents import check_format, json_number
from petmodels.errors import FormatError
from petmodels.names import steers


@dataclass(frozen=True)
class Labels:
    """The labels in the order of the model's outputs, each one's species, and the threshold from 0 to 1."""

    names: tuple[str, ...]
    species: Mapping[str, str]
    unsure_below: float


def labels_in(content: Mapping[str, Any], where: str) -> Labels:
    """Return what labels.json says, or raise FormatError."""
    check_format(content, where)
    names, species = content.get("labels"), content.get("species", {})
    unsure_below = json_number(content.get("unsure_below", 0.0))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise FormatError(f"{where} lists no labels")
    if len(set(names)) != len(names):
        raise FormatError(f"{where} lists a label twice")
    if not isinstance(species, dict) or not all(isinstance(one, str) for one in species.values()):
        raise FormatError(f"{where} gives species that are no texts")
    # They go into terminals, tables and web pages of people who never chose the publisher.
    for text in (*names, *species, *species.values()):
        if any(map(steers, text)):
            raise FormatError(f"{where} gives a label or species with characters that can't be printed: {text!a:.80}")
    if unsure_below is None or not 0 <= unsure_below <= 1:
        raise FormatError(f"{where} gives a threshold that is no probability: {str(content['unsure_below'])[:40]}")
    return Labels(tuple(names), species, unsure_below)
