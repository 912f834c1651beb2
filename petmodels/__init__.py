"""Versioned image classifiers: publish to S3, pull, verify and predict, with nothing but Python.

    import petmodels
    model = petmodels.load("pets@production")
    print(model.predict("cat.jpg").label)

Importing this reads no other package: each name below brings what it needs when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from petmodels import errors
    from petmodels.aliases import Alias, Step
    from petmodels.comparison import Compared, Comparison, LabelAccuracy, compare
    from petmodels.diff import Diff
    from petmodels.errors import PetmodelsError
    from petmodels.find import Found, Use
    from petmodels.images import ImageLike
    from petmodels.loading import load
    from petmodels.manifest import File, Manifest
    from petmodels.model import Model
    from petmodels.predictions import Prediction, Ranked
    from petmodels.prune import Pruned
    from petmodels.publish import Origin, Published
    from petmodels.registry import Registry
    from petmodels.significance import difference_interval, mcnemar
    from petmodels.verify import Verified
    from petmodels.withdraw import Withdrawn

    __version__: str

__all__ = [
    "Alias",
    "Compared",
    "Comparison",
    "Diff",
    "File",
    "Found",
    "ImageLike",
    "LabelAccuracy",
    "Manifest",
    "Model",
    "Origin",
    "PetmodelsError",
    "Prediction",
    "Pruned",
    "Published",
    "Ranked",
    "Registry",
    "Step",
    "Use",
    "Verified",
    "Withdrawn",
    "compare",
    "difference_interval",
    "errors",
    "load",
    "mcnemar",
]

_MODULES = {
    "Alias": "aliases",
    "Compared": "comparison",
    "Comparison": "comparison",
    "Diff": "diff",
    "File": "manifest",
    "Found": "find",
    "ImageLike": "images",
    "LabelAccuracy": "comparison",
    "Manifest": "manifest",
    "Model": "model",
    "Origin": "publish",
    "PetmodelsError": "errors",
    "Prediction": "predictions",
    "Pruned": "prune",
    "Published": "publish",
    "Ranked": "predictions",
    "Registry": "registry",
    "Step": "aliases",
    "Use": "find",
    "Verified": "verify",
    "Withdrawn": "withdraw",
    "compare": "comparison",
    "difference_interval": "significance",
    "load": "loading",
    "mcnemar": "significance",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "errors":
        return import_module("petmodels.errors")
    if name == "__version__":
        from importlib.metadata import version

        return version("petmodels")
    if name not in _MODULES:
        raise AttributeError(f"module petmodels has no attribute {name!r}")
    return getattr(import_module(f"petmodels.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
