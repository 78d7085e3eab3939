"""tests/kill.py itself: it runs, and it sees a difference."""

import random
import shutil

import pytest

from tests import kill


@pytest.mark.slow
def test_a_killed_run_ends_as_the_whole_one_and_another_one_does_not(tmp_path):
    subject = kill.Subject(tmp_path)
    done, wrong = subject.case(random.Random("0 0"))
    assert len(done) >= 2 and not wrong, (done, wrong)
    whole = next(iter(subject.seconds))
    out = subject.whole(whole)
    other = shutil.copytree(out, tmp_path / "other")
    assert not kill.difference(out, other)
    (other / "metrics.jsonl").write_text((out / "metrics.jsonl").read_text().replace('"samples": ', '"samples": 1'))
    assert str(other) in kill.difference(out, other)
