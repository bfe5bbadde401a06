"""What must always hold of letters: each is in at most one print file, and what is printed was found clean."""

from datetime import datetime

from django.db import connection

# What retention deletes goes from both sides: a file's letters may become fewer once it is uploaded, never more.
_CHECKS = {
    """SELECT l.notification_id FROM letters_letter l JOIN letters_printfile f ON f.id = l.print_file_id
       WHERE f.print_run_id IS DISTINCT FROM l.print_run_id ORDER BY 1""":
    "Letter {0}: its print file belongs to another print run than it does.",
    """SELECT notification_id FROM letters_letter WHERE print_file_id IS NOT NULL AND kind = 'precompiled'
       AND (scan_verdict <> 'clean' OR scanned_sha256 <> sha256) ORDER BY 1""":
    "Letter {0}: in a print file without a clean verdict for the same bytes.",
    """SELECT l.notification_id, n.status FROM letters_letter l JOIN letters_printfile f ON f.id = l.print_file_id
       JOIN notify_notification n ON n.id = l.notification_id
       WHERE f.uploaded_at IS NOT NULL AND n.status IN
       ('created', 'cancelled', 'pending-virus-check', 'validation-failed', 'virus-scan-failed') ORDER BY 1""":
    "Letter {0}: its zip was handed over, and it is “{1}”.",
    """SELECT f.name, f.letter_count, count(l.notification_id) FROM letters_printfile f
       LEFT JOIN letters_letter l ON l.print_file_id = f.id GROUP BY f.id
       HAVING count(l.notification_id) > f.letter_count
       OR (f.uploaded_at IS NULL AND count(l.notification_id) <> f.letter_count) ORDER BY 1""":
    "Zip {0}: {2:,} letters point to it, it holds {1:,}.",
    """SELECT r.day, f.name FROM letters_printrun r JOIN letters_printfile f ON f.print_run_id = r.id
       WHERE r.finished_at IS NOT NULL AND f.uploaded_at IS NULL ORDER BY 1, 2""":
    "Print run {0}: finished, but zip {1} was never handed over.",
}  # fmt: skip


def run(*, now: datetime) -> list[str]:
    """Return a sentence for each letter, zip and print run that breaks a rule."""
    broken: list[str] = []
    with connection.cursor() as cursor:
        for sql, sentence in _CHECKS.items():
            cursor.execute(sql)
            broken += [sentence.format(*row) for row in cursor.fetchall()]
    return broken
