"""Pages of a PDF: counted, and shown as pictures.

PDFium is not made for threads, and web processes have several: one lock for all of it.
"""

import io
import threading

import pypdfium2

WIDTH, HEIGHT = 1_000, 1_500  # pixels a picture has at most, whatever the page measures
_one_at_a_time = threading.Lock()


class NoSuchPage(LookupError):
    """The PDF has fewer pages."""


def page_count(pdf: bytes) -> int:
    """Return how many pages a PDF has; raises pypdfium2.PdfiumError when it cannot be read."""
    with _one_at_a_time, pypdfium2.PdfDocument(pdf) as document:
        return len(document)


def picture(pdf: bytes, page: int) -> bytes:
    """Return one page (counted from 1) as PNG, within WIDTH and HEIGHT.

    Raises NoSuchPage, and pypdfium2.PdfiumError when the PDF cannot be read.
    """
    with _one_at_a_time, pypdfium2.PdfDocument(pdf) as document:
        if not 1 <= page <= len(document):
            raise NoSuchPage(page)
        width, height = document[page - 1].get_size()
        scale = min(WIDTH / max(width, 1), HEIGHT / max(height, 1))
        image = document[page - 1].render(scale=scale).to_pil()
    out = io.BytesIO()
    image.convert("P", palette=1, colors=64).save(out, "PNG")
    return out.getvalue()
