"""Bringing a print file to its end that a killed run left behind, with the same bytes under the same name.

A letter whose PDF is gone or changed leaves its zip, for it never comes back. For one that cannot be read just now the
zip waits whole: it may have been handed over already, and a letter taken out of it would then be printed twice.
"""

from datetime import datetime

from django.db import transaction

from letters import postal, print_files
from letters.models import Letter, PrintFile
from letters.pulse import Pulse
from letters.reading import Reader, refuse_away
from letters.zips import Bundle, zip_name


def resume(file: PrintFile, reader: Reader, *, now: datetime) -> bool:
    """Bring a print file to its end. Returns False where it waits for a PDF that cannot be read.

    It went already where it lies whole at the postal provider, or where that has acknowledged it. A window remains: a
    zip that the provider took away before we were killed, and has not acknowledged yet (or never does), is uploaded
    again, with the same bytes under the same name, by which the provider can know it.
    """
    pulse = Pulse(file.print_run_id)
    acknowledged = PrintFile.objects.filter(pk=file.pk, acknowledged_at__isnull=False).exists()
    if acknowledged or postal.lies_whole(postal.postal_storage(), file, pulse.beat):
        print_files.mark_sent(file, now=now)
        return True
    bundle, wrong = Bundle(), {}
    letters = list(file.letters.order_by("pk"))
    try:
        for letter in letters:
            pdf = reader.read(letter, wrong, pulse.beat)
            if pdf is None:
                continue
            with pdf.file:
                bundle.add(letter, pdf)
        if len(bundle.letters) + len(wrong) < len(letters):
            return False
        refuse_away(file.print_run, len(wrong))
        digest, size = bundle.seal()
        if wrong or digest != file.sha256:
            postal.postal_storage().delete(file.name + postal.PART)  # it gets another name: nobody overwrites this
            _leave_out(file, bundle, wrong, digest, size, now=now)
        if bundle.letters:
            print_files.deliver(file, bundle, now=now)
        return True
    finally:
        bundle.close()


def _leave_out(
    file: PrintFile, bundle: Bundle, wrong: dict[Letter, str], digest: str, size: int, *, now: datetime
) -> None:
    """Take letters out of a print file that was never uploaded; with none left, the file goes too."""
    with transaction.atomic():
        rows = PrintFile.objects.filter(pk=file.pk, uploaded_at__isnull=True)
        rows.select_for_update().get()  # raises DoesNotExist where somebody else was faster: the run begins again
        keys = [letter.pk for letter in wrong]
        print_files.settle_wrong({letter.pk: why for letter, why in wrong.items()}, now=now)
        Letter.objects.filter(pk__in=keys, print_file=file).update(print_file=None, due_at=None)
        file.letter_count, file.sheet_count = len(bundle.letters), bundle.sheets
        if bundle.letters:
            file.sha256, file.size = digest, size
            file.name = zip_name(file.print_run.day, file.postage, file.sequence, bundle.letters)
            file.save(update_fields=["sha256", "size", "letter_count", "sheet_count", "name"])
        else:
            rows.delete()
    print_files.tell_wrong(file.print_run, now=now)
