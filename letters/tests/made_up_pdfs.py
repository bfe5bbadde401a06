"""PDFs for tests, each made here: good ones, and one for each way in which a file can be bad."""

import io
import re
import zlib
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, String

A4 = (595.28, 841.89)  # points
MM = 72 / 25.4  # points


def saved(pdf: pikepdf.Pdf, **options: Any) -> bytes:
    """Write a PDF to bytes."""
    out = io.BytesIO()
    pdf.save(out, **options)
    return out.getvalue()


def blank(pages: int = 1, size: tuple[float, float] = A4) -> pikepdf.Pdf:
    """Make a PDF of empty pages."""
    pdf = pikepdf.new()
    for _ in range(pages):
        pdf.add_blank_page(page_size=size)
    return pdf


def good(pages: int = 1, text: bytes = b"% a letter") -> bytes:
    """Make a letter that may be printed; its text stands uncompressed in the file."""
    pdf = blank(pages)
    for page in pdf.pages:
        page.obj.Contents = pdf.make_stream(text)
    return saved(pdf, compress_streams=False)


def sized(width: float, height: float, *, rotate: int = 0, crop: list[float] | None = None, unit: float = 1) -> bytes:
    """Make one page of a size in mm."""
    pdf = blank(size=(width * MM, height * MM))
    page = pdf.pages[0].obj
    if rotate:
        page.Rotate = rotate
    if crop:
        page.CropBox = Array([edge * MM for edge in crop])
    if unit != 1:
        page.UserUnit = unit
    return saved(pdf)


def rotated_by_its_parent() -> bytes:
    """Make a landscape page that is turned upright by the level above it."""
    pdf = blank(size=(297 * MM, 210 * MM))
    pdf.Root.Pages.Rotate = 90
    return saved(pdf)


def locked(user: str, **options: Any) -> bytes:
    """Make an encrypted PDF."""
    return saved(blank(), encryption=pikepdf.Encryption(owner="owner", user=user, **options))


def page_tree_loop() -> bytes:
    """Make a PDF whose page tree holds itself."""
    pdf = blank()
    data = saved(pdf, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    pages = next(line for line in data.split(b"\n") if b"/Kids" in line)
    number = pages_number(data)
    return data.replace(pages, pages.replace(pages.split(b"[")[1].split(b"]")[0], f" {number} 0 R ".encode()))


def pages_number(data: bytes) -> int:
    """Return the object number of the page tree's root."""
    before = data[: data.index(b"/Kids")]
    return int(before.rsplit(b" 0 obj", 1)[0].rsplit(b"\n", 1)[1])


def xref_loop() -> bytes:
    """Make a PDF whose cross-reference table names itself as its predecessor."""
    data = saved(blank(), object_stream_mode=pikepdf.ObjectStreamMode.disable)
    start = int(data.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    return data.replace(b"trailer <<", f"trailer << /Prev {start}".encode())


def many_objects(count: int) -> bytes:
    """Make a small PDF of many objects."""
    head = b"%PDF-1.5\n"
    parts = [b"1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n",
             b"2 0 obj\n<</Type/Pages/Count 1/Kids[3 0 R]>>\nendobj\n",
             b"3 0 obj\n<</Type/Page/Parent 2 0 R/Resources<<>>/MediaBox[0 0 595 842]>>\nendobj\n"]  # fmt: skip
    parts += [b"%d 0 obj\n0\nendobj\n" % number for number in range(4, count + 1)]
    offsets, place = [], len(head)
    for part in parts:
        offsets.append(place)
        place += len(part)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (count + 1)
    table += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count + 1, place)
    return head + b"".join(parts) + table + trailer


def huge_inside(size: int, pictures: int = 1) -> bytes:
    """Make a small PDF with pictures of `size` bytes each, unpacked."""
    pdf, packed, shown = blank(), zlib.compress(bytes(size), 9), Dictionary()
    for number in range(pictures):
        picture = pdf.make_stream(b"")
        picture.write(packed, filter=Name.FlateDecode)
        picture.Type, picture.Subtype, picture.ColorSpace = Name.XObject, Name.Image, Name.DeviceGray
        picture.Width, picture.Height, picture.BitsPerComponent = 1_000, size // 1_000, 8
        shown[f"/P{number}"] = picture
    pdf.pages[0].obj.Resources = Dictionary(XObject=shown)
    return saved(pdf)


def huge_claim() -> bytes:
    """Make a JPEG picture that claims to be of a billion pixels."""
    pdf = blank()
    picture = pdf.make_stream(b"\xff\xd8\xff\xd9")
    picture.Type, picture.Subtype, picture.ColorSpace = Name.XObject, Name.Image, Name.DeviceGray
    picture.Width, picture.Height, picture.BitsPerComponent, picture.Filter = 50_000, 20_000, 8, Name.DCTDecode
    pdf.pages[0].obj.Resources = Dictionary(XObject=Dictionary(P=picture))
    return saved(pdf)


def broken_stream() -> bytes:
    """Make a PDF whose page does not unpack."""
    pdf = blank()
    content = pdf.make_stream(b"this is not packed")
    content.Filter = Name.FlateDecode
    pdf.pages[0].obj.Contents = content
    return saved(pdf)


def active(kind: str) -> bytes:
    """Make a PDF that would run, play or send something, or brings another file along."""
    pdf = blank()
    page, root = pdf.pages[0].obj, pdf.Root
    if kind == "JavaScript":
        root.OpenAction = Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))
    elif kind == "hidden JavaScript":  # deep in a direct object that nothing on the page shows
        page.PieceInfo = Dictionary(A=Array([Array([Dictionary(B=Dictionary(JS=String("1")))])]))
    elif kind == "JavaScript on closing":
        root.AA = Dictionary(WC=Dictionary(S=Name.JavaScript, JS=String("1")))
    elif kind == "embedded file":
        pdf.attachments["other.txt"] = b"another file"
    elif kind == "XFA":
        root.AcroForm = Dictionary(Fields=Array([]), XFA=pdf.make_stream(b"<xdp/>"))
    elif kind == "external stream":
        stream = pdf.make_stream(b"")
        stream.F = String("http://example.org/page")
        page.Contents = stream
    elif kind in ("page of another file", "file of the web", "associated file"):
        _point_outside(kind, pdf)
    elif kind == "RichMedia":
        page.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.RichMedia, Rect=Array([0, 0, 1, 1]))])
    else:  # Launch, SubmitForm, GoToE, Thread
        root.OpenAction = Dictionary(S=Name(f"/{kind}"), F=String("other"))
    return saved(pdf)


def _point_outside(kind: str, pdf: pikepdf.Pdf) -> None:
    page = pdf.pages[0].obj
    if kind == "page of another file":
        form = pdf.make_stream(b"", Type=Name.XObject, Subtype=Name.Form, BBox=Array([0, 0, 1, 1]))
        form.Ref = Dictionary(F=String("other.pdf"), Page=0)
        page.Resources = Dictionary(XObject=Dictionary(P=form))
    elif kind == "file of the web":
        page.PieceInfo = Dictionary(A=Dictionary(FS=Name.URL, F=String("http://example.org/a")))
    else:
        pdf.Root.AF = Array([Dictionary(Type=Name.Filespec, F=String("other.pdf"))])


def catalog_in_the_trailer() -> bytes:
    """Make a PDF whose catalog, with a script in it, is no object of its own: some readers run it, others refuse it."""
    pdf = blank()
    written = saved(pdf, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    start, end = written.index(b"trailer"), written.index(b"startxref")
    kids = re.search(rb"/Pages (\d+ 0 R)", written)[1]
    script = b"/OpenAction <</S /JavaScript /JS (app.alert(1))>>"
    direct = b"<</Type /Catalog /Pages " + kids + b" " + script + b">>"
    trailer = re.sub(rb"/Root \d+ 0 R", lambda _: b"/Root " + direct, written[start:end])
    return written[:start] + trailer + written[end:]


def with_link() -> bytes:
    """Make a letter with a link, as word processors write them: harmless on paper."""
    pdf = blank()
    action = Dictionary(S=Name.URI, URI=String("https://example.org"))
    link = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 1, 1]), A=action)
    pdf.pages[0].obj.Annots = Array([link])
    return saved(pdf)


def with_attachment(data: bytes, **options: Any) -> bytes:
    """Make a letter with another file inside, packed as usual."""
    pdf = blank()
    pdf.attachments["other.txt"] = data
    return saved(pdf, compress_streams=True, **options)


def with_differences(data: bytes) -> bytes:
    """Make a letter that may be printed, its page packed as the differences of neighbouring bytes (a PNG predictor)."""
    pdf = blank()
    row = b"\x01" + bytes((byte - before) % 256 for before, byte in zip(b"\0" + data, data, strict=False))
    content = pdf.make_stream(b"")
    how = Dictionary(Predictor=11, Columns=len(data), Colors=1, BitsPerComponent=8)
    content.write(zlib.compress(row), filter=Name.FlateDecode, decode_parms=how)
    pdf.pages[0].obj.Contents = content
    return saved(pdf, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
