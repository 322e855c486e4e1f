"""What is wrong with a field, in words of ours: the validator's speak to who wrote the model."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["wording"]

_WORDS: Final[Mapping[str, str]] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "bytes_type": "must be a text",
    "dict_type": "must be an object",
    "enum": "must be one of {expected}",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be one of {expected}",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "string_pattern_mismatch": "must be of the form {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be a text",
    "string_unicode": "must be a text without halves of characters",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "union_tag_invalid": "must name one of {expected_tags} as its {discriminator}",
    "union_tag_not_found": "must say by its {discriminator} what it is",
}


def wording(rule: str, message: str, context: Mapping[str, Any]) -> str:
    """Return what is wrong, to be read after the name of a field.

    Args:
        rule: As pydantic calls it.
        message: In pydantic's words, for rules that have none of ours.
        context: The bounds that were broken, by name.
    """
    if context.get("min_length") == 1:
        return "must not be empty"
    words = _WORDS.get(rule)
    if words is None:
        return f"is wrong: {message}"
    try:
        return words.format_map(context)
    except KeyError:
        return words.partition(" {")[0]
