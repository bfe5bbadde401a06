"""The numbers on the admin's first page."""

from typing import Any

from django import template

from notify import floors
from notify.panels import Fact

register = template.Library()


@register.simple_tag(takes_context=True)
def overview(context: dict[str, Any]) -> list[Fact]:
    """Ask every floor for its numbers and return those the person may see, from the ground floor up."""
    user = context["request"].user
    facts = [fact for found in reversed(floors.ask("panels").values()) for fact in found]
    return [fact for fact in facts if user.has_perm(fact.permission)]
