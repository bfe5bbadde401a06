"""How a letter looks: on the page of a letter, and on that of a letter's template. Pictures, made when looked at."""

from collections.abc import Callable
from uuid import UUID

import pypdfium2
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from letters import preview
from letters.models import Letter
from notify.admin_base import ReadOnlyAdmin
from notify.models import NotificationType, Template


class PreviewPages(ReadOnlyAdmin):
    """Pictures of letters, for whoever may look at letters; of templates, for whoever may look at templates."""

    def get_urls(self) -> list[URLPattern]:
        """The pictures' addresses, and the page of a template's letter."""
        return [
            path("<uuid:pk>/page-<int:page>.png", self._guarded(self.picture_view), name="letters_letter_picture"),
            path("of-template/<uuid:pk>/", self._guarded(self.template_view), name="letters_letter_template"),
            path(
                "of-template/<uuid:pk>/page-<int:page>.png",
                self._guarded(self.template_picture_view),
                name="letters_letter_template_picture",
            ),
            *super().get_urls(),
        ]

    @admin.display(description="as it is printed")
    def pages_shown(self, letter: Letter) -> SafeString | str:
        """Show its pages; those of a letter without file as they will be."""
        try:
            count = letter.pages or preview.page_count(preview.letter_pdf(letter))
        except (preview.NotShown, pypdfium2.PdfiumError) as reason:
            return _why(reason)
        shown = pictures("letters_letter_picture", letter.pk, count)
        return shown if letter.sha256 else format_html("<p>It has no file yet; this is how it will look.</p>{}", shown)

    def picture_view(self, request: HttpRequest, pk: UUID, page: int) -> HttpResponse:
        """Send one page of a letter."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        letter = get_object_or_404(Letter.objects.select_related("notification__service"), pk=pk)
        return _png(lambda: preview.letter_pdf(letter), page)

    def template_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show a letter from a template with its placeholders' names for values."""
        template = _template(request, pk)
        try:
            count = preview.page_count(preview.template_pdf(template))
            shown = pictures("letters_letter_template_picture", pk, count)
        except preview.NotShown as reason:
            count, shown = 0, _why(reason)
        context = self.admin_site.each_context(request) | {
            "title": "Preview", "opts": self.opts, "template": template, "shown": shown, "count": count,
            "limit": settings.LETTER_PAGES_LIMIT,
        }  # fmt: skip
        return TemplateResponse(request, "admin/letters/letter/template_preview.html", context)

    def template_picture_view(self, request: HttpRequest, pk: UUID, page: int) -> HttpResponse:
        """Send one page of a template's letter."""
        template = _template(request, pk)
        return _png(lambda: preview.template_pdf(template), page)

    def _guarded(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        return self.admin_site.admin_view(never_cache(view))  # personal data does not stay in a browser's cache


def pictures(view: str, pk: UUID, count: int) -> SafeString:
    """Return the pictures of a letter's first pages, as many as a letter may have."""
    pages = range(1, min(count, settings.LETTER_PAGES_LIMIT) + 1)
    return format_html_join(
        "\n",
        '<img class="letter-page" src="{}" alt="Page {} of {}" width="620" loading="lazy">',
        ((reverse(f"admin:{view}", args=[pk, page]), page, count) for page in pages),
    )


def _template(request: HttpRequest, pk: UUID) -> Template:
    if not (request.user.has_perm("notify.view_template") or request.user.has_perm("notify.change_template")):
        raise PermissionDenied
    letters = Template.objects.filter(notification_type=NotificationType.LETTER)
    return get_object_or_404(letters.select_related("service"), pk=pk)


def _png(pdf: Callable[[], bytes], page: int) -> HttpResponse:
    try:
        return HttpResponse(preview.picture(pdf(), page), content_type="image/png")
    except (preview.NotShown, preview.NoSuchPage, pypdfium2.PdfiumError) as reason:
        return HttpResponse(_why(reason), status=404, content_type="text/plain; charset=utf-8")


def _why(reason: Exception) -> str:
    if isinstance(reason, preview.NoSuchPage):
        return f"The letter has no page {reason}."
    return str(reason) if isinstance(reason, preview.NotShown) else "This file cannot be shown as a picture."
