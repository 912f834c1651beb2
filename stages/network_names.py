"""Know what torchvision's and timm's names of networks stand for, and what to offer for one that is unknown.

Reads what the installed timm says of its networks; leaves nothing.
"""

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.errors import ParamsError

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

_NUM_OFFERED = 5
# How timm writes what torchvision shortens.
_IN_FULL = {
    "vit_b_": "vit_base_patch",
    "vit_l_": "vit_large_patch",
    "vit_h_": "vit_huge_patch",
    "maxvit_t": "maxvit_tiny",
}


def config(name: str) -> "PretrainedCfg | None":
    """Return what timm says of its network `name`, image size and statistics among it; None where it says nothing.

    Of an old name, which timm warns of and still takes, it says nothing itself: the one that it stands for has it.
    """
    import timm

    found: PretrainedCfg | None = timm.get_pretrained_cfg(current(name))
    return found


def current(name: str) -> str:
    """Return the name of today for an old one of timm's, any other as it is."""
    from timm.models import get_deprecated_models

    return get_deprecated_models().get(name) or name


def check_trained(name: str) -> None:
    """Raise ParamsError for a network of timm's whose weights nobody has published; torchvision has them of all."""
    import timm
    import torchvision.models

    if name in torchvision.models.list_models(module=torchvision.models) or not timm.is_model(name):
        return
    found = config(name)
    if found is None or not found.has_weights:
        raise ParamsError(
            "params.yaml: train: architecture: no ImageNet weights exist for it; set train.weights to a file or none: "
            f"{name}"
        )


def offered(name: str, known: Sequence[str]) -> str:
    """Return a phrase that offers known names for `name`, or all of them when there are fewer than ten.

    People shorten: what begins with `name` comes first, then what has it in it, the shortest first, then what is alike;
    last, for a name with a tag, what begins as it does without.
    """
    if len(known) < 10:
        return f"known: {', '.join(known)}"
    by_length = sorted(known, key=lambda one: (len(one), one))
    found = [one for one in by_length if name and one.startswith(name)]
    found += [one for one in by_length if name and name in one]
    found += difflib.get_close_matches(name, known, n=_NUM_OFFERED, cutoff=0.6)
    found += [one for one in by_length if "." in name and one.startswith(name.partition(".")[0])]
    few = list(dict.fromkeys(found))[:_NUM_OFFERED]
    return f"nearest: {', '.join(few)}" if few else f"none of the {len(known)} known names is near"


def kin(name: str) -> str:
    """Return timm's network that is most like torchvision's of this name; "" where none is.

    timm has some of them under the same name, where only a tag tells which is meant; others are written otherwise.
    """
    import timm

    tagged: list[str] = timm.list_pretrained(f"{name}.*")
    if tagged:
        return next((one for one in tagged if one.endswith(".tv_in1k")), tagged[0])
    short = next((one for one in _IN_FULL if name.startswith(one)), "")
    wanted = _IN_FULL.get(short, "") + name.removeprefix(short)
    known: list[str] = [one for one in timm.list_models() if timm.is_model_pretrained(one)]
    begun = [one for one in known if one.replace("_", "").startswith(wanted.replace("_", ""))]
    begun.sort(key=lambda one: (not one.endswith(("_100", "_224")), len(one)))  # of the usual width and size
    begun += difflib.get_close_matches(wanted, known, n=1, cutoff=0.7)
    return begun[0] if begun else ""
