"""How this app is named in the admin."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    """Providers and receipts."""

    name = "providers"
    verbose_name = "Providers and receipts"
