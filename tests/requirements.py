"""What packages need, by the metadata of those that are installed here."""

from collections.abc import Iterable
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def required(requirements: Iterable[Requirement], extras: Iterable[str] = ()) -> set[str]:
    """Return the names of all packages that the requirements need, with these extras, and that those need in turn."""
    asked = list(requirements)
    waiting = [one for extra in ("", *extras) for one in asked if _holds(one, extra)]
    met: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        for found in {(canonicalize_name(one.name), extra) for extra in ("", *one.extras)} - met:
            met.add(found)
            needs = map(Requirement, distribution(found[0]).requires or ())
            waiting += [need for need in needs if _holds(need, found[1])]
    return {name for name, _ in met}


def _holds(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
