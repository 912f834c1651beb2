"""The six stages of the pipeline: paths and params in, files out."""
