"""Figures over several collections, by hand."""

from dpr.evaluation import markdown_tables


def compared(bm25, zero_shot, dense, p):
    means = {"bm25": bm25, "zero_shot": zero_shot, "dense": dense, "hybrid": dense}

    def against(reference):
        return {
            system: {
                "nDCG@10": {
                    "difference": value - means[reference],
                    "p_randomization": p,
                    "p_holm": 1.0,
                    **{"wins": 3, "ties": 1, "losses": 2},
                }
            }
            for system, value in means.items()
            if system != reference
        }

    return {
        "systems": {s: {"nDCG@10": {"mean": value}} for s, value in means.items()},
        "against": {reference: against(reference) for reference in ("bm25", "zero_shot")},
    }


FOUND = {"one": compared(0.5, 0.4, 0.45, 0.01), "two": compared(0.3, 0.2, 0.35, 0.04)}


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_mean_is_over_the_collections():
    rows = cells(markdown_tables.collections_table(FOUND, "nDCG@10"))
    assert rows[2] == ["one", "0.5000", "0.4000", "0.4500", "0.4500"]
    assert rows[4] == ["mean", "0.4000", "0.3000", "0.4000", "0.4000"]


def test_p_values_are_corrected_over_the_collections():
    """Holm: the smallest times two, the other as it is, but not below."""
    rows = cells(markdown_tables.collections_tests_table(FOUND, "nDCG@10"))[2:]
    assert rows[:3] == [
        ["dense - zero_shot", "one", "+0.0500", "3 / 1 / 2", "0.0200"],
        ["dense - zero_shot", "two", "+0.1500", "3 / 1 / 2", "0.0400"],
        ["dense - zero_shot", "better in 2 of 2", "+0.1000", "", ""],
    ]
    assert rows[5] == ["dense - bm25", "better in 1 of 2", "+0.0000", "", ""]


def test_rows():
    rows = list(markdown_tables.collections_rows(FOUND, ["nDCG@10"]))
    assert rows[2] == ["one", "dense", "nDCG@10", 0.45]
    assert len(rows) == 8


def test_without_a_reference_there_is_no_test():
    alone = {"one": compared(0.5, 0.4, 0.45, 0.01) | {"against": {}}}
    assert len(markdown_tables.collections_tests_table(alone, "nDCG@10").splitlines()) == 2
