"""HTTP: connections, authentication, request bodies and responses, with bounds on size, number and time."""
