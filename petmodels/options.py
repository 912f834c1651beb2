"""The options that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from petmodels.registry import Registry

RegistryOption = Annotated[
    str, typer.Option("--registry", envvar="PETMODELS_REGISTRY", help="s3://bucket/prefix or a folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SpecArgument = Annotated[str, typer.Argument(help="NAME@VERSION, NAME@ALIAS, or NAME for the newest.")]
MessageOption = Annotated[str, typer.Option("--message", help="Why; kept in the registry.")]


def registry_at(address: str) -> "Registry":
    """Return the registry at an address, which tells its notices on stderr."""
    from petmodels.registry import Registry
    from petmodels.terminal import say

    return Registry(address or None, notice=lambda text: say(f"petmodels: {text}"))
