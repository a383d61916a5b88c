"""Resources of the API, a module each: the responses of a path to each method."""
