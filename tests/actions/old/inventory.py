# -*- coding: utf-8 -*-
"""An action as one wrote them for SlipStream's engine: it makes a list of jobs, and tells what it found."""

from __future__ import print_function

import logging

from slipstream.api import SlipStreamError
from slipstream.job.actions import action
from slipstream.job.util import classlogger, random_wait

log = logging.getLogger("inventory")


@classlogger
@action("old_inventory")
class InventoryJob(object):
    def __init__(self, executor, job):
        self.executor = executor
        self.job = job
        self.ss_api = job.ss_api
        self.es = executor.es

    def count(self, state):
        filter = 'action="old_inventory" and state="{}"'.format(state)
        found = self.ss_api.cimi_search("jobs", filter=filter, first=0, last=20, select="state")
        assert found.count >= len(found.resources_list)
        return [resource.id for resource in found.resources_list if resource.json["state"] == state]

    def is_missing(self, id):
        try:
            self.ss_api.cimi_get(id)
        except SlipStreamError as e:
            return e.response.status_code == 404
        return False

    def parent(self):
        try:
            return self.job.parentJob
        except KeyError:
            return None

    def do_work(self):
        log.info("Inventory started.")
        running = self.count("RUNNING")
        self.job.set_progress(50)
        random_wait(0.0, 0.01)
        self.job.add_affected_resources(["inventory/one", "inventory/two"])
        self.job.add_affected_resource("inventory/one")
        msg = "target {}, {} running, me among them: {}, parent {}, missing {}, state {}".format(
            self.job["targetResource"]["href"],
            len(running),
            self.job.id in running,
            self.parent(),
            self.is_missing("job/00000000-0000-0000-0000-000000000000"),
            self.executor.ss_api.cimi_get(self.job.id).state,
        )
        self.logger.info(msg)
        self.job.set_status_message(msg)
