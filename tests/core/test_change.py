"""What happened between two looks at a shop."""

from tasks.core.change import Change, between


def change(field: str, before: object, after: object) -> Change:
    return Change(record="orders/#W1", field=field, before=before, after=after)


def test_only_what_is_new_since_the_first_look_is_told_with_the_value_of_then() -> None:
    earlier = (change("status", "pending", "processed"), change("zip", "1", "2"))
    later = (change("status", "pending", "cancelled"), change("zip", "1", "2"), change("city", None, "Rome"))
    assert between(earlier, later) == (change("status", "processed", "cancelled"), change("city", None, "Rome"))


def test_a_field_that_is_as_at_the_start_again_is_a_change_too() -> None:
    assert between((change("zip", "1", "2"),), ()) == (change("zip", "2", "1"),)


def test_two_looks_at_the_same_are_no_change() -> None:
    assert between((change("zip", "1", "2"),), (change("zip", "1", "2"),)) == ()
