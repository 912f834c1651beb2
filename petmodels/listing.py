"""A model's newest versions as a list: their manifests, the aliases that name them, and what is broken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from petmodels.aliases import Alias
from petmodels.errors import NotFoundError, TrustError
from petmodels.manifest import Manifest, manifest_in
from petmodels.parallel import at_once
from petmodels.storage import Storage
from petmodels.tombstone import Tombstone
from petmodels.versions import read_version


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A version in a listing: its manifest, and the aliases that name it.

    One that was withdrawn has its tombstone in the manifest's place, a broken one its error.
    """

    version: int
    manifest: Manifest | None
    aliases: tuple[str, ...]
    error: str = ""
    tombstone: Tombstone | None = None


def listing(storage: Storage, model: str, versions: Iterable[int], aliases: Sequence[Alias]) -> list[Listed]:
    """Return some versions of a model in the given order, a request each; a broken one hides none of the others."""

    def listed(version: int) -> Listed:
        names = tuple(alias.name for alias in aliases if alias.version == version)
        try:
            found = read_version(storage, model, version)
            if isinstance(found, Tombstone):
                return Listed(version=version, manifest=None, aliases=names, tombstone=found)
            manifest = manifest_in(found, model, version)
            return Listed(version=version, manifest=manifest, aliases=names)
        except (TrustError, NotFoundError) as error:
            return Listed(version=version, manifest=None, aliases=names, error=str(error))

    return at_once(listed, versions, is_left_when_ended=True)
