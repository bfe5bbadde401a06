"""A letter to look at: its PDF, stored or made on the spot, and its pages as pictures.

PDFium is not made for threads, and web processes have several: one lock for it, and for the typesetter.
"""

import io
import threading
from functools import cache

import pypdfium2
from django.utils import timezone

from letters import files
from letters.letter_content import assemble, letter_data
from letters.models import Letter
from letters.typesetting import Typesetter
from notify import content
from notify.models import Notification, Template
from providers.words import Words

WIDTH, HEIGHT = 1_000, 1_500  # pixels a picture has at most, whatever the page measures
BYTES_LIMIT = 20_000_000  # of a PDF that is opened in a web process
SAMPLE_ADDRESS = ["Ms A Sample", "Flat 2", "1 High Street", "Anytown", "AB1 2CD"]
_NOT_FOUND_CLEAN = (Notification.Status.PENDING_VIRUS_CHECK, Notification.Status.VIRUS_SCAN_FAILED)
_one_at_a_time = threading.Lock()


class NoSuchPage(LookupError):
    """The PDF has fewer pages."""


class NotShown(Exception):
    """There is nothing to show; says why, for a person."""


def letter_pdf(letter: Letter) -> bytes:
    """Return a letter's PDF; one made from a template that has none yet is rendered from its own data, not stored.

    Raises NotShown: not found clean of viruses, not there, too large, or not to be printed at all (with the reason).
    """
    if letter.pdf and letter.sha256:
        return _stored(letter)
    if letter.kind != Letter.Kind.TEMPLATED:
        raise NotShown("This letter has no file.")
    try:
        data = letter_data(letter.notification, Words())
        return _typeset(data, made_at=letter.notification.created_at)
    except content.ContentProblem as problem:
        raise NotShown(str(problem)) from None
    except Exception as error:  # its version or its keys are gone: the page it is shown on is wanted all the more
        raise NotShown(f"This letter cannot be rendered ({type(error).__name__}).") from error


def template_pdf(template: Template) -> bytes:
    """Return a letter from a template as it stands, with the placeholders' names for values.

    Raises NotShown with the reason when such a letter could not be printed.
    """
    texts = (template.subject, template.content)
    values = {content.column_key(name): "yes" for name in content.placeholders(*texts)}
    values |= {content.column_key(name): f"(({name}))" for name in content.required(*texts)}
    now = timezone.now()
    try:
        data = assemble(
            template.service,
            address=SAMPLE_ADDRESS,
            subject=content.compile_content(template.subject),
            body=content.compile_content(template.content),
            values=values,
            made_at=now,
        )
        return _typeset(data, made_at=now)
    except content.ContentProblem as problem:
        raise NotShown(str(problem)) from None


def page_count(pdf: bytes) -> int:
    """Return how many pages a PDF has; raises pypdfium2.PdfiumError when it cannot be read."""
    with _one_at_a_time, pypdfium2.PdfDocument(pdf) as document:
        return len(document)


def picture(pdf: bytes, page: int) -> bytes:
    """Return one page (counted from 1) as PNG in shades of grey, within WIDTH and HEIGHT.

    Raises NoSuchPage, and pypdfium2.PdfiumError when the PDF cannot be read.
    """
    with _one_at_a_time, pypdfium2.PdfDocument(pdf) as document:
        if not 1 <= page <= len(document):
            raise NoSuchPage(page)
        width, height = document[page - 1].get_size()
        scale = min(WIDTH / max(width, 1), HEIGHT / max(height, 1))
        image = document[page - 1].render(scale=scale, grayscale=True).to_pil()
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _stored(letter: Letter) -> bytes:
    if letter.notification.status in _NOT_FOUND_CLEAN or letter.scan_verdict == Letter.Verdict.INFECTED:
        raise NotShown("This letter's file has not been found free of viruses, so it is not opened.")
    try:
        with files.storage_of(letter).open(letter.pdf.name) as file:
            pdf = file.read(BYTES_LIMIT + 1)
    except Exception as error:  # each storage has errors of its own
        raise NotShown(f"This letter's file cannot be read ({type(error).__name__}).") from error
    if len(pdf) > BYTES_LIMIT:
        raise NotShown(f"This letter's file is larger than {BYTES_LIMIT:,} bytes, so it is not shown here.")
    return pdf


@cache
def _typesetter() -> Typesetter:
    return Typesetter()


def _typeset(data: dict, **options: object) -> bytes:
    with _one_at_a_time:
        return _typesetter().pdf(data, **options)  # type: ignore[arg-type]
