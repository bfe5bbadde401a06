import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.content import (
    PLACEHOLDERS_LIMIT,
    RECIPIENT_COLUMNS,
    ContentProblem,
    TemplateProblem,
    check_length,
    check_syntax,
    column_key,
    compile_content,
    excerpt,
    line_breaks,
    missing,
    placeholders,
    required,
)


def problem(text: str) -> TemplateProblem:
    with pytest.raises(TemplateProblem) as caught:
        check_syntax(text)
    assert caught.value.code == "TEMPLATE_SYNTAX"
    return caught.value


@pytest.mark.parametrize(
    "name",
    ["First Name", "first_name", "FIRST-NAME", "first\u00a0name", " firstname ", "first\tname", "\ufefffirst name"],
)
def test_names_are_equal_whatever_their_case_blanks_hyphens_and_underscores(name):
    assert column_key(name) == "firstname"


def test_names_are_equal_whether_accents_are_composed_or_not():
    assert column_key("Pre\u0301nom") == column_key("prénom") != column_key("prenom")


def test_placeholders_come_in_order_as_first_written_and_once():
    assert placeholders("((b)) and ((First Name))", "((A??yes)) ((first_name)) ((B))") == ["b", "First Name", "A"]
    assert placeholders("none (at all)") == []


def test_required_leaves_out_what_is_only_a_condition():
    assert required("((late??hurry)) ((name)) ((due??by)) ((due))") == ["name", "due"]


def test_values_are_put_in_by_key():
    assert (
        compile_content("Dear ((First Name)), 100% ((x)).").render({"firstname": "Jo", "x": "%s"})
        == "Dear Jo, 100% %s."
    )


def test_a_value_that_looks_like_a_placeholder_stays_what_it_is():
    values = {"name": "((code))", "code": "secret"}
    assert compile_content("((name)) ((code))").render(values) == "((code)) secret"


@given(st.text(), st.text())
def test_any_value_and_any_surrounding_text_arrive_unchanged(value, around):
    around = around.replace("(", "[")
    assert compile_content(f"{around}((v)){around}").render({"v": value}) == around + value + around


@pytest.mark.parametrize("value", ["yes", "Y", "TRUE", "1", "t", " Yes "])
def test_a_conditional_text_is_shown_when_the_value_is_yes(value):
    assert compile_content("Come((urgent?? at once))!").render({"urgent": value}) == "Come at once!"


@pytest.mark.parametrize("value", ["no", "", "0", "yesterday", "maybe"])
def test_a_conditional_text_is_not_shown_otherwise(value):
    assert compile_content("Come((urgent?? at once))!").render({"urgent": value}) == "Come!"


def test_single_brackets_may_stand_around_and_inside():
    assert compile_content("(((a))) ((b??(bring ID)))").render({"a": "1", "b": "yes"}) == "(1) (bring ID)"


def test_a_column_that_is_not_there_is_a_problem_not_a_gap():
    with pytest.raises(ContentProblem) as caught:
        compile_content("Dear ((First Name))").render({"name": "Jo"})
    assert caught.value.code == "VALUE_MISSING"
    assert "firstname" in caught.value.message


def test_missing_names_those_without_a_value():
    values = {"blank": " \u00a0", "there": "x", "zero": "0"}
    assert missing(["Blank", "there", "Zero", "ab sent"], values) == ["Blank", "ab sent"]


@pytest.mark.parametrize(
    "text",
    ["", "no brackets", "((a)) ((b-c_d)) ((late?))", "(((a)))", "a)) b", "((x??one\ntwo))", "((x??(y) z))", "(a(b)"],
)
def test_readable_templates_pass(text):
    check_syntax(text)


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("Dear ((name", 5, "not closed"),
        ("Dear ((name)", 5, "not closed"),
        ("((a)) ((b ((c)) d))", 6, "another (("),
        ("((a??((b)) c))", 0, "another (("),
        ("ab (())", 3, "no name"),
        ("((  ))", 0, "no name"),
        ("((??text))", 0, "no name"),
        ("((-_))", 0, "no name"),
        ("Call ((Phone_Number))", 5, "recipient column"),
        ("((na\nme))", 0, "line break"),
    ],
)
def test_unreadable_templates_are_refused_with_the_place(text, position, words):
    found = problem(text)
    assert found.position == position
    assert words in found.message
    assert found.message.startswith(f"Line 1, character {position + 1}: ")


def test_the_place_counts_lines_from_the_first_problem():
    assert problem("one\ntwo ((x)) ((\nthree (())").message.startswith("Line 2, character 11: ")


def test_every_recipient_column_is_reserved():
    for name in (name for names in RECIPIENT_COLUMNS.values() for name in names):
        assert "recipient column" in problem(f"(({name}))").message


def test_as_many_placeholders_as_the_limit_and_no_more():
    most = "".join(f"((n{number}))" for number in range(PLACEHOLDERS_LIMIT))
    check_syntax(most + "((N1))")
    assert problem(most + " ((one more))").position == len(most) + 1


def test_thousands_of_open_brackets_are_judged_at_once():
    started = time.perf_counter()
    for text in ("((" * 20_000, "((a??" * 8_000, "((a??" + "(b)" * 10_000, "((a??(" + "b" * 30_000):
        problem(text)
    assert time.perf_counter() - started < 30  # quadratic, it would take many minutes


def test_the_limit_itself_is_allowed_and_one_more_is_not():
    check_length("x" * 918, 918)
    with pytest.raises(ContentProblem) as caught:
        check_length("x" * 919, 918)
    assert caught.value.code == "MESSAGE_TOO_LONG"
    assert "919 characters, limit 918" in caught.value.message


@pytest.mark.parametrize("text", ["", " \n\u00a0"])
def test_a_message_without_text_is_refused(text):
    with pytest.raises(ContentProblem) as caught:
        check_length(text, 918)
    assert caught.value.code == "MESSAGE_EMPTY"


def test_every_kind_of_line_break_becomes_a_newline():
    assert line_breaks("a\r\nb\rc\u2028d\u2029e \n") == "a\nb\nc\nd\ne"


def test_an_excerpt_is_short_and_shows_control_characters():
    assert excerpt("a\x00\n\u2028b") == '"a\\x00\\x0a\\u2028b"'
    assert excerpt("x" * 40) == '"' + "x" * 40 + '"'
    assert len(excerpt("x" * 41)) == 42


def test_a_problem_shows_its_code_and_survives_pickling():
    again = pickle.loads(pickle.dumps(TemplateProblem("CODE", "Text.", 7)))
    assert (str(again), again.code, again.message, again.position) == ("CODE: Text.", "CODE", "Text.", 7)
