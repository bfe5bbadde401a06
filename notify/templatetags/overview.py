"""The numbers on the admin's first page, and the sentences on top of every page."""

from typing import Any

from django import template

from notify import floors
from notify.panels import Banner, Fact

register = template.Library()


@register.simple_tag(takes_context=True)
def overview(context: dict[str, Any]) -> list[Fact]:
    """Ask every floor for its numbers and return those the person may see, from the ground floor up."""
    user = context["request"].user
    facts = [fact for found in reversed(floors.ask("panels").values()) for fact in found]
    return [fact for fact in facts if user.has_perm(fact.permission)]


@register.simple_tag
def banners() -> list[Banner]:
    """Ask every floor for what every page must say."""
    return [banner for found in floors.ask("banners").values() for banner in found]


@register.filter
def may_follow(user: Any, banner: Banner) -> bool:
    """Say whether a person may see where a banner leads."""
    return user.has_perm(banner.permission)
