"""Know the metrics that are measured on the valid side after each epoch.

Reads nothing and leaves nothing. All are fastai's own: a trained learner, which carries them, must open where this
project is not.
"""

from functools import partial
from typing import Any


def metric(name: str, num_labels: int) -> Any:
    """Return what fastai's learner takes as the metric of this name."""
    from fastai.metrics import F1Score, accuracy, error_rate, top_k_accuracy

    if name == "macro_f1":
        return F1Score(average="macro")
    if name == "top_5_accuracy":
        return partial(top_k_accuracy, k=min(5, num_labels))
    return {"accuracy": accuracy, "error_rate": error_rate}[name]
