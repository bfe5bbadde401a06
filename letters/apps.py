"""How this app is named in the admin."""

from django.apps import AppConfig


class LettersConfig(AppConfig):
    """Letters."""

    name = "letters"
    verbose_name = "Letters"
