"""When, where and in what order the pipeline runs; no machine learning."""
