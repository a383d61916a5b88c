"""Actions and distributors: how one is written (`marks`), and how a process finds them (`find`)."""

from geventjob.plugins.find import (
    Actions,
    ActionSpec,
    Distributors,
    DistributorSpec,
    Found,
    PluginError,
    find_actions,
    find_distributors,
    marked,
)
from geventjob.plugins.marks import Action, Distributor, action, distributor

__all__ = [
    "Action",
    "ActionSpec",
    "Actions",
    "Distributor",
    "DistributorSpec",
    "Distributors",
    "Found",
    "PluginError",
    "action",
    "distributor",
    "find_actions",
    "find_distributors",
    "marked",
]
