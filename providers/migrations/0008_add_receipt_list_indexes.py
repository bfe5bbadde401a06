"""Indexes of the admin's list of receipts over the few rows that are rarely met; built while receipts come in."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("providers", "0007_add_receipt_provider_reference"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="receipt",
            index=models.Index(
                fields=["outcome", "id"],
                name="receipt_in_vain",
                condition=models.Q(models.Q(outcome="applied", _negated=True), applied_at__isnull=False),
            ),
        ),
        AddIndexConcurrently(
            model_name="receipt",
            index=models.Index(
                fields=["reported", "id"],
                name="receipt_reported",
                condition=models.Q(reported__in=["", "delivered"], _negated=True),
            ),
        ),
    ]
