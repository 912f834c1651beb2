"""What packages need, by the metadata of those that are installed here."""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def required(requirements: Iterable[Requirement], extras: Iterable[str] = (), *, python: str | None = None) -> set[str]:
    """Return the names of all packages that the requirements need, with these extras, and that those need in turn.

    `python` is another Python's version, such as 3.13. What is needed there and isn't installed here is in the answer;
    what that needs in turn nobody knows.
    """
    elsewhere = {"python_version": python, "python_full_version": f"{python}.0"} if python else {}
    asked = list(requirements)
    waiting = [one for extra in ("", *extras) for one in asked if _holds(one, extra, elsewhere)]
    met: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        for found in {(canonicalize_name(one.name), extra) for extra in ("", *one.extras)} - met:
            met.add(found)
            try:
                needs = map(Requirement, distribution(found[0]).requires or ())
            except PackageNotFoundError:
                if not elsewhere:
                    raise
                continue
            waiting += [need for need in needs if _holds(need, found[1], elsewhere)]
    return {name for name, _ in met}


def _holds(requirement: Requirement, extra: str, elsewhere: Mapping[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**elsewhere, "extra": extra})
