# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts/test tells at its end is what pytest reported; each report here is made by pytest itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import testreport

TESTS = """
import pytest

def test_one():
    pass

@pytest.mark.parametrize("n", [1, 2])
def test_two(n):
    assert n == 1, "two is too many"

def test_three():
    pytest.skip("not here")

@pytest.fixture
def broken():
    raise OSError("no such box")

def test_four(broken):
    pass

def test_long():
    raise AssertionError("begin" + chr(10) * 40 + chr(10).join(f"line {n}" for n in range(40)))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> testreport.Report:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=report.xml", "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    return testreport.read(folder / "report.xml")


def test_it_counts_as_pytest_does(report: testreport.Report) -> None:
    assert (report.passed, report.failed) == (2, 3)


def test_a_failure_is_told_with_its_reason_and_its_place(report: testreport.Report) -> None:
    by_name = {cause.splitlines()[0]: cause for cause in report.causes}
    assert list(by_name) == ["FAILED test_it::test_two[2]", "ERROR test_it::test_four", "FAILED test_it::test_long"]
    assert "AssertionError: two is too many" in by_name["FAILED test_it::test_two[2]"]
    assert "test_it.py:9: AssertionError" in by_name["FAILED test_it::test_two[2]"]
    assert "OSError: no such box" in by_name["ERROR test_it::test_four"]


def test_of_a_long_one_begin_and_end_are_told(report: testreport.Report) -> None:
    (lines,) = (cause.splitlines() for cause in report.causes if "test_long" in cause)
    assert len(lines) < 20
    assert any("begin" in line for line in lines)
    assert "  line 39" in lines


@pytest.mark.parametrize("text", [None, "", "<testsuites><testsuite"])
def test_no_report_or_half_of_one_counts_nothing(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "report.xml"
    if text is not None:
        path.write_text(text)
    assert testreport.read(path) == testreport.Report()
