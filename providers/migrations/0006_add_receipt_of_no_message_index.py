"""An index over the receipts that go by their own age; built while receipts go on coming in."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("providers", "0005_held_notification"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="receipt",
            index=models.Index(
                fields=["received_at"],
                name="receipt_of_no_message",
                condition=models.Q(
                    models.Q(notification_id__isnull=True) | models.Q(outcome="no-such-message"),
                    applied_at__isnull=False,
                ),
            ),
        ),
    ]
