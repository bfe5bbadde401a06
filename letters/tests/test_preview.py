"""How a letter looks, on its own page and on its template's."""

import io
from datetime import UTC, datetime, timedelta

import pikepdf
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.urls import reverse
from PIL import Image

from letters import preview, rendering
from letters.models import Letter
from notify.testing import make_letter, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep PDFs out of the installation's own folder."""
    settings.LOOP_LINGER_FOR = timedelta(0)
    settings.STORAGES = settings.STORAGES | {
        name: {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path / name}}
        for name in ("letters-pdf", "letters-scan", "letters-invalid")
    }


def picture(client, view, pk, page=1):
    return client.get(reverse(f"admin:{view}", args=[pk, page]))


def size_of(response):
    assert response["Content-Type"] == "image/png"
    assert "no-store" in response["Cache-Control"]
    return Image.open(io.BytesIO(response.content)).size


def long_letter(**fields):
    template = make_template(None, "letter", content="((text))", subject="")
    return make_letter(template=template, pdf=None, personalisation={"text": "\n".join(["x"] * 70)}, **fields)


def blank_pdf(width=595, height=842, pages=1):
    pdf = pikepdf.new()
    for _ in range(pages):
        pdf.add_blank_page(page_size=(width, height))
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


@pytest.mark.parametrize("rendered", [True, False])
def test_a_letters_page_shows_all_its_pages_whether_it_has_its_pdf_or_not(admin_client, rendered):
    letter = long_letter(due_at=NOW)
    if rendered:
        rendering.render_due(clock=lambda: NOW)
    before = Letter.objects.values().get()
    shown = admin_client.get(reverse("admin:letters_letter_change", args=[letter.pk])).content.decode()
    assert ("this is how it will look" in shown) is not rendered
    for page in (1, 2):
        assert reverse("admin:letters_letter_picture", args=[letter.pk, page]) in shown
        assert size_of(picture(admin_client, "letters_letter_picture", letter.pk, page)) == (1000, 1415)
    assert f'alt="Page {3} of' not in shown
    missing = picture(admin_client, "letters_letter_picture", letter.pk, 3)
    assert (missing.status_code, missing.content) == (404, b"The letter has no page 3.")
    assert Letter.objects.values().get() == before


def test_a_letter_that_cannot_be_printed_says_why_instead(admin_client):
    letter = make_letter(pdf=None, personalisation={"name": "漢", "date": "<b>x</b>"}, status="validation-failed")
    shown = admin_client.get(reverse("admin:letters_letter_change", args=[letter.pk])).content.decode()
    assert "LETTER_CHARACTER" in shown
    assert picture(admin_client, "letters_letter_picture", letter.pk).status_code == 404


def test_a_letter_whose_words_cannot_be_read_says_so(admin_client):
    letter = make_letter(pdf=None, template_version=99)
    shown = admin_client.get(reverse("admin:letters_letter_change", args=[letter.pk])).content.decode()
    assert "This letter cannot be rendered (DoesNotExist)." in shown


@pytest.mark.parametrize("status", ["pending-virus-check", "virus-scan-failed"])
def test_a_file_that_may_hold_a_virus_is_never_opened(admin_client, status, monkeypatch):
    letter = make_letter(kind="precompiled", status=status, pdf=blank_pdf())
    monkeypatch.setattr(preview, "picture", lambda *args: pytest.fail("it was opened"))
    response = picture(admin_client, "letters_letter_picture", letter.pk)
    assert response.status_code == 404
    assert b"free of viruses" in response.content


def test_a_page_of_any_size_becomes_a_picture_of_bounded_size(admin_client):
    for width, height, expected in ((595, 842, (1000, 1415)), (14_400, 14_400, (1000, 1000)), (3, 14_400, (1, 1500))):
        letter = make_letter(kind="precompiled", pdf=blank_pdf(width, height))
        shown = size_of(picture(admin_client, "letters_letter_picture", letter.pk))
        assert all(abs(one - other) <= 1 for one, other in zip(shown, expected, strict=True))


def test_a_missing_broken_or_huge_file_is_said_and_not_a_server_error(admin_client, monkeypatch):
    letter = make_letter()
    assert picture(admin_client, "letters_letter_picture", letter.pk).content == (
        b"This file cannot be shown as a picture."
    )
    monkeypatch.setattr(preview, "BYTES_LIMIT", 10)
    assert b"larger than" in picture(admin_client, "letters_letter_picture", letter.pk).content
    storages["letters-pdf"].delete(letter.pdf.name)
    assert b"cannot be read (FileNotFoundError)" in picture(admin_client, "letters_letter_picture", letter.pk).content
    assert admin_client.get(reverse("admin:letters_letter_change", args=[letter.pk])).status_code == 200


def test_a_template_is_shown_with_the_names_of_its_placeholders_and_all_its_conditions(admin_client):
    template = make_template(None, "letter", subject="For ((name))", content="Dear ((name)),\n\n((late??Pay now))")
    pdf = preview.template_pdf(template)
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        text = document[0].get_textpage().get_text_range()
    for words in ("For ((name))", "Dear ((name)),", "Pay now", "Ms A Sample"):
        assert words in text
    page = admin_client.get(reverse("admin:notify_template_change", args=[template.pk])).content.decode()
    assert reverse("admin:letters_letter_template", args=[template.pk]) in page
    assert reverse("admin:letters_letter_template_picture", args=[template.pk, 1]) in page
    shown = admin_client.get(reverse("admin:letters_letter_template", args=[template.pk])).content.decode()
    assert "1 page." in shown
    assert size_of(picture(admin_client, "letters_letter_template_picture", template.pk)) == (1000, 1415)


def test_a_template_too_long_or_that_cannot_be_printed_says_so(admin_client):
    long = make_template(None, "letter", content="\n".join(["x"] * 700))
    shown = admin_client.get(reverse("admin:letters_letter_template", args=[long.pk])).content.decode()
    assert "more than 10 pages" in shown
    assert shown.count("letter-page") == 10
    bad = make_template(None, "letter", content="漢")
    shown = admin_client.get(reverse("admin:letters_letter_template", args=[bad.pk])).content.decode()
    assert "LETTER_CHARACTER" in shown
    assert picture(admin_client, "letters_letter_template_picture", bad.pk).status_code == 404


def test_other_channels_and_unknown_ids_have_no_preview(admin_client):
    sms = make_template()
    assert admin_client.get(reverse("admin:letters_letter_template", args=[sms.pk])).status_code == 404
    assert picture(admin_client, "letters_letter_picture", sms.pk).status_code == 404
    page = admin_client.get(reverse("admin:notify_template_change", args=[sms.pk])).content.decode()
    assert "of-template" not in page


def test_only_who_may_look_at_letters_sees_them(client, django_user_model):
    from django.contrib.auth.models import Permission

    letter, template = make_letter(pdf=None), make_template(None, "letter")
    addresses = [
        ("view_letter", reverse("admin:letters_letter_picture", args=[letter.pk, 1])),
        ("view_template", reverse("admin:letters_letter_template", args=[template.pk])),
        ("view_template", reverse("admin:letters_letter_template_picture", args=[template.pk, 1])),
    ]
    for _, address in addresses:
        assert client.get(address).status_code == 302  # to the sign-in page
    user = django_user_model.objects.create_user("clerk", password="a-password", is_staff=True)
    client.force_login(user)
    for permission, address in addresses:
        user.user_permissions.clear()
        assert client.get(address).status_code == 403
        user.user_permissions.add(Permission.objects.get(codename=permission))
        assert client.get(address).status_code == 200


def test_pictures_are_made_by_several_threads_at_once():
    from concurrent.futures import ThreadPoolExecutor

    pdf = blank_pdf(pages=3)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda page: preview.picture(pdf, page % 3 + 1), range(40)))
    assert len({bytes(one) for one in made}) == 1
    assert ContentFile(made[0]).size > 0


def test_letters_that_wait_for_their_pdf_are_found_by_a_filter(admin_client):
    due, vain = make_letter(pdf=None), make_letter(pdf=None, attempts=3)
    make_letter()

    def found(value):
        shown = admin_client.get(reverse("admin:letters_letter_changelist"), {"problem": value})
        return {letter.pk for letter in shown.context["cl"].queryset}

    assert found("due") == {due.pk, vain.pk}
    assert found("in-vain") == {vain.pk}
