# -*- coding: utf-8 -*-
"""An action from within the package of SlipStream's engine: it imports relative to itself, and deletes by query."""

from __future__ import print_function

import logging

from ..actions import action
from ..util import override

log = logging.getLogger("records_cleanup")


class Cleanup(object):
    def __init__(self, executor, job):
        self.job = job
        self.es = executor.es

    def do_work(self):
        raise NotImplementedError()


@action("old_records_cleanup")
class RecordsCleanupJob(Cleanup):
    @override
    def do_work(self):
        query = {"query": {"query_string": {"query": "created:<now-30d"}}}
        result = self.es.delete_by_query(index=self.job["targetResource"]["href"], doc_type="_doc", body=query)
        if result["timed_out"] or result["failures"]:
            self.job.set_status_message("Cleanup had failures: {}.".format(result))
        else:
            self.job.set_status_message("Cleanup finished. Removed {} records.".format(result["deleted"]))
