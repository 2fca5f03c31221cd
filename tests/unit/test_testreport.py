# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts/test tells at its end is what pytest reported; each report here is made by pytest itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import testreport
import testrun

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

class TestFive:
    @pytest.mark.xfail
    def test_expected(self):
        assert False

def test_long():
    raise AssertionError("begin" + chr(10) * 40 + chr(10).join(f"line {n}" for n in range(40)))

@pytest.fixture
def leaky(request):
    yield
    raise OSError("box is gone")

def test_fails_twice(leaky):
    assert 1 == 2

def test_skipped_and_leaky(leaky):
    pytest.skip("not here")

def test_without_trace():
    pytest.fail("no trace" + chr(10) + "and a second line", pytrace=False)
"""
COLLECTED = "import nowhere_to_be_found\n"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"} | {"PY_COLORS": "0"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, testreport.Report]:
    """The last line of pytest, and what was read of its report."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_it.py").write_text(TESTS)
    (folder / "test_import.py").write_text(COLLECTED)
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"),
        *("--junit-xml=report.xml", "test_it.py", "test_import.py"),
    ]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    report = testreport.read(folder / "report.xml")
    assert report
    return done.stdout.splitlines()[-1], report


@pytest.fixture
def report(run: tuple[str, testreport.Report]) -> testreport.Report:
    return run[1]


def cause(report: testreport.Report, name: str) -> list[str]:
    (block,) = (block for block in report.causes if name in block.partition("\n")[0])
    return block.splitlines()


def test_it_counts_as_pytest_does(run: tuple[str, testreport.Report]) -> None:
    line, report = run
    said = {kind.rstrip("s"): int(number) for number, kind in re.findall(r"(\d+) (\w+)", line)}
    assert (said["passed"], said["failed"], said["error"]) == (2, 4, 4)
    assert (report.passed, report.failed) == (2, 8)


def test_a_failure_is_told_with_its_reason_and_its_place(report: testreport.Report) -> None:
    assert cause(report, "test_two") == [
        "FAILED test_it::test_two[2]",
        "  AssertionError: two is too many",
        "  assert 2 == 1",
        "  test_it.py:9: AssertionError",
    ]
    assert cause(report, "test_four") == [
        "ERROR test_it::test_four",
        "  OSError: no such box",
        "  test_it.py:16: OSError",
    ]


def test_an_import_that_fails_is_told(report: testreport.Report) -> None:
    said = cause(report, "test_import")
    assert said[0] == "ERROR test_import"
    assert "  ModuleNotFoundError: No module named 'nowhere_to_be_found'" in said
    assert len(said) == len(set(said))


def test_of_a_long_one_begin_and_end_are_told(report: testreport.Report) -> None:
    lines = cause(report, "test_long")
    assert len(lines) < 20
    assert any("begin" in line for line in lines)
    assert "  line 39" in lines


def test_of_many_failures_the_names_are_told(report: testreport.Report) -> None:
    assert [len(block.splitlines()) > 1 for block in report.causes] == [True] * 5 + [False] * 3


def test_each_line_of_a_message_without_a_trace_is_one(tmp_path: Path) -> None:
    text = '<testsuites><testsuite><testcase classname="a" name="b"><failure message="one&#10;two"/></testcase></testsuite></testsuites>'
    (tmp_path / "report.xml").write_text(text)
    report = testreport.read(tmp_path / "report.xml")
    assert report == testreport.Report(0, 1, ("FAILED a::b\n  one\n  two",))


@pytest.mark.parametrize("text", [None, "", "<testsuites><testsuite"])
def test_none_or_half_of_one_is_no_report(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "report.xml"
    if text is not None:
        path.write_text(text)
    assert testreport.read(path) is None


# a part of the suite

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> testrun.Suite:
    monkeypatch.setattr(testrun, "LOGS", tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / "test_it.py").write_text("def test_a(): pass\ndef test_b(): assert 0\n")
    (tmp_path / "it.xml").write_text("<testsuites/>")  # of an earlier run
    return testrun.Suite()


def part(tmp_path: Path, *words: str, **settings: bool) -> testrun.Part:
    return testrun.Part("it", (*PYTEST, str(tmp_path / "test_it.py"), *words), **settings)


def test_a_part_counts_its_tests(suite: testrun.Suite, tmp_path: Path) -> None:
    result = suite.run(part(tmp_path, counts=True))
    assert (result.passed, result.failed) == (1, 1)
    assert "test_it::test_b" in result.causes[0]


def test_what_is_around_the_tests_counts_for_one(suite: testrun.Suite, tmp_path: Path) -> None:
    result = suite.run(part(tmp_path, "-k", "test_a"))
    assert (result.passed, result.failed, result.causes) == (2, 0, ())


def test_a_lost_report_is_a_failure(suite: testrun.Suite) -> None:
    result = suite.run(testrun.Part("it", ("true",), counts=True))
    assert (result.passed, result.failed) == (0, 1)
    assert result.causes == ("pytest left no report of what it tested",)


def test_what_fails_without_a_test_is_told_by_the_end_of_its_log(suite: testrun.Suite) -> None:
    result = suite.run(testrun.Part("it", ("sh", "-c", "seq 100; exit 3"), tests=False))
    assert (result.passed, result.failed) == (0, 1)
    assert result.causes[0].splitlines()[:2] == ["ended with exit code 3", "  ... 85 more lines"]
    assert result.causes[0].endswith("\n  100")
