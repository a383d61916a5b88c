"""Seam 2: where the job server keeps its documents (DESIGN.md §1)."""
