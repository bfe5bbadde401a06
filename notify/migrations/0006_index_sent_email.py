"""One index of what was sent, email as well as SMS, in place of the one of SMS; built while messages go out."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("notify", "0005_add_unscanned_index"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["notification_type", "sent_at"],
                name="notification_sent",
                condition=models.Q(notification_type__in=["sms", "email"], sent_at__isnull=False),
            ),
        ),
        RemoveIndexConcurrently(model_name="notification", name="notification_sms_sent"),
    ]
