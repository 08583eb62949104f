"""What assets show in the UI is what the tables hold, whatever strangers wrote there."""

import polars as pl

from quarry_dagster.orchestration.assets.reporting import table


def test_a_title_with_bars_and_line_breaks_stays_one_cell_of_its_row() -> None:
    rows = pl.DataFrame({"title": ["Regatta | Harbour News", "two\nlines", "C:\\|", None], "words": [1, 2, 3, 4]})
    _, rule, *lines = table(rows).value.splitlines()
    assert rule.count("|") == 3
    cells = [line.replace("\\\\", "").replace("\\|", "").count("|") for line in lines]
    assert cells == [3] * 4
    assert r"Regatta \| Harbour News" in lines[0] and "two lines" in lines[1]
