"""What can stop a flow, split by who can act.

FlowError
└── StackError    the programs of `make stack` can't run as they should: another port, another folder, look at the log
"""


class FlowError(Exception):
    """Anything that these flows raise on purpose."""


class StackError(FlowError):
    """The programs of `make stack` can't run: another port, another folder, or look at the log."""
