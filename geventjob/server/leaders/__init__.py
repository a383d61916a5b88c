"""Work that one server at a time does for all: the promoter, the rescue, the reconciler."""
