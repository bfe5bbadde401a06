"""Admin pages around the print run: the runs with their zips, what the next one takes, holds and bank holidays."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat, pluralize
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from letters.admin_actions import PrintFileActions
from letters.forecast import forecast
from letters.holding import hold_letters, release_letters
from letters.models import BankHoliday, Letter, LetterHold, PrintFile, PrintRun
from notify.admin_base import NotifyAdmin, ReadOnlyAdmin, ReadOnlyInline, badge, list_link, local_time


def file_state(file: PrintFile) -> SafeString:
    """Show where a zip stands."""
    if file.uploaded_at is None:
        return badge("Being packed", "busy")
    if file.acknowledged_at is not None:
        return badge("Acknowledged", "good")
    if not file.acknowledgeable:
        return badge("Handed over", "good")
    return badge("Differs", "bad") if file.acknowledgement else badge("Not acknowledged yet", "busy")


def size(file: PrintFile) -> str:
    """Write a zip's size for people."""
    return filesizeformat(file.size)


class FileInline(ReadOnlyInline):
    """The zips of a print run."""

    model = PrintFile
    fields = readonly_fields = ("whose", "letters", "sheet_count", "shown_size", "state", "uploaded_at")
    show_change_link = True
    verbose_name_plural = "zips"

    def get_queryset(self, request: HttpRequest) -> QuerySet[PrintFile]:
        """Bring the service along."""
        return super().get_queryset(request).select_related("service")

    @admin.display(description="service, postage")
    def whose(self, file: PrintFile) -> str:
        """Say whose letters it holds and how they travel."""
        return f"{file.service or '–'}, {file.get_postage_display() or '–'}"

    @admin.display(description="letters")
    def letters(self, file: PrintFile) -> SafeString:
        """Lead to its letters."""
        return list_link(f"{file.letter_count:,}", "letters_letter", print_file__id__exact=file.pk)

    @admin.display(description="size")
    def shown_size(self, file: PrintFile) -> str:
        """Show the size."""
        return size(file)

    @admin.display(description="state")
    def state(self, file: PrintFile) -> SafeString:
        """Show where it stands."""
        return file_state(file)


@admin.register(PrintRun)
class PrintRunAdmin(ReadOnlyAdmin):
    """One day's collation, below what the next one will take."""

    list_display = ("day", "state", "zips", "letters", "sheets", "deadline", "started_at", "finished_at")
    inlines = (FileInline,)
    change_list_template = "admin/letters/printrun/change_list.html"
    fields = readonly_fields = (
        "day", "state", "progress", "left_out", "deadline", "started_at", "finished_at"
    )  # fmt: skip
    empty_text = "No print run yet. Letters are collated once a day, after 17:50."

    def get_queryset(self, request: HttpRequest) -> QuerySet[PrintRun]:
        """Count zips with the rows."""
        uploaded = Count("files", filter=Q(files__uploaded_at__isnull=False))
        waiting = Q(files__uploaded_at__isnull=False, files__acknowledged_at__isnull=True, files__acknowledgeable=True)
        counts = {"made": Count("files"), "handed_over": uploaded, "unacknowledged": Count("files", filter=waiting)}
        return super().get_queryset(request).annotate(**counts)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show what goes next on top."""
        now = timezone.now()
        seen = forecast(now=now)
        extra = {"forecast": seen, "passed": now >= seen.deadline, "deadline": local_time(seen.deadline)}
        return super().changelist_view(request, (extra_context or {}) | extra)

    @admin.display(description="state")
    def state(self, run: PrintRun) -> SafeString:
        """Show how far it is."""
        if run.finished_at is None:
            return badge("Unfinished", "busy")
        return badge("Finished", "good") if not run.unacknowledged else badge("Not all acknowledged", "busy")

    @admin.display(description="zips")
    def zips(self, run: PrintRun) -> str:
        """Count the zips that were handed over, of those that were made."""
        return f"{run.handed_over:,}" if run.handed_over == run.made else f"{run.handed_over:,} of {run.made:,}"

    @admin.display(description="letters")
    def letters(self, run: PrintRun) -> str:
        """Count the letters, which are known when the run is finished."""
        return f"{run.letter_count:,}" if run.finished_at else "–"

    @admin.display(description="sheets")
    def sheets(self, run: PrintRun) -> str:
        """Count the sheets of paper."""
        return f"{run.sheet_count:,}" if run.finished_at else "–"

    @admin.display(description="progress")
    def progress(self, run: PrintRun) -> SafeString:
        """Say what was handed over so far."""
        files = run.files.filter(uploaded_at__isnull=False).values_list("letter_count", "sheet_count")
        letters, sheets = (sum(column) for column in zip(*files, strict=True)) if files else (0, 0)
        words = (
            f"{letters:,} letter{pluralize(letters)} on {sheets:,} sheet{pluralize(sheets)} of paper in "
            f"{self.zips(run)} zip{pluralize(run.made)} handed over"
        )
        bar = format_html('<br><progress max="{}" value="{}"></progress>', run.made, run.handed_over)
        return format_html("{}{}", words, "" if run.finished_at else bar)

    @admin.display(description="left out")
    def left_out(self, run: PrintRun) -> str:
        """Count the letters whose PDF was missing or changed."""
        count = Letter.objects.filter(print_run=run, print_file__isnull=True).count()
        return f"{count:,} with a missing or changed PDF" if count else "none"


@admin.register(PrintFile)
class PrintFileAdmin(PrintFileActions):
    """The zips that went to the postal provider."""

    list_display = ("name", "print_run", "state", "letter_count", "sheet_count", "shown_size", "uploaded_at")
    list_filter = ("postage", "service")
    list_select_related = ("print_run",)
    search_fields = ("name",)
    fields = readonly_fields = (
        "name", "print_run", "state", "acknowledgement", "service", "postage", "letters", "sheet_count", "shown_size",
        "sha256", "uploaded_at", "acknowledged_at", "removed_at",
    )  # fmt: skip
    empty_text = "No zip yet. Each print run makes one or more."

    state = admin.display(description="state")(lambda self, file: file_state(file))
    shown_size = admin.display(description="size")(lambda self, file: size(file))

    @admin.display(description="letters")
    def letters(self, file: PrintFile) -> SafeString:
        """Lead to its letters."""
        return list_link(f"{file.letter_count:,}", "letters_letter", print_file__id__exact=file.pk)


@admin.register(LetterHold)
class LetterHoldAdmin(NotifyAdmin):
    """Services whose letters are kept out of the print run. Releasing ends a hold; the service's log keeps both."""

    list_display = ("service", "reason", "waiting", "held_by", "created_at")
    list_select_related = ("service", "held_by")
    fields = ("service", "reason")
    actions = ("release",)
    empty_text = "No service's letters are held. Add a hold to keep one's letters out of the print run."

    def has_change_permission(self, request: HttpRequest, obj: LetterHold | None = None) -> bool:
        """A hold is made and released, not edited; whoever may do so sees it."""
        return False

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Who may delete a hold releases it."""
        return request.user.has_perm("letters.delete_letterhold")

    def save_model(self, request: HttpRequest, obj: LetterHold, form: Any, change: bool) -> None:
        """Note who holds, and write it into the service's log."""
        hold, new = hold_letters(obj.service, obj.reason, by=request.user, now=timezone.now())
        obj.pk = hold.pk
        if new:
            self.log_change(request, obj.service, f"Letters held: {obj.reason}")
        else:
            words = f"They were held already, and that reason stays: {hold.reason}"
            self.message_user(request, words, messages.WARNING)

    @admin.display(description="letters kept back")
    def waiting(self, hold: LetterHold) -> str:
        """Count its letters that are ready and wait for the release."""
        return f"{Letter.objects.ready().unprinted().filter(notification__service=hold.service_id).count():,}"

    @admin.action(description="Release: their letters go with the next print run", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[LetterHold]) -> None:
        """Release the chosen holds."""
        released = 0
        for hold in queryset.select_related("service"):
            if release_letters(hold.service, now=timezone.now()):
                released += 1
                self.log_change(request, hold.service, f"Letters released; they were held: {hold.reason}")
        words = f"{released:,} {'hold' if released == 1 else 'holds'} released."
        self.message_user(request, words, messages.SUCCESS if released else messages.WARNING)


@admin.register(BankHoliday)
class BankHolidayAdmin(NotifyAdmin):
    """An operator's word on single days, over the calendar's."""

    list_display = ("day", "name", "working_day")
    empty_text = "No day differs from the calendar. Add one that is a holiday, or one that is worked all the same."

    def has_delete_permission(self, request: HttpRequest, obj: BankHoliday | None = None) -> bool:
        """A word on one day may be taken back."""
        return request.user.has_perm("letters.delete_bankholiday")
