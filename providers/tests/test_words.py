"""What a message says."""

import pytest

from notify.models import TemplateVersion
from notify.testing import make_notification, make_template
from providers.words import Words

pytestmark = pytest.mark.django_db


def test_a_message_keeps_the_version_it_was_made_with():
    template = make_template(content="Old ((name))")
    message = make_notification(template=template)
    template.content = "New ((name))"
    template.save()
    newer = make_notification(template=template)
    words = Words()
    assert [words.body(message), words.body(newer)] == ["Old Person", "New Person"]


def test_what_a_value_contains_is_never_evaluated_again():
    message = make_notification(personalisation={"name": "((date)) %s {0}", "date": "1 May"})
    assert Words().body(message) == "((date)) %s {0}, your appointment is on 1 May."


def test_a_text_message_travels_in_plain_characters_and_an_email_as_it_was_written():
    values = {"name": "“Zoë” – O’Neill", "date": "1 May"}
    sms = make_notification(personalisation=values)
    email = make_notification(notification_type="email", personalisation=values)
    assert Words().body(sms).startswith('"Zoë" - O\'Neill,')
    assert "“Zoë” – O’Neill" in Words().body(email)


def test_a_version_is_read_once_for_any_number_of_messages(django_assert_num_queries):
    template = make_template()
    messages = [make_notification(template=template) for _ in range(20)]
    words = Words()
    with django_assert_num_queries(1):
        assert len({words.body(message) for message in messages}) == 1


def test_a_version_that_is_gone_raises():
    message = make_notification()
    TemplateVersion.objects.all().delete()
    with pytest.raises(TemplateVersion.DoesNotExist):
        Words().body(message)
