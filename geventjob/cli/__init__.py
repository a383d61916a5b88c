"""The commands: `geventjob`, `geventjob-server`, `geventjob-executor` and `geventjob-distributor`."""
