"""An index over the few callbacks that were given up; built while callbacks go on being made."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("callbacks", "0003_once_per_change"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="callback",
            index=models.Index(
                fields=["endpoint"],
                name="callback_given_up",
                condition=models.Q(status="exhausted"),
            ),
        ),
    ]
