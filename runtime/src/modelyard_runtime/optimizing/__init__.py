"""Looks for a faster form of an image's model, during the image's build.

`python -m modelyard_runtime.optimizing --config <file>` runs in the image's own environment with
the converters added, and in a process with limits: loading a model runs whatever it holds.
"""
