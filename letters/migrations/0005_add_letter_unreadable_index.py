"""An index over the letters a print run left out; built while letters go on coming in."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("letters", "0004_add_letter_unreadable_and_print_file_removed"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="letter",
            index=models.Index(
                fields=["notification"],
                name="letter_unreadable",
                condition=models.Q(unreadable_at__isnull=False),
            ),
        ),
    ]
