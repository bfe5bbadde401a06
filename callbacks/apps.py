"""How this app is named in the admin."""

from django.apps import AppConfig


class CallbacksConfig(AppConfig):
    """Callbacks."""

    name = "callbacks"
    verbose_name = "Callbacks"
