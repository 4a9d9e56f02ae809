"""Arrow's types on their way through a list: which can be kept, and as what.

A row passes through Python, where its picture is fetched, and comes back into a table. So a column is brought into a
type that survives that: dictionaries are decoded, extension types are what they are stored as, views are ordinary
arrays, in nested types too. Text that is no UTF-8 is mended as in every other format; a value that Python cannot hold,
such as a date in the year 20000, is a fault of its row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

_LIKE_LIST: dict[Any, Callable[..., pa.DataType]] = {
    pa.lib.Type_LIST: pa.list_,
    pa.lib.Type_LARGE_LIST: pa.large_list,
    pa.lib.Type_LIST_VIEW: pa.list_,
    pa.lib.Type_LARGE_LIST_VIEW: pa.large_list,
}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type in which a column of this one is kept.

    Raises:
        ValueError: if it cannot be kept, with the reason.
    """
    return _mapped(kind, _plain_leaf)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text, or bytes that may be some, or all null; JSON is no text."""
    if isinstance(kind, pa.JsonType):
        return False
    kind = _value_type(kind)
    of_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return _is_string(kind) or of_bytes or pa.types.is_null(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers; truths that are stored as some are none."""
    if isinstance(kind, pa.Bool8Type):
        return False
    kind = _value_type(kind)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_list_of_text(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of text of any sort, of one length or not."""
    kind = _value_type(kind)
    return (kind.id in _LIKE_LIST or pa.types.is_fixed_size_list(kind)) and is_text(kind.value_type)


def plain_array(array: pa.Array) -> pa.Array:
    """A column in its plain type, its text valid UTF-8.

    Raises:
        ValueError: if its type cannot be kept.
    """
    kind = plain_type(array.type)
    try:
        array.validate(full=True)
        return _cast(array, kind)
    except pa.ArrowNotImplementedError as error:
        raise ValueError(str(error)) from None
    except pa.ArrowInvalid:
        values = _cast(array, _mapped(array.type, lambda leaf: pa.large_binary() if _is_string(leaf) else leaf))
        return pa.array([_mended(value, kind) for value in values.to_pylist()], kind)


def text_array(array: pa.Array) -> pa.Array:
    """Text or bytes as valid UTF-8; what is none becomes U+FFFD."""
    array = _cast(array, _mapped(array.type, lambda leaf: leaf))
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.string())
    if not is_text(array.type):
        return array.cast(pa.string())
    values = array.cast(pa.binary_view() if pa.types.is_string_view(array.type) else _bytes_of(array.type))
    try:
        return values.cast(pa.large_binary()).cast(pa.large_string()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([v if v is None else v.decode("utf-8", "replace") for v in values.to_pylist()], pa.string())


def faults(array: pa.Array) -> dict[int, str]:
    """The values that Python cannot hold, by their positions, with the reason."""
    if not (pa.types.is_temporal(array.type) or pa.types.is_nested(array.type)):
        return {}
    try:
        array.to_pylist()
    except (ValueError, OverflowError):
        return {number: why for number in range(len(array)) if (why := _fault(array[number]))}
    return {}


def _fault(value: pa.Scalar) -> str:
    try:
        value.as_py()
    except (ValueError, OverflowError) as error:
        return str(error)
    return ""


def _mapped(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type without dictionaries, views of lists and extensions, with something done to each type at its ends."""

    def field(of: pa.Field) -> pa.Field:
        return of.with_type(_mapped(of.type, leaf))

    kind = _value_type(kind)
    if kind.id in _LIKE_LIST:
        return _LIKE_LIST[kind.id](field(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(field(kind.value_field), kind.list_size)
    if pa.types.is_map(kind):
        return pa.map_(field(kind.key_field), field(kind.item_field), keys_sorted=kind.keys_sorted)
    if pa.types.is_struct(kind):
        fields = [field(kind.field(number)) for number in range(kind.num_fields)]
        if len({each.name for each in fields}) < len(fields):
            raise ValueError("two of its fields have one name")
        return pa.struct(fields)
    return leaf(kind)


def _value_type(kind: pa.DataType) -> pa.DataType:
    """What a dictionary or an extension is of in the end."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind):
            kind = kind.value_type
        else:
            return kind


def _plain_leaf(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind) and kind.tz:
        try:
            pa.array([0], pa.int64()).cast(kind).to_pylist()
        except Exception as error:  # noqa: BLE001  each source of time zones raises errors of its own
            raise ValueError(f"its time zone is not known here ({error})") from None
    if pa.types.is_union(kind) or pa.types.is_interval(kind) or pa.types.is_run_end_encoded(kind):
        raise ValueError("values of this kind have no place in a ledger")
    return kind


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """To the type, or to one that differs from it in what nested fields are called."""
    if isinstance(array.type, pa.BaseExtensionType):
        return _cast(array.storage, kind)
    if pa.types.is_dictionary(array.type):
        return _cast(array.dictionary_decode(), kind)
    if _has_views_of_lists(array.type):  # pyarrow 25 casts them to lists with an end too few
        return pa.array(array.to_pylist(), kind)
    return array if array.type.equals(kind) else array.cast(kind)


def _has_views_of_lists(kind: pa.DataType) -> bool:
    if kind.id in (pa.lib.Type_LIST_VIEW, pa.lib.Type_LARGE_LIST_VIEW):
        return True
    return any(_has_views_of_lists(kind.field(number).type) for number in range(kind.num_fields))


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _bytes_of(kind: pa.DataType) -> pa.DataType:
    return {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}.get(kind, kind)


def _mended(value: Any, kind: pa.DataType) -> Any:
    """A value with text where its type has text, given with bytes there."""
    if value is None or pa.types.is_null(kind):
        return None
    if _is_string(kind):
        return value.decode("utf-8", "replace")
    if pa.types.is_struct(kind):
        return {name: _mended(each, kind.field(name).type) for name, each in value.items()}
    if pa.types.is_map(kind):
        return [(_mended(key, kind.key_type), _mended(item, kind.item_type)) for key, item in value]
    if pa.types.is_nested(kind):
        return [_mended(each, kind.value_type) for each in value]
    return value
