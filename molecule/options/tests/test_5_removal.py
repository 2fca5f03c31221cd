# SPDX-License-Identifier: GPL-3.0-or-later
"""An app leaves the inventory, and comes back."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
import testinfra.host

from tests.support.stack import Run
from tests.support.web import ask

Host = testinfra.host.Host
Live = Callable[[str], str]


def test_an_app_that_left_is_stopped_and_keeps_its_data(
    address: str, host: Host, on_b: Callable[..., Run], live: Live, master: Live, own_apps: dict[str, Any]
) -> None:
    neighbour = master("blog2")
    on_b("site", "--tags", "web", other_apps=[own_apps["blog2"]], other_vault={}).check()
    with pytest.raises(ssl.SSLError):
        ask(address, "blog.test")
    assert not host.file("/etc/nginx/flaskhost/sites/blog.conf").exists
    assert host.run("pgrep -u blog").rc == 1, "its web and worker processes are gone"
    assert host.check_output("ls /etc/supervisor/conf.d") == f"blog2@{live('blog2')}.conf"
    # the data is there
    assert host.file("/srv/blog/shared/instance/uploads").is_directory
    assert int(host.check_output("mysql -N -e 'select count(*) from blog.entries'")) > 0
    # and next door nothing has happened
    assert ask(address, "blog2.test").status == 200
    assert master("blog2") == neighbour


def test_it_comes_back_with_its_data(
    address: str, host: Host, on_b: Callable[..., Run], live: Live, master: Live
) -> None:
    neighbour = master("blog2")
    on_b("site", "--tags", "web").check()
    page = ask(address, "blog.test")
    assert "into-mysql" in page.text
    assert page.headers["x-flaskhost-release"] == live("blog")
    assert master("blog2") == neighbour
    assert on_b("site", "--tags", "web").check().changed == 0
