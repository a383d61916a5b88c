"""Distributors: leader-elected processes that create jobs on a schedule (docs/reference/distributors.md)."""
