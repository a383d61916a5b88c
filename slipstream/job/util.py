"""Small functions that old actions and distributors import."""

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
    """An error that geventjob never raises: JobStopped, JobLost or a Timeout ends an action."""


def wait(secs: float) -> None:
    """Sleep; return at once for a negative time."""
    time.sleep(max(0.0, secs))


def random_wait(secs_min: float, secs_max: float) -> None:
    """Sleep for a random time between two bounds."""
    wait(random.uniform(secs_min, secs_max))  # noqa: S311  (no secret)


def override(func: Method) -> Method:
    """Mark a method as an override of the base class; return the method unchanged."""
    return func


def classlogger(c: Target) -> Target:
    """Set `logger` of a class to the logger of its name."""
    c.logger = logging.getLogger(c.__name__)  # type: ignore[attr-defined]
    return c


def load_module(module_name: str) -> ModuleType:
    """Import a module by name."""
    return import_module(module_name)


def assure_path_exists(path: str) -> None:
    """Make the folder of a file unless it exists."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
