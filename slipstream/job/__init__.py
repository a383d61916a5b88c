"""Modules of SlipStream's job engine for its actions and distributors, which so run unchanged.

Only names that these files use exist. `slipstream` is a namespace: `slipstream.api` may be installed beside `job`.
"""
