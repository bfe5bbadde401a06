"""How dates and times are written for people, per language (Django's FORMAT_MODULE_PATH)."""
