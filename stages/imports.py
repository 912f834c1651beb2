"""Import large packages without Python's search for garbage, in them and in what they have brought, ever after.

Reads nothing; leaves the packages imported. What a training makes later is searched as always.
"""

import gc
import sys
from importlib import import_module

from stages.cores import check_threads


def import_large(*names: str) -> None:
    """Import modules by their names, unless they are here, so that an `import` finds them.

    They make 900,000 objects that all stay: the collector, which looks through them while they come and again when
    the process ends, takes two fifths of a start's time. Raises ResourceError where they could start no threads.
    """
    if all(name in sys.modules for name in names):
        return
    check_threads()
    collects = gc.isenabled()
    gc.disable()
    try:
        for name in names:
            import_module(name)
    finally:
        gc.freeze()
        if collects:
            gc.enable()
