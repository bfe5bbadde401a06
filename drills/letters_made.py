"""Letters for drills, with PDFs in their storage, and the judgement of what a print run made of them."""

import hashlib
import random
import zipfile
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from drills.house import House

_LETTER_BYTES = 3_000  # at least; a real letter has more, which only takes longer
_SHOWN = 5  # of each kind of fault


def make_letters(count: int, chance: random.Random, *, created_at: datetime) -> list[str]:
    """Make letters that are ready to be printed, of three services and two postages; returns their keys."""
    from django.core.files.base import ContentFile
    from django.core.files.storage import storages

    from letters.models import Letter
    from notify.models import Notification
    from notify.testing import make_template

    templates = [make_template(notification_type="letter") for _ in range(3)]
    notifications, letters = [], []
    for _ in range(count):
        template = chance.choice(templates)
        one = Notification(
            service=template.service, template=template, template_version=1, notification_type="letter",
            recipient="An address", created_at=created_at,
        )  # fmt: skip
        data = b"%PDF-1.7\n" + chance.randbytes(_LETTER_BYTES + chance.randrange(1_000))
        name = storages["letters-pdf"].save(f"{created_at:%Y-%m-%d}/{one.pk}.pdf", ContentFile(data))
        notifications.append(one)
        letters.append(Letter(
            notification=one, pdf=name, sha256=hashlib.sha256(data).hexdigest(), pages=chance.randint(1, 10),
            postage=chance.choice(["first", "second"]),
        ))  # fmt: skip
    Notification.objects.bulk_create(notifications, batch_size=1_000)
    Letter.objects.bulk_create(letters, batch_size=1_000)
    return [str(one.pk) for one in notifications]


def spoil(house: House, keys: Collection[str], chance: random.Random) -> Counter:
    """Remove, change or truncate these letters' PDFs; returns how many of each."""
    from letters.models import Letter

    done: Counter = Counter()
    for letter in Letter.objects.filter(pk__in=keys):
        path = house.var / "letters-pdf" / letter.pdf.name
        data = path.read_bytes()
        how = chance.choice(["removed", "changed", "truncated"])
        done[how] += 1
        if how == "removed":
            path.unlink()
        else:
            path.write_bytes(data[:-1] if how == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    return done


def standing(house: House, keys: Collection[str], *, spoiled: Collection[str] = ()) -> tuple[int, int, list[str]]:
    """Count letters in no zip and letters in more than one, and say what else is not as it must be."""
    from letters.models import Letter, PrintFile
    from notify.models import Notification

    packed: Counter = Counter()
    broken = []
    for file in PrintFile.objects.filter(pk__in=Letter.objects.filter(pk__in=keys).values("print_file")):
        path = house.var / "postal" / file.name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            broken.append(f"zip {file.name} is not what its row says")
    for path in sorted((house.var / "postal").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            packed.update(Path(name).stem for name in archive.namelist())
    statuses = {str(pk): status for pk, status in Notification.objects.values_list("pk", "status")}
    good = set(keys) - set(spoiled)
    wrong = [key for key in good if statuses[key] not in ("sent", "delivered")]
    wrong += [key for key in spoiled if statuses[key] != "technical-failure" or packed[key]]
    broken += [f"letter {key} is “{statuses[key]}”" for key in sorted(wrong)[:_SHOWN]]
    broken += [f"{len(wrong):,} letters have the wrong status"] * (len(wrong) > _SHOWN)
    return sum(not packed[key] for key in good), sum(packed[key] > 1 for key in keys), broken
