"""What can stop a flow, split by who can act.

FlowError                one sentence, which becomes the flow run's state message
├── RequestError         ask for something else: a revision, version, alias or parameter that doesn't exist
├── SettingsError        set a variable of this machine's environment
├── ChampionError        what the alias names can't be used; repair it, or roll back
├── BusyError            another run works in the same folder; wait for it
├── ChildError           a program that was started failed; the text is its own telling line
│   ├── StageError       a stage of the pipeline failed; mend what its line names and run again
│   └── RemoteError      git's remote, the DVC remote or the drop can't be reached, or refuses
└── StackError           a part of `make stack` could not be started
"""


class FlowError(Exception):
    """A failure that an operator can mend; the text is one sentence."""


class RequestError(FlowError):
    """What was asked for doesn't exist."""


class SettingsError(FlowError):
    """This machine's environment lacks a variable, or gives it an impossible value."""


class ChampionError(FlowError):
    """The version that the alias names is broken: no challenger can be compared with it."""


class BusyError(FlowError):
    """Another run works in the same folder."""


class ChildError(FlowError):
    """A program that was started failed."""


class StageError(ChildError):
    """A stage of the pipeline failed."""


class RemoteError(ChildError):
    """A remote can't be reached, or refuses."""


class StackError(FlowError):
    """A part of the stack could not be started."""
