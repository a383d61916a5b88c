"""The resources of the API, a module each: what a path answers to a method."""
