"""Small things that old actions and distributors import."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

PY2 = False

connector_classes = {
    name: f"slipstream_{module}"
    for name, module in {
        "azure": "azure.AzureClientCloud",
        "cloudstack": "cloudstack.CloudStackClientCloud",
        "cloudstackadvancedzone": "cloudstack.CloudStackAdvancedZoneClientCloud",
        "ec2": "ec2.Ec2ClientCloud",
        "exoscale": "exoscale.ExoscaleClientCloud",
        "nuvlabox": "nuvlabox.NuvlaBoxClientCloud",
        "opennebula": "opennebula.OpenNebulaClientCloud",
        "openstack": "openstack.OpenStackClientCloud",
        "otc": "otc.OpenTelekomClientCloud",
        "softlayer": "nativesoftlayer.NativeSoftLayerClientCloud",
    }.items()
}
"""Type of a cloud service → the module of its connector in SlipStream's client, for `load_module`."""

Target = TypeVar("Target", bound=type)
Method = TypeVar("Method", bound=Callable[..., Any])


class InterruptException(Exception):
    """Nobody raises it here: an action is ended by JobStopped, JobLost or a Timeout."""


def wait(secs: float) -> None:
    """Sleep; not at all for a time that is over."""
    time.sleep(max(0.0, secs))


def random_wait(secs_min: float, secs_max: float) -> None:
    """Sleep for some time between the two."""
    wait(random.uniform(secs_min, secs_max))  # noqa: S311  (no secret)


def override(func: Method) -> Method:
    """Says of a method that it stands for one of the base class."""
    return func


def classlogger(c: Target) -> Target:
    """Give a class a `logger` of its name."""
    c.logger = logging.getLogger(c.__name__)  # type: ignore[attr-defined]
    return c


def load_module(module_name: str) -> ModuleType:
    """Import by name."""
    return import_module(module_name)


def assure_path_exists(path: str) -> None:
    """Make the folder of a file."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
