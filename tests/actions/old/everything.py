# -*- coding: utf-8 -*-
"""An old action that uses whatever the old engine gave it, and one that works until its executor is stopped."""

from __future__ import print_function

import json

import counting
from slipstream.job import util
from slipstream.job.actions import action, get_action

from .counting import counted


@action("old_everything")
class Everything(object):
    def __init__(self, executor, job):
        self.executor = executor
        self.job = job
        self.logger = job.logger

    def do_work(self):
        assert not util.PY2
        assert counting.counted is counted or counting.counted("ab") == counted("ab")
        assert get_action("old_everything") is Everything
        assert not self.job.is_in_final_state()
        api = self.executor.ss_api
        told = {
            "job": json.loads(json.dumps(self.job))["action"],
            "name": self.executor.name,
            "user": api.username,
            "endpoint": api.endpoint,
            "threads": self.executor.args.threads,
            "connectors": counted(util.connector_classes),
        }
        self.logger.info("told")
        self.job.set_status_message(json.dumps(told, sort_keys=True))
        self.job.set_state("FAILED")
        assert self.job.is_in_final_state()


@action("old_until_stopped")
class UntilStopped(object):
    def __init__(self, executor, job):
        self.stop_event = executor.stop_event
        self.job = job

    def do_work(self):
        self.job.set_progress(1)
        while not self.stop_event.is_set():
            util.wait(0.05)
        self.job.set_status_message("stopped by itself")
