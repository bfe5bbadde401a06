"""What the admin pages of all apps share: reading without changing, long tables, and how values are shown.

Times need nothing here: notify/formats writes every moment with its zone, and `LocalTimeMiddleware` makes it local.
"""

from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notify.clock import zone

COUNTED = 10_000  # rows; a longer list is shown as “10,000 or more”, and its later pages are reached by filters


def local_time(moment: datetime | None) -> str:
    """Write a moment in local time with the zone named, `24 Nov 2026, 09:30 GMT`; an en dash for None."""
    if moment is None:
        return "–"
    return formats.localize(timezone.localtime(moment, zone()))


def badge(label: str, tone: str) -> SafeString:
    """Return a status as a coloured word. tone: good, bad, busy or quiet; the colour never says more than the word."""
    return format_html('<span class="badge badge-{}">{}</span>', tone, label)


def list_link(label: str, view: str, **filters: Any) -> SafeString:
    """Return a link to an admin list, `notify_notification`, narrowed by query parameters."""
    address = reverse(f"admin:{view}_changelist", query=filters)
    return format_html('<a href="{}">{}</a>', address, label)


def object_link(label: str, view: str, pk: Any) -> SafeString:
    """Return a link to one object's page; the object need not exist any more."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{view}_change", args=[pk]), label)


class BoundedPaginator(Paginator):
    """Counts no further than COUNTED rows: five million cost no more than ten thousand."""

    @cached_property
    def count(self) -> int:
        """Rows, at most COUNTED."""
        return self.object_list.order_by()[:COUNTED].count()

    @property
    def capped(self) -> bool:
        """True when there may be more rows than were counted."""
        return self.count >= COUNTED

    @property
    def told(self) -> str:
        """How many rows there are, as a person reads it: `1,234`, or `10,000 or more`."""
        return f"{self.count:,}{' or more' if self.capped else ''}"


class NotifyAdmin(admin.ModelAdmin):
    """Base of every admin page here: no table is counted in full, and an empty list says what would fill it."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a facet counts the whole table
    list_per_page = 50
    empty_text = ""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Head the list with what it lists."""
        title = {"title": str(self.opts.verbose_name_plural).capitalize()}
        return super().changelist_view(request, title | (extra_context or {}))

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Nothing is deleted by hand: retention does that, and what is in use is switched off instead."""
        return False


class OwnFormFields(admin.ModelAdmin):
    """For a form with fields the model does not have: whoever may only look does not see them."""

    form_only: tuple[str, ...] = ()

    def get_fieldsets(self, request: HttpRequest, obj: models.Model | None = None) -> Any:
        """Leave the form's own fields out of a page without a form."""
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj) if obj else self.has_add_permission(request):
            return fieldsets
        return [
            (title, options | {"fields": [name for name in options["fields"] if name not in self.form_only]})
            for title, options in fieldsets
        ]

    def get_form(self, request: HttpRequest, obj: models.Model | None = None, **kwargs: Any) -> Any:
        """Ask the model only for its own fields."""
        kwargs["fields"] = [name for name in kwargs.get("fields") or () if name not in self.form_only]
        return super().get_form(request, obj, **kwargs)


class ReadOnlyAdmin(NotifyAdmin):
    """Pages of what the platform itself writes."""

    sortable_by = ()  # these tables are long and only their newest rows come quickly

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows are made by the platform."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Dates and statuses are never edited; whoever may change this kind of object may look at it."""
        return False


class FoundByMessage(admin.ModelAdmin):
    """A search box for the exact id of a message; anything else finds nothing."""

    message_field = "notification_id"
    search_fields = ("pk",)  # shows the box; get_search_results does the finding
    search_help_text = "Exact id of a message"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find what belongs to one message."""
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(**{self.message_field: UUID(search_term.strip())}), False
        except ValueError:
            return queryset.none(), False


class ReadOnlyInline(admin.TabularInline):
    """Rows shown below another object."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Rows are made by the platform."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Shown only."""
        return False
