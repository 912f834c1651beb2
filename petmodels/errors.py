"""What can go wrong, split by who can act; `exit_code` is what the command line exits with.

PetmodelsError                        1   one line that names the culprit and the fix, never a traceback
├── RequestError                      1   ask for something else
│   ├── UsageError                    2   the words of a command exclude each other
│   ├── AddressError                  1   a registry address, a model's or alias's name can't be understood
│   ├── BundleError                   1   the folder isn't what publish or predict needs
│   ├── NotFoundError                 3   no such registry, model, version or alias
│   │   └── WithdrawnError            3   the version was taken back for good
│   └── ImageError                    7   an image can't be read (a command goes on with the others)
├── StoreError                        5   the store did not do it
│   ├── UnreachableError              5   try again later, or from another network
│   ├── AccessError                   4   ask for rights, or renew the credentials
│   ├── ArchivedError                 5   restore the object, and take away the rule that archives it
│   ├── ConflictError                 5   somebody else was quicker; look and run again
│   └── UnsupportedStoreError         8   this store can't be written safely; choose another one
├── TrustError                        6   do not use these bytes
│   ├── FormatError                   6   a document breaks the format, or is of a newer one
│   │   └── BrokenTombstoneError      6   the version was taken back, by a document that breaks the format
│   ├── ChecksumError                 6   a file's bytes aren't the published ones
│   ├── SignatureError                6   not signed by a key that you trust
│   ├── ReplayError                   6   older or other than what this machine has already seen
│   └── SelfTestError                 6   the model doesn't answer here as it did when it was evaluated
└── MachineError                      9   this machine lacks disk space, memory, rights or a package
    └── ReadOnlyError                 9   a place on this machine's disk may not be written
"""


class PetmodelsError(Exception):
    """A failure that its reader can mend; the text is one line."""

    exit_code = 1


class RequestError(PetmodelsError):
    """What was asked for can't be had; ask for something else."""


class UsageError(RequestError):
    """The words of a command exclude each other, or one is missing."""

    exit_code = 2


class AddressError(RequestError):
    """A registry address, a specification such as `pets@7`, or a name can't be understood."""


class BundleError(RequestError):
    """A folder isn't a bundle that can be published or used to predict."""


class NotFoundError(RequestError):
    """There is no such registry, model, version or alias."""

    exit_code = 3


class WithdrawnError(NotFoundError):
    """The version was taken back for good; the text says when and why, and where to look for another one."""


class ImageError(RequestError):
    """An image can't be read."""

    exit_code = 7


class StoreError(PetmodelsError):
    """The store did not do what was asked."""

    exit_code = 5


class UnreachableError(StoreError):
    """The store did not answer, or not to the end, after all retries."""


class AccessError(StoreError):
    """The store refused: no credentials, expired or wrong ones, or no right to do this."""

    exit_code = 4


class ArchivedError(StoreError):
    """An object is kept where nobody can read it before somebody has it restored."""


class ConflictError(StoreError):
    """Somebody else changed the same thing at the same time."""


class UnsupportedStoreError(StoreError):
    """The store ignores conditional writes, so that two writers could overwrite each other."""

    exit_code = 8


class TrustError(PetmodelsError):
    """The bytes must not be used."""

    exit_code = 6


class FormatError(TrustError):
    """A document isn't what docs/registry-format.md says, or is of a newer format."""


class BrokenTombstoneError(FormatError):
    """What says that a version was taken back breaks the format; the version is no less gone for that."""


class ChecksumError(TrustError):
    """A file's bytes are not the published ones."""


class SignatureError(TrustError):
    """A version isn't signed, or not by a key that is trusted here."""


class ReplayError(TrustError):
    """The registry shows an older or another state than this machine has already seen."""


class SelfTestError(TrustError):
    """The model answers differently here than when it was evaluated."""


class MachineError(PetmodelsError):
    """This machine lacks disk space, memory, threads, rights or a package, or is of another system."""

    exit_code = 9


class ReadOnlyError(MachineError):
    """A place on this machine's disk may not be written."""
