"""Receipts in JSON, as several providers send them: one object, or an array in which a bad one stops no other."""

import json
from collections.abc import Callable
from typing import Any

from providers.backends import ReceiptProblem, Report, decode


def read_json(body: bytes, report: Callable[[dict[str, Any]], Report]) -> list[Report]:
    """Read a body with `report`, which reads one object and raises ReceiptProblem where it cannot.

    Raises ReceiptProblem for what is no receipt at all: RECEIPT_EMPTY, RECEIPT_UNREADABLE, or RECEIPT_AMBIGUOUS where
    a field came twice. In an array of several such an element becomes a report without reference, with that code.
    """
    try:
        read = _decode(decode(body))
    except (ValueError, RecursionError):
        raise ReceiptProblem("RECEIPT_UNREADABLE") from None
    if not isinstance(read, list):
        return [_one(read, report)]
    if not read:
        raise ReceiptProblem("RECEIPT_EMPTY")
    return [_one_or_problem(element, report) for element in read] if len(read) > 1 else [_one(read[0], report)]


class _Doubled(dict[str, Any]):
    """A JSON object in which a field came twice: which value is meant, nobody can tell."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _Doubled(fields)


# One decoder for all receipts: json.loads would build one at each call.
_decode = json.JSONDecoder(object_pairs_hook=_once).decode


def _one(fields: Any, report: Callable[[dict[str, Any]], Report]) -> Report:
    if isinstance(fields, _Doubled):
        raise ReceiptProblem("RECEIPT_AMBIGUOUS")
    if not isinstance(fields, dict):
        raise ReceiptProblem("RECEIPT_UNREADABLE")
    return report(fields)


def _one_or_problem(element: Any, report: Callable[[dict[str, Any]], Report]) -> Report:
    try:
        return _one(element, report)
    except ReceiptProblem as problem:
        return Report(reference="", status="", code=problem.code)
