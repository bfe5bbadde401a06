"""An index of the letters on their way, in place of one of all messages: SMS and email never needed it."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("notify", "0006_index_sent_email"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["sent_at"],
                name="notification_letter_sent",
                condition=models.Q(notification_type="letter", status="sending"),
            ),
        ),
        RemoveIndexConcurrently(model_name="notification", name="notification_in_flight"),
    ]
