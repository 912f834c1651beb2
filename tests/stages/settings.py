"""Small sections of params.yaml that fit the drawn pictures; a test changes what it is about."""

from typing import Any

import yaml

NO_CORRECTIONS = "sha256,label,dealt_as,phash,subject,official,arrival,arrived\n"
PREPARE: dict[str, Any] = {
    "files": "images/*",
    "labels_from": "pattern",
    "label_pattern": r"^(.+)_\d+\.jpg$",
    "label_file": None,
    "species": {"cat": "^[A-Z]", "dog": "^[a-z]"},
    "short_side": 40,
    "min_side": 16,
    "jpeg_quality": 95,
    "duplicate_distance": 24,
    "group_pattern": None,
    "max_rejected_share": 0.5,
}
SPLIT: dict[str, Any] = {"method": "stable", "seed": 42, "valid_share": 0.25, "test_share": 0.25}
TRAIN: dict[str, Any] = {
    "method": "fine_tune",
    "architecture": "test_resnet",
    "weights": "none",
    "weights_sha256": None,
    "image_size": 32,
    "batch_size": 8,
    "gpus": 1,
    "frozen_epochs": 1,
    "epochs": 2,
    "learning_rate": 0.005,
    "learning_rate_spread": 10.0,
    "weight_decay": 0.01,
    "loss": "cross_entropy",
    "balance": "auto",
    "metrics": ["accuracy", "error_rate", "top_5_accuracy", "macro_f1"],
    "augmentation": "standard",
    "early_stopping": None,
    "mixed_precision": "none",
    "device": "cpu",
    "seed": 42,
}
EXPORT: dict[str, Any] = {
    "opset": 18,
    "num_self_test_images": 3,
    "data_name": "Drawn pets",
    "data_license": "CC0",
    "data_url": "https://pets.example/drawn",
    "data_citation": None,
    "weights_license": "Apache-2.0",
    "intended_use": "Telling drawn breeds apart.",
    "limits": "It knows no photographs.",
}
OTHERS = """
download: {source: "sample:", checksum: null, size_bytes: null, retries: 5, timeout_seconds: 20, max_files: 1000000,
  max_bytes: 50000000000, max_ratio: 200}
evaluate: {num_top_losses: 4, num_confused_pairs: 3, num_heatmaps: 2, calibration_bins: 10, unsure_precision: 0.95,
  scratch_baseline: false, seed: 42}
"""


def params_yaml(**changes: dict[str, Any]) -> str:
    """Return a whole params.yaml; `train={"epochs": 1}` changes one value of one section."""
    sections = yaml.safe_load(OTHERS) | {"prepare": PREPARE, "split": SPLIT, "train": TRAIN, "export": EXPORT}
    merged = {name: values | changes.get(name, {}) for name, values in sections.items()}
    return yaml.safe_dump(merged, sort_keys=False)
