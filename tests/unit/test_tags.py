# SPDX-License-Identifier: GPL-3.0-or-later
"""What is chosen by a tag is done as a whole: the tag of a dynamic include is not by itself one of what it includes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stack import ROOT

_IMPORT, _INCLUDE = "ansible.builtin.import_tasks", "ansible.builtin.include_tasks"


def flat(tasks: list[dict[str, Any]], tags: frozenset[str]) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Tasks of a file with their tags, those in blocks among them."""
    for task in tasks:
        own = tags | frozenset(task.get("tags", ()))
        parts = [part for key in ("block", "rescue", "always") for part in task.get(key, ())]
        yield from flat(parts, own) if parts else [(task, own)]


def missed(path: Path, tags: frozenset[str] = frozenset(), chosen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Tasks that a tag passes by, though it has chosen the include that they come with.

    :param tags: that tasks of the file have by where they stand.
    :param chosen: of the include by which the file came.
    """
    for task, own in flat(yaml.safe_load(path.read_text()), tags):
        if lost := chosen - own:
            yield f"{path.relative_to(ROOT)}: {task['name']}: {', '.join(lost)}"
        elif _IMPORT in task:
            yield from missed(path.parent / task[_IMPORT], own, chosen)
        elif _INCLUDE in task:
            spec = task[_INCLUDE]
            spec = {"file": spec} if isinstance(spec, str) else spec
            applied = frozenset(spec.get("apply", {}).get("tags", ()))
            files = sorted(path.parent.glob(re.sub(r"{{.*?}}", "*", spec["file"])))
            assert files, spec
            for file in files:
                yield from missed(file, applied, own)


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_a_tag_chooses_what_is_included_as_well(role: str) -> None:
    main = ROOT / "roles" / role / "tasks/main.yml"
    assert not main.exists() or list(missed(main)) == []


def test_an_include_without_the_tags_of_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "main.yml").write_text(f"- {{name: Outer, tags: [it], {_INCLUDE}: 'in_{{{{ way }}}}.yml'}}\n")
    (tmp_path / "in_one.yml").write_text(
        f"- name: Block\n  block:\n    - {{name: Next, {_IMPORT}: deep.yml, tags: [it]}}\n"
    )
    (tmp_path / "in_two.yml").write_text("- {name: Two, meta: noop}\n")
    (tmp_path / "deep.yml").write_text(f"- {{name: Deep, {_INCLUDE}: {{file: deeper.yml, apply: {{tags: [it]}}}}}}\n")
    (tmp_path / "deeper.yml").write_text(f"- {{name: Deepest, {_INCLUDE}: in_two.yml}}\n")
    assert list(missed(tmp_path / "main.yml")) == ["in_two.yml: Two: it", "in_two.yml: Two: it"]
