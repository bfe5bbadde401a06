"""The provider's own id on its receipts; with a database default, as receipts go on coming in from older processes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0006_add_receipt_of_no_message_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="receipt",
            name="provider_reference",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="The provider's own id, where it does not repeat ours.",
                max_length=200,
            ),
        ),
    ]
