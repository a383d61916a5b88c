"""The contract of a store, over every implementation (conftest.py)."""
