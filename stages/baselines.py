"""What simpler ways reach on the same test images: the numbers that a model must beat to be worth its cost.

Reads and leaves nothing itself; the baseline from scratch trains in a temporary folder.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # inverse regularisation; the valid side picks one


class Sample(NamedTuple):
    """Pooled features, images x channels, and each image's label."""

    features: npt.NDArray[np.floating]
    labels: Sequence[str]


def majority(train_labels: Sequence[str], test_labels: Sequence[str]) -> float:
    """Return the accuracy of always saying the train side's commonest breed (the first by name among equals)."""
    counts = Counter(train_labels)
    commonest = min(counts, key=lambda label: (-counts[label], label))
    return sum(label == commonest for label in test_labels) / len(test_labels)


def logistic(train: Sample, valid: Sample, test: Sample) -> float:
    """Return the test accuracy of a logistic regression on frozen features.

    It is fitted on the train side; the strength of its regularisation is the one that is best on the valid side.
    """
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import PredefinedSplit
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train.features)
    features = scaler.transform(np.concatenate([train.features, valid.features]))
    # One fold: fitted on the train side, judged on the valid side; from one strength to the next it goes on from
    # where it is, and it isn't fitted again on both sides.
    fold = PredefinedSplit([-1] * len(train.labels) + [0] * len(valid.labels))
    model = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=fold,
        refit=False,
        max_iter=2000,
        scoring="accuracy",
        use_legacy_attributes=False,
        l1_ratios=(0,),
    )
    model.fit(features, [*train.labels, *valid.labels])
    return float(model.score(scaler.transform(test.features), test.labels))
