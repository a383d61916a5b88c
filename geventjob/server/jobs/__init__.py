"""Jobs on the server: their attributes, their life, and their entries in the queue."""
