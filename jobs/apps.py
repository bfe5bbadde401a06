"""How this app is named in the admin."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Jobs."""

    name = "jobs"
    verbose_name = "Jobs"
