"""The CIMI filter language: from text to tree. `geventjob.server.store.resolve` has the meaning of a tree."""

from geventjob.server.filter.parse import parse
from geventjob.server.filter.tree import And, Compare, Date, Filter, FilterError, Or, Property

__all__ = ["And", "Compare", "Date", "Filter", "FilterError", "Or", "Property", "parse"]
