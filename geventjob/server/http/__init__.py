"""HTTP: connections, heads, bodies and answers, with bounds on their size, number and time."""
