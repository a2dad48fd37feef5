from devflow_store.database.insert import Insert


def test_a_row_that_is_there_is_an_error_without_a_key() -> None:
    assert Insert("calls", ("a", "b")).sql(2) == "INSERT INTO calls (a, b) VALUES (?, ?), (?, ?)"


def test_a_row_that_is_there_stays_or_takes_the_new_values() -> None:
    stays = Insert("labels", ("id", "text"), key=("id",))
    assert stays.sql().endswith("VALUES (?, ?) ON CONFLICT (id) DO NOTHING")
    changes = Insert("holds", ("id", "pico"), key=("id",), replaced=("pico",))
    assert changes.sql().endswith("ON CONFLICT (id) DO UPDATE SET pico = excluded.pico")
