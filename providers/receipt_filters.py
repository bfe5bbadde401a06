"""The filters of the admin's list of receipts. The choices are written here: asking five million rows takes seconds."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers.ranks import UNCLEAR
from providers.receipts import APPLIED
from providers.replaying import OUTCOMES

UNREAD = "unread"  # in an address; stored as ""
REPORTED = ("delivered", "pending", "temporary-failure", "permanent-failure", UNCLEAR, "technical-failure",
            "returned-letter", "complaint", "noted")  # fmt: skip


class OutcomeFilter(admin.SimpleListFilter):
    """What became of a receipt."""

    title = parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every outcome there is."""
        stored = sorted({APPLIED, *OUTCOMES.values()})
        return [(UNREAD, "not yet read"), *((outcome, outcome) for outcome in stored)]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Keep those that ended so."""
        value = self.value()
        return queryset if value is None else queryset.ended_as("" if value == UNREAD else value)


class ReportedFilter(admin.SimpleListFilter):
    """What the provider said."""

    title = parameter_name = "reported"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer what backends read from receipts."""
        return [(status, status) for status in REPORTED]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Keep those that say so."""
        return queryset if self.value() is None else queryset.filter(reported=self.value())
