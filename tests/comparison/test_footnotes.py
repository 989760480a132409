from dataclasses import replace

from tests.report.examples import resnet50, row
from whichgpu.comparison.footnotes import MOST_MARKS, MOST_NOTES, footnotes


def of_rows(*notes, kind="predicted"):
    rows = tuple(row(f"d{n}", f"d{n}", 1.0, 0.5, 2.0, kind=kind, notes=tuple(each)) for n, each in enumerate(notes))
    return footnotes(replace(resnet50(), rows=rows, notes=("of all",)))


def test_a_note_of_several_rows_is_told_once():
    found = of_rows(["small"], ["small", "old"], [])
    assert found.texts == ("small", "old")
    assert found.marks == ("¹", "¹ ²", "")
    assert found.general == ("of all",)


def test_a_note_of_every_predicted_row_needs_no_mark():
    found = of_rows(["everywhere"], ["everywhere", "own"])
    assert found.general == ("everywhere", "of all")
    assert found.texts == ("own",)
    assert found.marks == ("", "¹")


def test_notes_that_differ_in_measures_are_told_with_their_range():
    found = of_rows(["takes 9.6 % of 12 GiB"], ["takes 10 % of 8 GiB"], ["takes 9.6 % of 1,024 GiB"], [])
    assert found.texts == ("takes 9.6–10 % of 8–1,024 GiB",)
    assert found.marks == ("¹", "¹", "¹", "")


def test_names_with_numbers_are_no_measures():
    assert of_rows(["like RTX 3060"], ["like RTX 4090"], []).texts == ("like RTX 3060", "like RTX 4090")


def test_notes_of_the_same_rows_share_a_number():
    found = of_rows(["One.", "Two.", "Three."], ["One.", "Two."], [])
    assert found.texts == ("One. Two.", "Three.")
    assert found.marks == ("¹ ²", "¹", "")


def test_many_notes_are_cut_and_counted():
    many = [f"Note {letter}." for letter in "abcdefghijklmnopqrst"]
    more = f"{len(many) - MOST_NOTES} more notes are in the JSON form."
    of_one_row = of_rows(many, [])
    assert of_one_row.texts == (" ".join([*many[:MOST_NOTES], more]),)
    of_all_rows = of_rows(many, many)
    assert of_all_rows.general == (*many[:MOST_NOTES], more, "of all")
    assert of_all_rows.marks == ("", "")


def test_many_different_notes_are_cut_and_counted():
    rows = [[f"Of {n} and later." for n in range(last)] for last in range(MOST_NOTES + 4)]
    found = of_rows(*rows)
    assert len(found.texts) == MOST_NOTES
    assert "3 more notes are in the JSON form." in found.general
    assert found.marks[2] == "¹ ²"
    assert found.marks[-1].split() == ["¹", "²", "³", "⁴", "…"]
    assert len(found.marks[-1].split()) == MOST_MARKS + 1
