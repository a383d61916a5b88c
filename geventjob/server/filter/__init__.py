"""The CIMI filter language (CIMI.md §5): text to tree. What a tree means in a query is the store's part."""

from geventjob.server.filter.parse import parse
from geventjob.server.filter.tree import And, Compare, Date, Filter, FilterError, Or, Property

__all__ = ["And", "Compare", "Date", "Filter", "FilterError", "Or", "Property", "parse"]
