"""What becomes of a challenger: published or not, promoted or not, and all of it once, whoever dies in between.

Reads a workspace and the registry; leaves a version, an alias that may have moved, and, of a challenger that was
refused, a note in the workspace, so that it isn't judged again until something changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import pipeline, records
from flows.announcing import announce, announce_move
from flows.dvc_lock import check_lock
from flows.errors import RequestError
from flows.evidence import BUNDLE, files_of
from flows.gate import Decision
from flows.outcome import without_secrets
from flows.refusals import is_refused, note_refusal
from flows.workspace import Workspace
from petmodels import Manifest, Origin, Registry
from petmodels.errors import NotFoundError
from petmodels.listing import listing

_NEWEST = 10


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A challenger in a workspace, for a model of a registry and the alias that it wants to have."""

    registry: Registry
    model: str
    alias: str
    w: Workspace
    key_file: Path | None = None

    def published(self) -> Manifest | None:
        """Return the version, among the newest ones, that has the workspace's very outputs, byte for byte."""
        wanted = _bundle_hash(self.w.text(pipeline.LOCK))
        try:
            numbers = self.registry.versions(self.model, limit=_NEWEST)
        except NotFoundError:
            return None
        listed = listing(self.registry.storage, self.model, numbers, ())  # aliases, of which one may be broken, aside
        found: Sequence[Manifest] = [one.manifest for one in listed if one.manifest]
        alike = [one for one in found if one.dvc_lock and _is_of(one, wanted)]
        # Its lock is what its publisher says. Other bytes under the same lock are another version.
        files = files_of(self.w.folder / BUNDLE) if alike else {}
        return next((one for one in alike if {file.path: file.sha256 for file in one.files} == files), None)

    def is_refused(self) -> bool:
        """Say whether the gate has refused this challenger before, with this champion, these rules and this code."""
        return self._is_refused(self.champion())

    def awaits_promotion(self, version: Manifest, *, force: bool = False) -> bool:
        """Say whether a run may have died between publishing this version and promoting it, or is told to judge it.

        One that the alias has named before was taken back by somebody, and is not for a flow to bring again; nor is one
        older than the champion: it would be judged without being counted among the champion's challengers.
        """
        steps = self._steps()
        champion = next(iter(steps[-1:]), None)
        if version.version in steps or version.version < (champion or 0):
            return False
        return force or (self._says_so(version, champion) and not self._is_refused(champion))

    def nothing_new(self, version: Manifest) -> str:
        """Return the sentence of a run that has found nothing to do."""
        return f"nothing to do: {version.name} is what {self.w.commit[:7]} gives"

    def finish(self, version: Manifest, decision: Decision) -> str:
        """End what a killed run began, if the gate says it again: whoever may publish can write any message.

        If it doesn't, that is noted like a refusal, so that not every run asks again.
        """
        if decision.outcome != "promote":
            if self._says_so(version, self.champion()):
                self._refuse(decision)
            return f"{version.name} stays without {self.alias}: {decision.sentence}"
        return promoted(self, version, decision.sentence, decision.champion)

    def settle(self, decision: Decision, overrides: str) -> str:
        """Do what the gate has decided; return the sentence that the run ends with."""
        if decision.outcome == "refuse":
            self._refuse(decision)
            return decision.sentence
        version = publish(self, decision, overrides, self._verdict(decision.champion))
        records.record_version(self.model, version.name, self.registry.storage.address)
        if decision.outcome == "keep":
            return f"{version.name} is {decision.sentence}"
        if self.champion() != decision.champion:
            return f"{version.name} is kept, not promoted: {self.alias} was moved while it was judged"
        return promoted(self, version, decision.sentence, decision.champion)

    def champion(self) -> int | None:
        """Return the version that the alias names, None while it doesn't exist."""
        return next(iter(self._steps()[-1:]), None)

    def _refuse(self, decision: Decision) -> None:
        announce("petmodels.challenger.refused", self.model, {"sentence": decision.sentence})
        champion = self.champion()
        if decision.is_lasting and decision.champion in (None, champion):  # else moved while it was judged
            note_refusal(self.w, self.registry.storage.address, self.model, champion)

    def _is_refused(self, champion: int | None) -> bool:
        return is_refused(self.w, self.registry.storage.address, self.model, champion)

    def _says_so(self, version: Manifest, champion: int | None) -> bool:
        """Say whether a version's message claims that it is to take this champion's place."""
        return version.message.startswith(self._verdict(champion))

    def _verdict(self, champion: int | None) -> str:
        """Return how the message of a version begins that is to take the place of this champion under this alias."""
        return f"promote {self.alias} over {f'{self.model}@{champion}' if champion else 'nothing'}: "

    def _steps(self) -> list[int]:
        """Return the versions that the alias has ever named, oldest first."""
        try:
            return [step.version for step in self.registry.alias(self.model, self.alias).steps]
        except NotFoundError:
            return []


@task(name="publish", cache_policy=NO_CACHE)
@without_secrets()
def publish(candidate: Candidate, decision: Decision, overrides: str, verdict: str) -> Manifest:
    """Publish the workspace's bundle as the model's next version; its message says what was decided."""
    begin, end = verdict if decision.outcome == "promote" else "", f"; with {overrides}" if overrides else ""
    w = candidate.w
    origin = Origin(
        message=f"{begin}{decision.sentence}{end}",
        git_commit=w.commit,
        dvc_lock=w.text(pipeline.LOCK),
        params=w.text(pipeline.PARAMS),
        key_file=candidate.key_file,
    )
    return candidate.registry.publish(w.folder / BUNDLE, candidate.model, origin).manifest


@task(name="promote", cache_policy=NO_CACHE)
@without_secrets()
def promoted(candidate: Candidate, version: Manifest, why: str, before: int | None) -> str:
    """Make the alias name a version in the place of `before`, and say so; ConflictError if it names another by now."""
    candidate.registry.promote(version.name, candidate.alias, message=why, over=before or 0)
    moved = f"moved from {version.model}@{before} to {version.name}" if before else f"names {version.name}"
    sentence = f"{candidate.alias} {moved} because {why}"
    announce_move(version.model, candidate.alias, version.version, sentence)
    return sentence


def _is_of(version: Manifest, bundle_hash: str | None) -> bool:
    try:
        check_lock(version.dvc_lock)
    except RequestError:
        return False
    return _bundle_hash(version.dvc_lock) == bundle_hash


def _bundle_hash(lock: str) -> str | None:
    return pipeline.outputs_of(lock).get(str(BUNDLE))
