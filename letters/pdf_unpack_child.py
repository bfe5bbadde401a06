"""Takes a PDF apart, so that the virus scanner sees what the PDF keeps packed or behind an owner's password.

Run as `python -I pdf_unpack_child.py MEMORY_BYTES CPU_SECONDS WRITTEN_BYTES` with the PDF as standard input and a file
as standard output: a tar of the file's streams, unpacked, each as a member of its own, because signatures may begin at
a file's first byte. Confined like its sibling; whatever ends it, what was written until then can be scanned.
"""

import io
import os
import sys
import tarfile

import pikepdf

sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # -I leaves it out
from pdf_check_child import confine

_PICTURES = "/Image"  # not unpacked: they are large, and harmless on their own


def main() -> None:
    """Write the tar."""
    memory, cpu, written = (int(text) for text in sys.argv[1:4])
    confine(memory, cpu, written=written)
    with pikepdf.open(sys.stdin.buffer, suppress_warnings=True) as pdf:
        write(pdf)
    os._exit(0)  # without tidying up, as its sibling


def write(pdf: pikepdf.Pdf) -> None:
    """Write the streams, attachments first: the room may not do for all."""
    found = [one for one in pdf.objects if isinstance(one, pikepdf.Stream) and str(one.get("/Subtype")) != _PICTURES]
    found.sort(key=lambda one: str(one.get("/Type")) != "/EmbeddedFile")
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as packed:
        for number, one in enumerate(found):
            try:
                data = one.read_bytes()
            except pikepdf.PdfError:
                data = one.read_raw_bytes()
            member = tarfile.TarInfo(str(number))
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
