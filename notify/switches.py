"""Switches of the environment that may be left unset."""

from django.core.exceptions import ImproperlyConfigured

_KNOWN = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def switch(word: str, *, otherwise: bool) -> bool:
    """Read a switch; unset or empty gives `otherwise`. Raises ImproperlyConfigured for neither yes nor no."""
    word = word.strip().lower()
    if not word:
        return otherwise
    if word not in _KNOWN:
        raise ImproperlyConfigured(f"A switch is set to {word!r}. Write 1 or 0, or leave it unset.")
    return _KNOWN[word]
