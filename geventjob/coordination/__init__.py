"""Seam 1: the queue, the election, presence and the inboxes of a fleet (DESIGN.md §4)."""
