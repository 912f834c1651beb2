"""Processes that do the same step of a registry at the same moment.

Run as a script with one JSON order: forks `processes` of them, lets all begin at once, and answers with a JSON list of
what each returned, or of the error's class and text. Forking saves importing botocore for each of them.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from petmodels.errors import ConflictError, NotFoundError, PetmodelsError
from petmodels.names import spec_of
from petmodels.registry import Registry
from petmodels.s3 import S3Storage


def publish(order: dict[str, Any], number: int) -> Any:
    """Publish `each` bundles that nobody else has, one after the other; all share a file."""
    registry = _registry(order, number)
    numbers = []
    for one in range(order["each"]):
        folder = Path(order["folder"]) / f"bundle-{number}-{one}"
        folder.mkdir(parents=True)
        (folder / "shared").write_bytes(b"shared by all")
        (folder / "own").write_text(f"{number} {one}")
        numbers.append(registry.publish(folder, "pets").manifest.version)
    return numbers


def promote(order: dict[str, Any], number: int) -> Any:
    """Promote the version with one's own number."""
    return len(_registry(order, number).promote(f"pets@{number + 1}", "production").steps)


def rollback(order: dict[str, Any], number: int) -> Any:
    return len(_registry(order, number).rollback("pets", "production").steps)


def publish_again(order: dict[str, Any], number: int) -> Any:
    """Publish a few bundles again and again, so that blobs that a prune deletes come back; return the new versions."""
    registry = _registry(order, number)
    bundles = sorted(Path(order["bundles"]).iterdir())
    done = [registry.publish(bundles[(number + i) % len(bundles)], "pets") for i in range(6)]
    return [one.manifest.version for one in done if one.is_new]


def prune_or_publish(order: dict[str, Any], number: int) -> Any:
    """Let every fourth prune until the others are done, and the others publish."""
    if number % 4:
        return publish_again(order, number)
    registry = _registry(order, number)
    return [list(registry.prune("pets", keep=1, is_dry=False).versions) for _ in range(6)]


def promote_or_withdraw(order: dict[str, Any], number: int) -> Any:
    """Let every second give each version an alias of its own, and the others withdraw them; return what came of it."""
    registry, told = _registry(order, number), []
    for version in range(1, order["versions"] + 1):
        try:
            if number % 2:
                registry.promote(f"pets@{version}", f"alias-{version}-{number}")
            else:
                registry.withdraw(f"pets@{version}", "asked for", is_dry=False)
            told.append([version, "promoted" if number % 2 else "withdrawn"])
        except PetmodelsError as error:
            told.append([version, type(error).__name__])
    return told


def prune_withdraw_or_publish(order: dict[str, Any], number: int) -> Any:
    """Let every fourth prune until the others are done, the next one withdraw what it finds, and the others publish."""
    if number % 4 != 1:
        return prune_or_publish(order, number)
    registry, withdrawn = _registry(order, number), []
    for _ in range(6):
        version = registry.versions("pets")[: 1 + number // 4 % 2][-1]  # a prune may have left one alone
        try:
            registry.withdraw(f"pets@{version}", "asked for", is_dry=False)
            withdrawn.append(version)
        except (ConflictError, NotFoundError):
            continue
    return withdrawn


def pull(order: dict[str, Any], number: int) -> Any:
    """Pull through one shared cache, into one folder each, or into one for all."""
    target = Path(order["target"].format(number=number))
    return str(_registry(order, 0).pull(order["spec"], target))


def resolve(order: dict[str, Any], number: int) -> Any:
    registry = _registry(order, 0)
    return [registry.resolve(str(spec_of(order["spec"]))).manifest.version for _ in range(5)]


STEPS: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "publish": publish, "promote": promote, "rollback": rollback, "prune_or_publish": prune_or_publish, "pull": pull,
    "resolve": resolve, "promote_or_withdraw": promote_or_withdraw,
    "prune_withdraw_or_publish": prune_withdraw_or_publish,
}  # fmt: skip


def race(step: str, processes: int, **order: Any) -> list[Any]:
    """Run the order in another process and return what each of its processes returned."""
    order |= {"step": step, "processes": processes}
    command = [sys.executable, "-m", "tests.petmodels.race_runner", json.dumps(order, default=str)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    answers: list[Any] = json.loads(done.stdout)
    return answers


def _registry(order: dict[str, Any], number: int) -> Registry:
    return Registry(order["address"], cache=Path(order["cache"].format(number=number)))


def main() -> None:
    """Carry out the order on the command line."""
    order = json.loads(sys.argv[1])
    assert S3Storage("any", "").client  # the forked processes find botocore's models loaded
    start_seconds = time.monotonic() + 0.3 + 0.02 * order["processes"]
    pipes = [_forked(order, number, start_seconds) for number in range(order["processes"])]
    answers = []
    for pipe in pipes:
        with os.fdopen(pipe) as file:
            answers.append(json.loads(file.read()))
    print(json.dumps(answers))


def _forked(order: dict[str, Any], number: int, start_seconds: float) -> int:
    readable, writable = os.pipe()
    if os.fork():
        os.close(writable)
        return readable
    try:
        time.sleep(max(0, start_seconds - time.monotonic()))
        try:
            answer = STEPS[order["step"]](order, number)
        except PetmodelsError as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writable, json.dumps(answer).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
