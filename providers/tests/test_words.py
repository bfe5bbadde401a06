"""What a message says."""

import pytest

from notify.models import TemplateVersion
from notify.testing import make_notification, make_template
from providers.words import Words, html

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


def test_a_subject_stays_in_one_line_whatever_its_values_hold():
    message = make_notification(notification_type="email", personalisation={"name": "A\r\nBcc: b\u2028c", "date": ""})
    assert Words().subject(message) == "For A Bcc: b c"


def test_a_text_message_has_no_subject():
    assert Words().subject(make_notification()) == ""


def test_html_shows_text_as_it_is_and_keeps_its_lines():
    written = html('<b>Tom & "Jo"</b>\nsecond line\n\n\n<script>alert(1)</script>\n')
    assert "<p>&lt;b&gt;Tom &amp; &quot;Jo&quot;&lt;/b&gt;<br>\nsecond line</p>" in written
    assert "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>" in written
    assert "<script" not in written


@pytest.mark.parametrize(
    ("text", "address", "after"),
    [
        ("See https://example.org/a?b=1&c=2.", "https://example.org/a?b=1&amp;c=2", "."),
        ("See (http://example.org/).", "http://example.org/", ")."),
        ("HTTPS://EXAMPLE.ORG/x, now", "HTTPS://EXAMPLE.ORG/x", ", now"),
    ],
)
def test_web_addresses_become_links_without_the_full_stop_after_them(text, address, after):
    assert f'<a href="{address}">{address}</a>{after}' in html(text)


@pytest.mark.parametrize("text", ["javascript:alert(1)", "ftp://example.org/", "data:text/html,x", "https://", "a@b.c"])
def test_nothing_else_becomes_a_link(text):
    assert "<a " not in html(text)


def test_no_value_ends_the_attribute_of_a_link():
    written = html('https://example.org/"onmouseover="alert(1) https://example.org/\'x')
    assert written.count("<a ") == 2
    assert 'href="https://example.org/"' in written
    assert '"onmouseover' not in written
