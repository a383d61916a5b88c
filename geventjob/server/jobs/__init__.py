"""Jobs as callers see them: added, read, edited, stopped, searched, with their rules and schedules."""
