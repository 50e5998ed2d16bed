"""The words of pydantic's errors, for those who wrote the document."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nexthos_shared.problems import first_mistake, mistakes


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(0, ge=0)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    parts: list[Inner] = Field(default_factory=list)
    labels: dict[int, str] = Field(default_factory=dict)
    size: int = 1

    @model_validator(mode="after")
    def _fits(self) -> Outer:
        if self.size > 9:
            raise ValueError("size: is more than 9: too large")
        if self.size < 0:
            raise ValueError("no such thing: it is negative")
        return self


def error(value: dict[str, Any]) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate(value)
    return raised.value


def test_a_field_is_named_with_the_way_to_it() -> None:
    found = first_mistake(error({"parts": [{}, {"count": -1}]}))
    assert (found.path, found.field) == (("parts", 1, "count"), "parts.1.count")
    assert found.sentence == "parts.1.count: Input should be greater than or equal to 0"


def test_a_field_that_is_not_known_is_told_with_what_has_none() -> None:
    found = first_mistake(error({"extra": 1}), of="a thing")
    assert found.sentence == "extra: is not a field of a thing (unknown fields are refused)"


def test_a_validator_of_the_whole_may_name_the_field_first() -> None:
    wrong = error({"size": 10})
    assert first_mistake(wrong, fields=["size"]).sentence == "size: is more than 9: too large"
    assert first_mistake(wrong).path == ()


def test_words_that_only_look_like_a_field_stay_whole() -> None:
    found = first_mistake(error({"size": -1}), fields=["size"])
    assert (found.path, found.sentence) == ((), "no such thing: it is negative")


def test_a_wrong_key_is_told_apart_from_a_wrong_value() -> None:
    found = first_mistake(error({"labels": {"x": "y"}}))
    assert (found.field, found.of_key) == ("labels.x", True)


def test_all_are_told_without_the_values_that_were_given() -> None:
    found = mistakes(error({"size": "s3cret", "parts": "s3cret"}))
    assert [one.field for one in found] == ["parts", "size"]
    assert "s3cret" not in " ".join(one.sentence for one in found)
