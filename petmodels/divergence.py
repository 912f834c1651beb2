"""Whether what one registry holds of a model is an earlier state of what another one holds.

Only then may what it lacks be brought to it: no number then means two versions, none is given that the other one hasn't
given, and no alias has steps of its own.
"""

from petmodels.holdings import HeldAlias, Holdings


def divergence(here: Holdings, there: Holdings) -> str:
    """Return how the other registry has gone its own way, "" when it hasn't.

    Then whatever the other one knows of a number, this one knows too, or has pruned and forgotten.
    """
    model, mine = here.model, here.known()
    for number, hashes in sorted(there.known().items()):
        if not hashes & mine.get(number, hashes):
            return f"{model}@{number} is another version there"
    if there.newest > here.newest:
        return f"{model}@{there.newest} is there, which is newer than all that are here"
    for name, alias in there.aliases.items():
        mine_too = here.aliases.get(name, HeldAlias())
        if alias.error:
            return str(alias.error)
        is_broken = mine_too.error and not mine_too.data
        if not is_broken and not mine_too.data.startswith(alias.data):
            return f"{model}@{name} has steps there that are not here"
    return ""
