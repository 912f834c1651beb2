"""What simpler ways reach on the same test images: the numbers that a model must beat to be worth its cost.

Reads and leaves nothing itself; the baseline from scratch trains in a temporary folder.
"""

import warnings
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
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaler = StandardScaler().fit(train.features)
    known, chosen_by, unseen = (scaler.transform(sample.features) for sample in (train, valid, test))
    # From one strength to the next it goes on from where it is. LogisticRegressionCV would do that too, but turns the
    # network's float32 into float64.
    model = LogisticRegression(max_iter=2000, warm_start=True)
    best = accuracy = -1.0
    # The optimiser steps with scipy's BLAS and its loss with numpy's. Each has a thread a core, which waits busily for
    # its next product while the other library's would work: four times as long as with one thread each.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # Labels with one image each on a side look to it like numbers to be predicted.
        warnings.filterwarnings("ignore", message=".*could represent a regression problem", category=UserWarning)
        for strength in STRENGTHS:
            model.set_params(C=strength).fit(known, train.labels)
            score = model.score(chosen_by, valid.labels)
            if score > best:  # among equals the strongest regularisation
                best, accuracy = score, float(model.score(unseen, test.labels))
    return accuracy
