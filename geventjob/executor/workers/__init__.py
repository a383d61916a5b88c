"""Worker processes: actions with `isolation="process"` (docs/decisions/0045-a-process-of-its-own.md).

    executor ──── start, kill ────► fork server ──── fork, kill, wait ────► workers, one action in each at a time
        └──────── job, edits, log lines, result: a socket for each worker ────────┘

The fork server is a new program, started once: it has neither gevent nor code of actions, forks workers, and ends them
and all that they have left when the executor is gone. A worker runs jobs of one action, one after another.
"""
