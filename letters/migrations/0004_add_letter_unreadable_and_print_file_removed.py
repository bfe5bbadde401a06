"""When a letter's PDF could not be read, and when a zip was removed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("letters", "0003_add_print_file_acknowledgeable"),
    ]

    operations = [
        migrations.AddField(
            model_name="letter",
            name="unreadable_at",
            field=models.DateTimeField(blank=True, help_text="A print run could not read its PDF then.", null=True),
        ),
        migrations.AddField(
            model_name="printfile",
            name="removed_at",
            field=models.DateTimeField(blank=True, help_text="When it was deleted from the storage postal.", null=True),
        ),
    ]
