"""A job as all parts know it: its states, its attributes, and the types of their values."""
