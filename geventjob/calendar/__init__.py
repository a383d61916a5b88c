"""The calendar: crontab lines, time zones, and the ticks of a schedule (docs/how-to/schedules.md)."""
