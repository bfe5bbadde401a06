"""Who may write a status: notify/states.py and the insert of new rows; for notifications only callbacks/outcomes.py."""

import ast
import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.conf import settings

from notify.tests.test_layering import application_files

WRITER = "notify/states.py"
OUTCOMES = "callbacks/outcomes.py"
MOVERS = {"move_to", "move_each"}
CREATORS = {"create", "bulk_create", "get_or_create", "update_or_create", "acreate", "abulk_create"}
INSERTS = {"insert_lines", "insert_new"}
WITH_STATES = {"Notification", "Job", "Callback"}
_SET_CLAUSE = re.compile(r"\bSET\b(.*?)(?:\bFROM\b|\bWHERE\b|\bRETURNING\b|\Z)", re.IGNORECASE | re.DOTALL)
_STATUS = re.compile(r"(?<![\w.])\"?status\"?\s*=", re.IGNORECASE)


def writes(source: str, path: str = "jobs/some_verb.py") -> list[str]:
    """Return a sentence for each place of a module that writes a status it may not write."""
    if path == WRITER:
        return []
    return [f"{path}:{line}: {what}" for line, what in sorted(set(_findings(ast.parse(source), path)))]


def _findings(tree: ast.Module, path: str) -> Iterator[tuple[int, str]]:
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(leaf, ast.Attribute) and leaf.attr == "status" for t in targets for leaf in ast.walk(t)):
                yield node.lineno, "assigns .status"
        elif isinstance(node, ast.Constant | ast.JoinedStr) and _sets_status(_text(node)):
            yield node.lineno, "SQL that sets status"
        elif isinstance(node, ast.Call):
            around = [scope for scope in scopes if scope.lineno <= node.lineno <= (scope.end_lineno or 0)]
            yield from _call(node, around[-1] if around else tree, path)


def _call(call: ast.Call, scope: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    keywords = {keyword.arg for keyword in call.keywords}
    if name in ("update", "aupdate") and (_names_status(call) or "status" in keywords):
        yield call.lineno, "update() of status"
    if name == "update_or_create" and _names_status(call):
        yield call.lineno, "update_or_create() of status"
    # Lists of fields may come from a variable: none in such a function may name the status.
    if ("update_fields" in keywords or name in ("bulk_update", "abulk_update")) and _lists_status(scope):
        yield call.lineno, "saves the field status"
    if name == "setattr" and len(call.args) > 1 and getattr(call.args[1], "value", None) == "status":
        yield call.lineno, "setattr() of status"
    if path == OUTCOMES:
        return
    if name in MOVERS and not _moves_something_else(call.func, scope):
        yield call.lineno, f"{name}() of what may be notifications"
    if name in INSERTS and not (call.args and ast.unparse(call.args[0]) in ("Callback", "Job", "Letter", "model")):
        yield call.lineno, f"{name}() of what may be notifications"
    if name == "update_each" and not (call.args and _model_without_states(call.args[0])):
        yield call.lineno, "update_each() of rows that have a status"
    subject = ast.unparse(call.func)
    if name in CREATORS and subject.startswith("Notification.") and (name.endswith("bulk_create") or keywords):
        yield call.lineno, "creates notifications"


def _moves_something_else(func: ast.expr, scope: ast.AST) -> bool:
    """True where the rows that are moved are plainly jobs or callbacks; what cannot be told is not."""
    text = ast.unparse(func)
    for _ in range(5):  # follow variables of the function to what they were made from
        root = re.match(r"\w+", text)
        if root is None or root.group() in ("Job", "Callback"):
            return root is not None and "notification" not in text.lower()
        made = [
            ast.unparse(node.value)
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == root.group()
        ]
        if not made:
            return False
        text = made[-1]
    return False


def _model_without_states(argument: ast.expr) -> bool:
    """True for a model's name, written out, that is none of those with a status."""
    name = ast.unparse(argument)
    return name[0].isupper() and name not in WITH_STATES


def _names_status(call: ast.Call) -> bool:
    dictionaries = [node for node in ast.walk(call) if isinstance(node, ast.Dict)]
    return any(getattr(key, "value", None) == "status" for found in dictionaries for key in found.keys)


def _lists_status(scope: ast.AST) -> bool:
    lists = [node for node in ast.walk(scope) if isinstance(node, ast.List | ast.Tuple | ast.Set)]
    return any(getattr(item, "value", None) == "status" for found in lists for item in found.elts)


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _sets_status(text: str) -> bool:
    if not re.search(r"\bUPDATE\b", text, re.IGNORECASE):
        return False
    return any(_STATUS.search(clause) for clause in _SET_CLAUSE.findall(text))


@pytest.mark.parametrize(
    "source",
    [
        "job.status = 'error'\njob.save()",
        "job.status, job.reason = 'error', ''",
        "Job.objects.filter(pk=1).update(status='error')",
        "Job.objects.update(**{'status': 'error'})",
        "job.save(update_fields=['status'])",
        "def f(job):\n    names = ('status', 'reason')\n    job.save(update_fields=names)",
        "Job.objects.bulk_update(jobs, ['progressed_at', 'status'])",
        "Job.objects.update_or_create(pk=1, defaults={'status': 'error'})",
        "Job.objects.bulk_create(jobs, update_conflicts=True, update_fields=['status'])",
        "setattr(job, 'status', 'error')",
        "cursor.execute('UPDATE jobs_job SET progressed_at = now(), status = %s WHERE id = %s')",
        "cursor.execute(f'UPDATE {table} SET status=%s')",
        'SQL = """INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE\n SET "status" = excluded.status"""',
        "Notification.objects.filter(pk=1).move_to('sent', now=now)",
        "job.notifications.move_to('cancelled', now=now)",
        "def f(rows):\n    rows.move_to('sent', now=now)",
        "def f():\n    rows = Notification.objects.all()\n    mine = rows.filter(pk=1)\n    mine.move_each([])",
        "insert_lines(Notification, columns, lines)",
        "bulk.insert_new(Notification, columns, rows)",
        "bulk.update_each(Job, keys, written)",
        "bulk.update_each(type(rows[0]), keys, written)",
        "Notification.objects.bulk_create(rows)",
        "Notification.objects.create(status='delivered')",
    ],
)
def test_a_forbidden_write_is_seen(source):
    assert writes(source)


@pytest.mark.parametrize(
    "source",
    [
        "Job.objects.filter(pk=1).move_to('error', now=now)",
        "def f(pk):\n    mine = Job.objects.filter(pk=pk)\n    mine.move_to('error', now=now)",
        "Callback.objects.move_each(moves, now=now)",
        "Job(status='pending').save(force_insert=True)",
        "Job.objects.filter(status='pending').update(progressed_at=now)",
        "SQL = \"UPDATE jobs_job SET progressed_at = now() WHERE status = 'in progress'\"",
        "provider.save(update_fields=['share'])",
        "bulk.insert_new(Callback, columns, rows)",
        "bulk.update_each(Receipt, keys, written)",
        "status = 'error'",
    ],
)
def test_an_allowed_line_is_left_alone(source):
    assert writes(source) == []


def test_the_models_with_a_status_are_those_known_here():
    assert {
        model.__name__ for model in apps.get_models() if hasattr(model, "MOVES") and not model._meta.proxy
    } == WITH_STATES


def test_only_the_outcomes_may_move_notifications():
    source = "Notification.objects.move_each(moves, now=now)"
    assert writes(source, OUTCOMES) == []
    assert writes(source, "providers/sending.py")


def test_nobody_else_writes_a_status():
    found = []
    for path in application_files():
        if "migrations" not in path.parts:
            found += writes((settings.BASE_DIR / path).read_text(), str(path))
    assert found == []
