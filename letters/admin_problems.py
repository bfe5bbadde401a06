"""Finding letters in trouble, by the conditions the loops and checks themselves use."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from letters.models import Letter


class Problem(admin.SimpleListFilter):
    """Letters that need a look; each choice is the condition its loop or watchdog uses."""

    title = parameter_name = "problem"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Name the troubles a letter can be in."""
        return [
            ("due", "Due to be rendered"),
            ("in-vain", "Rendered three times in vain"),
            ("unscanned", "Waits too long for its virus check"),
            ("unreadable", "Left out of a print run: unreadable PDF"),
            ("failed", "Failed, and nobody has seen it"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow the list to one trouble."""
        now, letters = timezone.now(), Letter.objects
        found = {
            "due": lambda: letters.renderable(now),
            "in-vain": lambda: letters.rendered_in_vain(now),
            "unscanned": lambda: letters.unscanned_long(now),
            "unreadable": letters.unreadable,
            "failed": letters.failed_unseen,
        }.get(self.value() or "")
        return queryset.filter(pk__in=found().order_by().values("pk")) if found else queryset
