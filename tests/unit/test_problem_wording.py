"""What a client reads of a field that is wrong: words of ours, and what it probably meant."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from caxton_node.api.problems import rejected_fields
from caxton_node.api.types import Body, Label, Limit, PerformativeField, Query, QueryBool
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import Rejected


class Order(Body):
    """All kinds of fields."""

    kind: Literal["a", "b"] = "a"
    act: PerformativeField = "inform"
    note: Label = "x"
    count: Annotated[int, Field(gt=0, lt=9)] = 1
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    is_new: bool = True
    items: Annotated[list[int], Field(min_length=1, max_length=2)] = Field(default_factory=list)
    more: dict[str, int] = Field(default_factory=dict)


class Page(Query):
    """A query."""

    limit: Limit = 1
    all: QueryBool = False


def told(value, model=Order, where="body"):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    rejected = rejected_fields(caught.value, where=where, names=model.model_fields.keys())
    return [place.message for place in rejected.places], rejected.places[0].fix


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the body must be an object"),
        ({"kind": "c"}, "`kind` must be one of 'a' or 'b'"),
        ({"act": "reqest"}, "`act`: this is no communicative act. Did you mean request?"),
        ({"note": 1}, "`note` must be a text"),
        ({"note": ""}, "`note` must not be empty"),
        ({"count": 0}, "`count` must be more than 0"),
        ({"count": 9}, "`count` must be less than 9"),
        ({"count": "1"}, "`count` must be a whole number"),
        ({"share": 1.5}, "`share` must be at most 1.0"),
        ({"share": -1}, "`share` must be at least 0.0"),
        ({"share": "much"}, "`share` must be a number"),
        ({"is_new": 1}, "`is_new` must be true or false"),
        ({"items": []}, "`items` must not be empty"),
        ({"items": [1, 2, 3]}, "`items` must have at most 2 items"),
        ({"items": [1, "2"]}, "`items[1]` must be a whole number"),
        ({"items": 1}, "`items` must be a list"),
        ({"more": []}, "`more` must be an object"),
        ({"more": {"x": None}}, "`more.x` must be a whole number"),
    ],
)
def test_a_wrong_field_is_told_in_a_sentence(value, message):
    assert told(value)[0] == [message]


def test_a_wrong_query_is_told_likewise():
    assert told({"limit": "0"}, Page, "query")[0] == ["`limit` must be at least 1"]
    assert told({"all": "maybe"}, Page, "query")[0] == ["`all`: write true or false"]


def test_a_misspelled_field_names_the_nearest():
    messages, fix = told({"kidn": "a"})
    assert messages == ["`kidn` is not known here"]
    assert fix == "Did you mean `kind`?"


def test_a_field_like_none_is_to_be_removed():
    assert told({"zzz": "a"})[1] == "remove it"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b'{"a": [1', "it ends too early"),
        (b'{"a":\n  "\xc3\xa4", NaN}', "object keys must be strings, at line 2, column 8"),
        (b"{} {}", "trailing characters, at line 1, column 5"),
        (b"1e999", "number out of range"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(data, why):
    with pytest.raises(Rejected) as caught:
        decode_json(data)
    assert caught.value.detail == f"the body is no JSON: {why}"
