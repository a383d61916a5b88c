"""Watch jobs, queue and fleet: the live feed, rates, failures in groups, metrics, what needs attention."""
