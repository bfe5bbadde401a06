"""An index over the jobs whose messages retention leaves alone; built while jobs go on."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside a transaction only

    dependencies = [
        ("jobs", "0003_add_watchdog_indexes"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(fields=["service", "id"], name="job_unarchived", condition=models.Q(archived=False)),
        ),
    ]
