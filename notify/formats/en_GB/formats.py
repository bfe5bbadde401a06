"""British dates and 24-hour times, always with the zone's name: `24 Nov 2026, 09:30 GMT`."""

DATE_FORMAT = SHORT_DATE_FORMAT = "j M Y"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "j M Y, H:i T"
TIME_FORMAT = "H:i"
