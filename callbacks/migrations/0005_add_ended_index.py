"""An index over finished callbacks by when they ended; built while callbacks go on."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("callbacks", "0004_add_given_up_index"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="callback",
            index=models.Index(
                Coalesce("delivered_at", "due_at"),
                name="callback_ended",
                condition=models.Q(status__in=["delivered", "exhausted"]),
            ),
        ),
    ]
