"""Distributors: leader-elected processes that create jobs on a schedule (DESIGN.md §8)."""
