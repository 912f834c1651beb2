"""Tell on a model card how the model was made: from which weights, with which settings and packages.

Reads the card's fields; leaves nothing.
"""

from collections.abc import Mapping
from typing import Any

# What method `probe` leaves aside where no epochs follow the fit of the head.
_OF_EPOCHS = frozenset(
    ("batch_size", "gpus", "frozen_epochs", "epochs", "learning_rate", "learning_rate_spread", "weight_decay", "loss")
) | {"early_stopping", "mixed_precision", "seed"}


def in_effect(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training's settings without those that a head which is fitted at once leaves aside.

    Which weights were asked for is left out too: the card says which they were.
    """
    idle = {"weights_sha256"} | (_OF_EPOCHS if _is_fitted(params) else set())
    return {name: value for name, value in params.items() if name not in idle}


def made(fields: Mapping[str, Any]) -> str:
    """Return the card's section on the training, as Markdown."""
    training = "\n".join(f"| {name} | {value} |" for name, value in _shown(fields).items())
    return f"""{_beginning(fields)}{_fitting(fields)}| parameter | value |
|---|---|
{training}

{_versions(fields)}"""


def _is_fitted(params: Mapping[str, Any]) -> bool:
    return params.get("method") == "probe" and not params.get("epochs")


def _beginning(fields: Mapping[str, Any]) -> str:
    if not fields["weights_sha256"]:
        return "Begun from scratch.\n\n"
    weights = fields["training"]["weights"]
    named = "imagenet weights" if weights == "imagenet" else f"the weights of `{weights}`"
    return f"Begun with {named}, sha256 {fields['weights_sha256']}.\n\n"


def _fitting(fields: Mapping[str, Any]) -> str:
    if fields["method"] != "probe":
        return ""
    after = "then all layers learned together" if "epochs" in fields["training"] else "the body stayed as it came"
    counted = "image" if fields["training"]["balance"] == "none" else "label"
    return (
        f"The head was fitted at once, as a logistic regression in which each {counted} counts the same; {after}.\n\n"
    )


def is_balanced(settings: Mapping[str, Any]) -> bool:
    """Say whether each label counted the same in what was minimised last: the head's fit, or that of epochs."""
    return settings["balance"] == "labels" or (settings["balance"] == "auto" and "epochs" not in settings)


def _counted(fields: Mapping[str, Any]) -> str:
    after = "none" if "epochs" in fields["training"] else ""
    return ", then ".join(filter(None, ["labels" if fields["method"] == "probe" else "", after]))


def _shown(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings as texts; where one was left to the program, with what it took."""
    taken = {
        "learning_rate": fields["learning_rate"],
        "device": fields["device"],
        "mixed_precision": fields["precision"],
        "balance": _counted(fields),
    }
    shown = {}
    for name, value in fields["training"].items():
        found = taken.get(name)
        text = f"{found:.3g}" if isinstance(found, float) else found
        plain = ", ".join(value) if isinstance(value, list) else "none" if value is None else str(value)
        shown[name] = f"auto: {text}" if value == "auto" else plain
    return shown


def _versions(fields: Mapping[str, Any]) -> str:
    """Return the packages as they were installed where the model was trained, and what else was where it was exported.

    Different machines may do the two.
    """
    trained, exported = fields["versions"], fields["export_versions"]
    others = {name: number for name, number in exported.items() if trained.get(name) != number}
    return f"Trained with {_listed(trained)}. Exported with {_listed(others) or 'the same'}."


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
