"""What a person waits for before anything happens: an import, a help text, the first answer. Whole processes, each with
the interpreter's own start, which is measured beside them.
"""

import statistics
import sys
from pathlib import Path

from tests.benchmarks.measure import MIB, Contender, Row, in_turns, limit_row, run, samples_text

TITLE = "Starting"
_IMPORT = """import resource, time
began = time.perf_counter()
import petmodels
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure the import, its memory and --help."""
    imports = [run([sys.executable, "-c", _IMPORT]).output.split() for _ in range(repeats + 1)][1:]
    resident = statistics.median(int(found[1]) for found in imports)
    commands = {
        "help": Contender(lambda: run([sys.executable, "-m", "petmodels", "--help"])),
        "nothing": Contender(lambda: run([sys.executable, "-c", "pass"])),
    }
    samples = in_turns(commands, repeats)
    figure = f"{resident / MIB:.0f} MiB"
    return [
        limit_row("`import petmodels`", [float(found[0]) for found in imports], 0.150),
        Row(what="resident after `import petmodels`", figure=figure, target="≤ 60 MB", held=resident <= 60e6),
        limit_row("`petmodels --help`", samples["help"], 0.250),
        Row(what="for comparison: `python -c pass`", figure=samples_text(samples["nothing"])),
    ]
