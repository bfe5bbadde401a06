"""Finding letters that wait for their PDF, by the conditions the loop itself uses."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone


class RenderingFilter(admin.SimpleListFilter):
    """Letters without PDF."""

    title = "rendering"
    parameter_name = "rendering"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Offer the two conditions."""
        return [("due", "Due to be rendered"), ("in-vain", "Tried three times in vain")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow the list."""
        if self.value() == "due":
            return queryset.renderable(timezone.now())
        return queryset.rendered_in_vain(timezone.now()) if self.value() == "in-vain" else queryset
