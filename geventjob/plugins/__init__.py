"""Actions and distributors: the interface for authors (`marks`), and the search at the start of a process (`find`)."""

from geventjob.plugins.find import find_actions, find_distributors, marked
from geventjob.plugins.marks import Action, Distributor, action, distributor
from geventjob.plugins.specs import Actions, ActionSpec, Distributors, DistributorSpec, PluginError, PluginSet

__all__ = [
    "Action",
    "ActionSpec",
    "Actions",
    "Distributor",
    "DistributorSpec",
    "Distributors",
    "PluginError",
    "PluginSet",
    "action",
    "distributor",
    "find_actions",
    "find_distributors",
    "marked",
]
