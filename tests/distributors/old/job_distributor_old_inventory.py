#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""A distributor as one wrote them for SlipStream's engine, script and all."""

from __future__ import print_function

import logging
import time

from slipstream.job.base import main
from slipstream.job.distributor import Distributor
from slipstream.job.util import override


class InventoryDistributor(Distributor):
    ACTION_NAME = "old_inventory"

    def __init__(self):
        super(InventoryDistributor, self).__init__()
        self.collect_interval = 0.2

    @override
    def _set_command_specific_options(self, parser):
        parser.add_argument("--shelves", dest="shelves", type=int, default=2)

    @override
    def job_generator(self):
        while not self.stop_event.is_set():
            for shelf in range(self.args.shelves):
                href = "shelf/{}".format(shelf)
                filter = 'action="{}" and targetResource/href="{}"'.format(InventoryDistributor.ACTION_NAME, href)
                known = self.ss_api.cimi_search("jobs", filter=filter, last=0)
                if known.count == 0:
                    logging.info("%s distributes %s", self.name, href)
                    yield {"action": InventoryDistributor.ACTION_NAME, "targetResource": {"href": href}}
            time.sleep(self.collect_interval)

    @override
    def _get_jobs_type(self):
        return "old_inventory"


if __name__ == "__main__":
    main(InventoryDistributor)
