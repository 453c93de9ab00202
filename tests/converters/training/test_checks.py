"""Lists are checked before a training begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.training.checks import check_classes, check_readable, refuse_from_one
from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.data.sets import SetSample
from edge_tsm.errors import InputError
from tests.helpers.videos import write_video


def of_classes(*labels: int) -> Dataset:
    return Dataset(tuple(Sample(Path(f"{i}.mp4"), label, f"{i}") for i, label in enumerate(labels)))


def test_classes_that_a_new_head_never_sees_are_refused() -> None:
    train, val = of_classes(0, 1, 1), of_classes(0, 2)
    with pytest.raises(InputError, match="clips to validate by are of 'c', of which no clip"):
        list(check_classes(train, val, "abc", is_new=True))
    notes = list(check_classes(train, val, "abc", is_new=False))  # it may know the class already
    assert notes == ["no clip is trained on of 'c'", "no clip is validated by of 'b'"]


def test_classes_without_clips_are_named() -> None:
    notes = list(check_classes(of_classes(1), of_classes(1), "abcdefgh", is_new=True))
    assert notes == ["no clip is trained on of 'a', 'c', 'd', 'e', 'f' and 2 more classes"]
    assert not list(check_classes(of_classes(0, 1), of_classes(1, 0), "ab", is_new=True))


def test_classes_that_are_trained_on_and_never_validated_by_are_named() -> None:
    notes = list(check_classes(of_classes(0, 1), of_classes(1), "abc", is_new=False))
    assert notes == ["no clip is trained on of 'c'", "no clip is validated by of 'a'"]


def test_lists_that_count_from_1_would_train_an_empty_class() -> None:
    with pytest.raises(InputError, match="class 0 would be trained on no clip: pass first_class=1"):
        refuse_from_one(of_classes(1, 2), of_classes(1))
    refuse_from_one(of_classes(0, 2), of_classes(1))


def test_all_classes_of_a_clip_count() -> None:
    both = Dataset((SetSample(Path("a"), 0, "a", labels=(0, 1)),))
    assert not list(check_classes(both, both, "ab", is_new=True))
    none = Dataset((SetSample(Path("a"), -1, "a"),))
    with pytest.raises(InputError, match="no clip to train on has a class"):
        list(check_classes(none, none, "ab", is_new=True))


def test_clips_that_cannot_be_read_are_told_before(tmp_path: Path) -> None:
    good, bad = write_video(tmp_path / "a.avi", 5), tmp_path / "b.avi"
    bad.write_bytes(b"no video")
    samples = (Sample(good, 0, "a.avi"), Sample(bad, 1, "b.avi"))
    [note] = check_readable(Dataset(samples), Dataset(samples[:1]))
    assert note.startswith("1 of 2 clips tried cannot be read and will be replaced")
    with pytest.raises(InputError, match="none of 1 clips tried can be read"):
        list(check_readable(Dataset(samples[1:])))
