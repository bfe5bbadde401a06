"""The Celery app, its queues and routes, and the base of every task.

A message is a nudge (the rows are the truth): publishing gives up within a second and a failure is counted, not
raised, because the next periodic tick finds the row anyway.
"""

import logging
import mmap
import os
import time
from functools import partial
from typing import Any

from celery import Celery
from celery.contrib.django.task import DjangoTask
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import transaction
from kombu import Queue
from kombu.exceptions import OperationalError

from notify.schedule import QUEUES, routes

logger = logging.getLogger(__name__)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify.settings")

# One byte shared with the pool's children, which hear of a shutdown in no other way: loops look at it between steps.
_stopping = mmap.mmap(-1, 1)


def stopping() -> bool:
    """True once this worker was told to shut down: finish what is begun and claim no more."""
    return _stopping[0] != 0


@worker_shutting_down.connect
def _note_shutdown(**kwargs: Any) -> None:
    _stopping[0] = 1


class Task(DjangoTask):
    """Base of every task: publishing never raises, and a summary line follows a run that did something."""

    abstract = True
    publish_failures = 0  # per process; each is logged as well
    _nudged_at = 0.0

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Publish; when the broker cannot be reached within a second, count and log it and go on (returns None)."""
        try:
            return super().apply_async(*args, **kwargs)
        except (OperationalError, OSError) as error:
            Task.publish_failures += 1
            logger.warning(
                "Wake-up %s not sent (%s); the next tick finds the work",
                self.name,
                type(error).__name__,
                extra={"task": self.name, "count": Task.publish_failures},
            )
            return None

    def nudge(self) -> None:
        """Wake this loop after commit, at most once per NUDGE_EVERY and process.

        Nothing is lost by the limit: a loop that was woken lingers for longer than that (LOOP_LINGER_FOR).
        """
        transaction.on_commit(partial(self._nudge_now))

    def _nudge_now(self) -> None:
        moment = time.monotonic()
        if moment - self._nudged_at >= settings.NUDGE_EVERY.total_seconds():
            type(self)._nudged_at = moment
            self.apply_async()

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Log what the run counted; a run that found nothing stays quiet."""
        counts = retval if isinstance(retval, dict) else {}
        level = logging.INFO if any(counts.values()) else logging.DEBUG
        logger.log(level, "%s: %s", self.name, counts, extra={"task": self.name, "counts": counts})


app = Celery("notify", task_cls=Task)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name, routing_key=name) for name in QUEUES]
app.conf.task_default_queue = "housekeeping"
app.conf.task_routes = routes()
app.autodiscover_tasks()
