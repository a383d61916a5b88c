"""Shipped distributors, one file each."""
