# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering on the control node: a site's templates win and can build on the role's, typing mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.flaskhost.stack.plugins.action import fileset as fileset_action
from ansible_collections.flaskhost.stack.plugins.action import release_serve as serve_action

from tests.support.render import action, trusted


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A role with two templates, and an inventory beside it."""
    write(
        tmp_path / "roles/web/templates/etc/site.conf",
        "# {{ ansible_managed }}\n  {% block head %}\nown {{ name }}\n  {% endblock %}\nend\n",
    )
    write(tmp_path / "roles/web/templates/top.conf", "{% block head %}own{% endblock %}\n")
    return tmp_path / "roles/web"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def text_of(role: Path, template: str, **variables: Any) -> str:
    variables = {"name": "x", "inventory_dir": str(role.parents[1] / "inventory"), **variables}
    return str(action(role, variables).render(template, {}, variables))


def test_template_of_the_role(role: Path) -> None:
    assert text_of(role, "etc/site.conf").splitlines()[1:] == ["own x", "end"]
    assert text_of(role, "etc/site.conf").endswith("end\n")
    assert "Ansible" in text_of(role, "etc/site.conf").splitlines()[0]


def test_backslashes_and_umlauts_stay(role: Path) -> None:
    write(role / "templates/a", "a\\nb \\1 größer {{ name }} {{ 'x\\\\y' }}\n")
    assert text_of(role, "a", name="\\d") == "a\\nb \\1 größer \\d x\\y\n"


def test_a_value_is_no_template(role: Path) -> None:
    assert "own {{ name }}{% x %}" in text_of(role, "etc/site.conf", name="{{ name }}{% x %}")


@pytest.mark.parametrize("template", ["etc/site.conf", "top.conf"])
@pytest.mark.parametrize("given", [True, False])
def test_template_of_the_site_wins_and_can_extend(role: Path, template: str, given: bool) -> None:
    site = role.parents[1] / ("elsewhere" if given else "templates")
    variables = (
        {"flaskhost_templates_dir": trusted("{{ place }}/elsewhere"), "place": str(site.parent)} if given else {}
    )
    write(
        site / "web" / template,
        "{% extends '" + template + "' %}{% block head %}{{ super() }}site {{ name }}\n{% endblock %}",
    )
    write(site / "other" / template, "not this")
    lines = text_of(role, template, **variables).splitlines()
    assert "".join(lines).count("own") == 1
    assert [line for line in lines if line.endswith("site x")]
    write(site / "web" / template, "all mine\n")
    assert text_of(role, template, **variables) == "all mine\n"


def test_templates_beside_it_can_be_included(role: Path) -> None:
    write(role / "templates/etc/part.conf", "part {{ name }}\n")
    write(role / "templates/etc/whole.conf", "{% include 'part.conf' %}\n")
    assert text_of(role, "etc/whole.conf").startswith("part x")


def test_missing_template_and_variable_are_told(role: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"etc/no\.conf not found in .*templates/web, .*roles/web/templates"):
        text_of(role, "etc/no.conf")
    write(role / "templates/a", "{{ nowhere }}")
    with pytest.raises(AnsibleError, match="nowhere"):
        text_of(role, "a")


def test_outside_of_a_role(tmp_path: Path) -> None:
    write(tmp_path / "templates/a", "{{ name }}\n")
    assert action(None, basedir=tmp_path).render("a", {"name": "mine"}, {"name": "all"}) == "mine\n"


def entries(role: Path, *given: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = action(role).render_entries(trusted(list(given)), {"name": "x"})
    return made


def test_entries(role: Path) -> None:
    assert entries(role, {"path": "/a", "content": "text {# kept", "mode": "0644"}) == [
        {"path": "/a", "content": "text {# kept", "mode": "0644"}
    ]
    (made,) = entries(role, {"path": "/a", "template": "etc/site.conf", "vars": {"name": "mine"}})
    assert made["content"].splitlines()[1] == "own mine"
    assert set(made) == {"path", "content"}
    assert entries(role, {"path": "/a", "template": "top.conf", "vars": None})
    assert action(role).render_entries(None, {}) == []


def test_each_makes_one_of_every_element(role: Path) -> None:
    write(role / "templates/item", "{{ item.name }} {{ name }}{{ more }}\n")
    given = {
        "path": "/{name}/x",
        "target": "{to[a]}",
        "owner": "{name}",
        "group": "g-{name}",
        "mode": "{}",
        "vars": {"more": "!"},
    }
    sites = [{"name": "a", "to": {"a": "1"}}, {"name": "b", "to": {"a": "2"}}]
    made = entries(role, {**given, "template": "item", "each": sites})
    assert [(one["path"], one["target"], one["owner"], one["group"], one["mode"]) for one in made] == [
        ("/a/x", "1", "a", "g-a", "{}"),
        ("/b/x", "2", "b", "g-b", "{}"),
    ]
    assert [one["content"] for one in made] == ["a x!\n", "b x!\n"]
    assert [one["path"] for one in entries(role, {"path": "/{item}", "each": ["a", 2]})] == ["/a", "/2"]
    assert [one["content"] for one in entries(role, {"path": "/{item}", "template": "{item}.conf", "each": ["top"]})]
    assert entries(role, {"path": "/a", "each": []}, {"path": "/b", "each": None}) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": "/a", "contents": "x"}, "unknown keys ['contents']"),
        ({"content": "x"}, "files[0] needs a path"),
        ("/a", "files[0] must be a dictionary"),
        ({"path": "/{nam}", "each": [{"name": "a"}]}, "files[0].path: '/{nam}' cannot be filled in"),
        ({"path": "/a", "owner": "{", "each": [{"name": "a"}]}, "files[0].owner: '{' cannot be filled in"),
    ],
)
def test_mistakes_in_entries(role: Path, given: Any, message: str) -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        entries(role, given)
    assert message in str(raised.value)


class Sent(fileset_action.ActionModule):
    """Shows what it would send to the host."""

    def _execute_module(self, **call: Any) -> dict[str, Any]:
        return {"sent": call["module_args"], "invocation": "all of it"}


def sent(role: Path, **arguments: Any) -> dict[str, Any]:
    result = action(role, kind=Sent, arguments=arguments).run(None, {"name": "x"})
    assert "invocation" not in result, "what was sent may be secret"
    made: dict[str, Any] = result["sent"]
    return made


def test_what_fileset_sends(role: Path) -> None:
    call = sent(
        role, files=[{"path": "/a", "template": "top.conf"}], purge=[{"path": "/", "pattern": "*.x"}], validate="v"
    )
    assert json.loads(call.pop("payload")) == {
        "files": [{"path": "/a", "content": "own\n"}],
        "purge": [{"path": "/", "pattern": "*.x"}],
    }
    assert call == {"validate": "v", "apply": None, "units": []}
    assert sent(role, units=[{"name": "nginx"}])["units"] == [{"name": "nginx"}]
    assert json.loads(sent(role)["payload"]) == {"files": [], "purge": []}


@pytest.mark.parametrize("purge", [{"path": "/etc", "patern": "*.conf"}, {"pattern": "*.conf"}, "/etc"])
def test_purge_with_a_typing_mistake_deletes_nothing(role: Path, purge: Any) -> None:
    with pytest.raises(AnsibleActionFail, match=r"purge\[0\] must be a dictionary of path and pattern"):
        sent(role, purge=[purge])


def test_what_release_serve_sends(role: Path) -> None:
    class Serve(serve_action.ActionModule):
        _execute_module = Sent._execute_module

    files = [{"path": "/srv/a/x", "template": "top.conf", "mode": "0600"}]
    write(role / "templates/upstream", "{{ upstream_live }} {{ upstream_previous }}")
    own = {"app": {"name": "a"}, "release": "2", "token": "t", "former": "1"}
    arguments = {**own, "program": "etc/site.conf", "upstream": "upstream", "files": files}
    result = action(role, kind=Serve, arguments=arguments).run(None, {"name": "mine"})
    call = result["sent"]
    made = json.loads(call.pop("payload"))
    assert made["program"].splitlines()[1] == "own mine"
    assert made["upstream"] == "2 1"
    assert [one["path"] for one in made["files"]] == ["/srv/a/x"]
    assert call == own
    assert "invocation" not in result


@pytest.mark.parametrize(("phase", "starts"), [("all", True), ("prepare", True), ("switch", False)])
def test_a_turn_renders_no_program(role: Path, phase: str, starts: bool) -> None:
    """On several hosts each of them waits for the switch of those before it. What a switch needs is tried before any of them."""

    class Serve(serve_action.ActionModule):
        _execute_module = Sent._execute_module

    write(role / "templates/app.conf", "of {{ app.name }}")
    own = {"app": {"name": "a"}, "release": "2", "token": "t", "former": "1", "phase": phase, "share": "10"}
    files = [{"path": "/srv/a/x", "template": "app.conf"}]
    arguments = {**own, "program": "app.conf", "workers": "app.conf", "upstream": "app.conf", "files": files}
    # the app as it was given; what the variable says would be worked out for each mention
    result = action(role, kind=Serve, arguments=arguments).run(None, {"app": trusted("{{ 1 / 0 }}")})
    made = json.loads(result["sent"]["payload"])
    assert [one["content"] for one in made.pop("files")] == ["of a"] * starts
    assert made.pop("program") == ("of a" if starts else None)
    assert made == dict.fromkeys(("workers", "upstream", "back", "whole"), "of a")
