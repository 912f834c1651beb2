"""The options that several commands share."""

import os
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from petmodels.storage import REGISTRY

if TYPE_CHECKING:
    from petmodels.registry import Registry

RegistryOption = Annotated[str, typer.Option("--registry", envvar=REGISTRY, help="s3://bucket/prefix or a folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SpecArgument = Annotated[str, typer.Argument(help="NAME@VERSION, NAME@ALIAS, or NAME for the newest.")]
MessageOption = Annotated[str, typer.Option("--message", help="Why; kept in the registry.")]


def where(address: str) -> str:
    """Return the option that names this registry in the next command, "" where the environment names it."""
    return "" if address == os.environ.get(REGISTRY, "") else f" --registry {quote(address)}"


def registry_at(address: str) -> "Registry":
    """Return the registry at an address, which tells its notices on stderr."""
    from petmodels.registry import Registry
    from petmodels.terminal import say

    return Registry(address or None, notice=lambda text: say(f"petmodels: {text}"))
