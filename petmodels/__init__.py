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
    from petmodels.documents import Signature, Statement
    from petmodels.errors import PetmodelsError
    from petmodels.find import Found, Use
    from petmodels.image_files import Readable
    from petmodels.images import ImageLike
    from petmodels.listing import Listed
    from petmodels.loading import load
    from petmodels.manifest import File, Manifest, Parent
    from petmodels.mirror import Mirrored
    from petmodels.model import Model
    from petmodels.predictions import Prediction, Ranked
    from petmodels.prune import Pruned
    from petmodels.publish import Origin, Published
    from petmodels.registry import Registry
    from petmodels.resolve import Resolved
    from petmodels.significance import difference_interval, mcnemar
    from petmodels.tombstone import Tombstone
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
    "Listed",
    "Manifest",
    "Mirrored",
    "Model",
    "Origin",
    "Parent",
    "PetmodelsError",
    "Prediction",
    "Pruned",
    "Published",
    "Ranked",
    "Readable",
    "Registry",
    "Resolved",
    "Signature",
    "Statement",
    "Step",
    "Tombstone",
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
    "Listed": "listing",
    "Manifest": "manifest",
    "Mirrored": "mirror",
    "Model": "model",
    "Origin": "publish",
    "Parent": "manifest",
    "PetmodelsError": "errors",
    "Prediction": "predictions",
    "Pruned": "prune",
    "Published": "publish",
    "Ranked": "predictions",
    "Readable": "image_files",
    "Registry": "registry",
    "Resolved": "resolve",
    "Signature": "documents",
    "Statement": "documents",
    "Step": "aliases",
    "Tombstone": "tombstone",
    "Use": "find",
    "Verified": "verify",
    "Withdrawn": "withdraw",
    "compare": "comparison",
    "difference_interval": "significance",
    "load": "loading",
    "mcnemar": "significance",
}


if not TYPE_CHECKING:  # a type checker would take it for leave to ask for any name

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
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})
