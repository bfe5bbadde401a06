"""The half of letters/pdf_checks.py that opens a stranger's PDF: a process of its own, without Django or secrets.

Run as `python -I pdf_check_child.py PAGES_LIMIT MEMORY_BYTES CPU_SECONDS` with the PDF (a real file) as standard input.
It writes one line of JSON: {"pages": 2}, or {"code": "PDF_PAGES", "text": "…"}. It takes its limits on itself before
any byte is read; whatever else ends it (a signal, no memory, no more time) is for the parent to read.
"""

import io
import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any

import pikepdf

OBJECTS_LIMIT = 100_000  # a letter of ten pages has some hundreds
VALUES_LIMIT = 2_000_000  # names, numbers and strings in all objects together
DECODED_LIMIT = 400_000_000  # bytes of all streams together, unpacked
PIXELS_LIMIT = 100_000_000  # of one picture: A4 at 1,200 dots per inch
WIDTH, HEIGHT, TOLERANCE = 210.0, 297.0, 2.0  # mm: A4 portrait
ROUNDING = 0.01  # mm: sizes are written in points
POINT = 25.4 / 72  # mm
PARENTS_LIMIT = 50  # levels of a page tree

ACTIONS = {"/JavaScript", "/Launch", "/SubmitForm", "/ImportData", "/GoToE", "/GoToR", "/Rendition", "/Movie",
           "/Sound", "/Thread", "/RichMediaExecute"}  # fmt: skip
KEYS = {"/JS", "/JavaScript", "/AA", "/EF", "/EmbeddedFiles", "/XFA", "/RichMediaContent", "/AFRelationship"}
SUBTYPES = {"/RichMedia", "/Screen", "/Movie", "/Sound", "/3D", "/FileAttachment"}


class Refused(Exception):
    """The file may not be printed."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


def main() -> None:
    """Judge standard input."""
    pages_limit, memory, cpu = (int(text) for text in sys.argv[1:4])
    confine(memory, cpu)
    try:
        answer: dict[str, Any] = {"pages": check(sys.stdin.buffer, pages_limit)}
    except Refused as refused:
        answer = {"code": refused.code, "text": refused.text}
    except (MemoryError, RecursionError):
        answer = {"code": "PDF_TOO_COMPLEX", "text": ""}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # without tidying up: that alone can take long, or fail, for a hostile file


def confine(memory: int, cpu: int, *, written: int = 0) -> None:
    """No more memory, time, files, sockets or processes than these. memory, written: bytes; cpu: seconds."""
    pikepdf.new().save(io.BytesIO(), encryption=pikepdf.Encryption(owner="a"))  # opens the system's random numbers
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: written,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 3,  # those that are open: no socket and no file can be opened any more
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))


def check(stream: Any, pages_limit: int) -> int:
    """Return the number of pages; raises Refused."""
    if stream.read(5) != b"%PDF-":
        raise Refused("PDF_NOT_PDF", "The file is not a PDF. Save or export the letter as PDF and upload that.")
    stream.seek(0)
    try:
        with pikepdf.open(stream, attempt_recovery=False, suppress_warnings=True) as pdf:
            return check_opened(pdf, pages_limit)
    except pikepdf.PasswordError:
        raise Refused("PDF_ENCRYPTED", "The PDF asks for a password. Remove the password.") from None
    except pikepdf.PdfError as error:
        if "loop" in str(error).lower() or "bad_alloc" in str(error):
            raise Refused(
                "PDF_TOO_COMPLEX", "The PDF refers to itself, or unpacks, without end. Export it anew."
            ) from None
        raise damaged() from None
    except (Refused, MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001  (a number where a name belongs, and so on: there is no end to such files)
        raise damaged() from None


def check_opened(pdf: pikepdf.Pdf, pages_limit: int) -> int:
    """Look at the whole file, cheap things first."""
    if pdf.is_encrypted:
        text = "The PDF is restricted by an owner's password. Export it without restrictions."
        raise Refused("PDF_RESTRICTED", text)
    for count in (lambda: int(pdf.trailer.get("/Size", 0)), lambda: len(pdf.objects)):  # what it says is known at once
        if (objects := count()) > OBJECTS_LIMIT:
            text = f"The PDF has {objects:,} objects, limit {OBJECTS_LIMIT:,}. Export it in a simpler form."
            raise Refused("PDF_TOO_COMPLEX", text)
    pages = len(pdf.pages)
    if not 1 <= pages <= pages_limit:
        counted = "1 page" if pages == 1 else f"{pages:,} pages"
        raise Refused(
            "PDF_PAGES", f"The PDF has {counted}; a letter has 1 to {pages_limit}. Change the number of pages."
        )
    for number, page in enumerate(pdf.pages, start=1):
        check_page(number, page)
    check_objects(pdf)
    if pdf.get_warnings():
        raise damaged()
    return pages


def check_page(number: int, page: pikepdf.Page) -> None:
    """Raise Refused where what is seen of the page is not A4 portrait: the crop box, turned as the page says."""
    try:
        media, crop = ([float(edge) for edge in box] for box in (page.mediabox, page.cropbox))
        unit, turned = float(inherited(page, "/UserUnit") or 1), int(inherited(page, "/Rotate") or 0)
        seen = [*map(max, corner(media, min), corner(crop, min)), *map(min, corner(media, max), corner(crop, max))]
    except (TypeError, ValueError, AttributeError):
        raise damaged() from None
    width, height = ((seen[place + 2] - seen[place]) * POINT * unit for place in (0, 1))
    if turned % 180:
        width, height = height, width
    if not (abs(width - WIDTH) <= TOLERANCE + ROUNDING and abs(height - HEIGHT) <= TOLERANCE + ROUNDING):
        size = f"{width:,.0f} × {height:,.0f} mm"
        text = f"Page {number} is {size[:60]}; letters are A4 portrait, 210 × 297 mm. Set the paper size to A4."
        raise Refused("PDF_PAGE_SIZE", text)


def corner(box: list[float], which: Any) -> tuple[float, float]:
    """Return the lower left (min) or upper right (max) corner: boxes may be written from any corner."""
    left, bottom, right, top = box
    return which(left, right), which(bottom, top)


def inherited(page: pikepdf.Page, name: str) -> Any:
    """Return a page's attribute, its own or that of the nearest level above."""
    level: Any = page.obj
    for _ in range(PARENTS_LIMIT):
        if name in level:
            return level[name]
        if "/Parent" not in level:
            return None
        level = level["/Parent"]
    raise Refused("PDF_TOO_COMPLEX", "The PDF's pages are nested too deeply. Export it anew.")


def check_objects(pdf: pikepdf.Pdf) -> None:
    """Look at every object of the file, used or not, and at what stands in its trailer."""
    if not pdf.Root.is_indirect:
        raise damaged()  # readers disagree about such a file
    values = decoded = 0
    for value in within(pdf.trailer):
        if isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
            check_active(value)
    for found in pdf.objects:
        for value in within(found):
            values += 1
            if values > VALUES_LIMIT:
                raise Refused("PDF_TOO_COMPLEX", "The PDF holds too many values. Export it in a simpler form.")
            if isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
                check_active(value)
        if isinstance(found, pikepdf.Stream):
            decoded += unpacked(found)
            if decoded > DECODED_LIMIT:
                raise too_large()


def within(found: Any) -> Iterator[Any]:
    """Give an object and everything in it that is not an object of its own."""
    waiting = [found]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
            inner = value.stream_dict if isinstance(value, pikepdf.Stream) else value
            parts = [part for _, part in inner.items()]
        elif isinstance(value, pikepdf.Array):
            parts = list(value)
        else:
            continue
        waiting += [part for part in parts if not getattr(part, "is_indirect", False)]


def check_active(value: Any) -> None:
    """Raise Refused for anything that would run, play, send, or bring another file along."""
    names = set(value.keys())
    found = names & KEYS
    if str(value.get("/S", "")) in ACTIONS:
        found.add(str(value["/S"]))
    if str(value.get("/Subtype", "")) in SUBTYPES:
        found.add(str(value["/Subtype"]))
    # By what they hold: a font may be named FS or UF.
    outside = str(value.get("/FS", "")) == "/URL" or isinstance(value.get("/UF"), pikepdf.String)
    if outside or str(value.get("/Type", "")) == "/Filespec":
        found.add("/Filespec")
    if isinstance(value, pikepdf.Stream) and names & {"/F", "/Ref"}:  # a structure element's /Ref is no stream's
        found.add("a stream outside the file")
    if found:
        what = sorted(found)[0].lstrip("/")
        text = f"The PDF holds active content or another file ({what}). Print it to a new PDF and upload that."
        raise Refused("PDF_ACTIVE_CONTENT", text)


def unpacked(stream: pikepdf.Stream) -> int:
    """Return the unpacked size of a stream in bytes; pictures that stay packed (JPEG) are judged by what they claim."""
    if str(stream.get("/Subtype", "")) == "/Image":
        try:
            pixels = int(stream.get("/Width", 0)) * int(stream.get("/Height", 0))
        except (TypeError, ValueError):
            raise damaged() from None
        if pixels > PIXELS_LIMIT:
            raise too_large()
    try:
        return len(stream.read_bytes())
    except pikepdf.DataDecodingError as error:
        raise (too_large() if "bad_alloc" in str(error) else damaged()) from None  # bad_alloc: no more memory
    except pikepdf.PdfError:  # JPEG and the like are not unpacked here
        return len(stream.read_raw_bytes())


def damaged() -> Refused:
    """Say that the file cannot be read as it is."""
    return Refused("PDF_DAMAGED", "The PDF is damaged or was cut off. Export the letter again and upload the new file.")


def too_large() -> Refused:
    """Say that it is small outside and huge inside."""
    return Refused("PDF_TOO_COMPLEX", "Unpacked, the PDF is far larger than a letter. Use smaller pictures.")


if __name__ == "__main__":
    main()
