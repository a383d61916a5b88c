"""The campaign: the whole system under a seeded schedule of faults, and a checker of what must hold whatever fails.

`python -m tests.campaign --seed 7` runs one campaign (docs/campaign.md). `schedule` decides on the faults,
`system` runs the processes behind a `network` that can fail, `faults` carries the faults out, `clients` keeps adding
jobs, `record` holds who did what when, and `check` reads the record and the server.
"""
