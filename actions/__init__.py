"""Shipped actions, one file each."""
