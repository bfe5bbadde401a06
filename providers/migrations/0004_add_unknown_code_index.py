"""An index over the receipts whose code is not known; built while receipts go on coming in."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("providers", "0003_add_holds_and_rate_limits"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="receipt",
            index=models.Index(
                fields=["provider", "code"],
                name="receipt_with_unknown_code",
                condition=models.Q(outcome="unknown-code"),
            ),
        ),
    ]
