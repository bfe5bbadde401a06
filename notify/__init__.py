"""The ground floor and project package; importing it makes the Celery app known to every `shared_task`."""

from notify.celery import app as celery_app

__all__ = ["celery_app"]
