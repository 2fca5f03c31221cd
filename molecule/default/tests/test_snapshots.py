# SPDX-License-Identifier: GPL-3.0-or-later
"""Half a migration on MariaDB, under load: the database is what it was, and no request is lost for it."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import testinfra.host
import yaml

from tests.support.load import SteadyLoad
from tests.support.migrations import HALF_WAY, add_migration
from tests.support.stack import ROOT, Stack
from tests.support.web import fetch

Host = testinfra.host.Host
# what a migration of the guestbook does not have: references, checks, triggers, routines, odd names, bytes
ODD = r"""
CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80), CONSTRAINT ck_name CHECK (name <> '')) COMMENT='people; who (buy)';
CREATE TABLE orders (id INT PRIMARY KEY, customer INT, picture BLOB, twice INT AS (id * 2) STORED,
  CONSTRAINT fk_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE);
CREATE TABLE `odd ``name``(x)` (`a ``b` INT, `c)` VARCHAR(20));
CREATE VIEW rich AS SELECT name FROM customers WHERE name <> 'x;y';
INSERT INTO customers (name) VALUES (_utf8mb4 0xF09FA684), ('it''s (a);\n"test" ),( \\'), ('INSERT INTO `customers` VALUES (1);');
INSERT INTO orders (id, customer, picture) VALUES (1, 1, x'00FF275C0A0D1A'), (2, 3, NULL);
INSERT INTO `odd ``name``(x)` VALUES (1, ')('), (2, NULL);
DELIMITER ;;
CREATE TRIGGER watch BEFORE INSERT ON orders FOR EACH ROW
BEGIN
INSERT INTO `customers` VALUES (NULL, 'by trigger');
END;;
CREATE PROCEDURE hello()
BEGIN
CREATE TABLE `nowhere` (
a INT);
END;;
DELIMITER ;
"""
GONE = "DROP PROCEDURE hello; DROP VIEW rich; DROP TABLE orders, customers, `odd ``name``(x)`;"


@pytest.fixture
def odd(host: Host) -> Any:
    """Odd things in the database, made by the app's own user, as a migration would."""
    release = host.check_output("readlink /srv/guestbook/current").rpartition("/")[2]
    environment = json.loads(host.check_output(f"cat /srv/guestbook/environments/{release}.json"))
    password = re.search(r":([^:@]+)@", environment["DATABASE_URL"])
    assert password
    client = f"MYSQL_PWD={password.group(1)} mariadb --protocol=tcp -h 127.0.0.1 -u guestbook guestbook"
    host.check_output(f"{client} <<'END'\n{ODD}\nEND\n")
    yield
    host.check_output(f"mariadb guestbook <<'END'\n{GONE}\nEND\n")


def everything(host: Host) -> str:
    """Schema and rows, without where counters are."""
    dump = "mariadb-dump --skip-dump-date --routines --triggers --hex-blob guestbook"
    return str(host.check_output(f"{dump} | sed 's/ AUTO_INCREMENT=[0-9]*//' | cat -v"))


def test_half_a_migration_is_undone(stack: Stack, address: str, host: Host, odd: None, tmp_path: Path) -> None:
    source = tmp_path / "guestbook"
    shutil.copytree(ROOT / "examples" / "guestbook", source)
    add_migration(
        source,
        "d15ea5e00001",
        *HALF_WAY[:-1],
        'op.execute("ALTER TABLE customers ADD COLUMN more INTEGER")',
        'op.execute("UPDATE orders SET picture = NULL")',
        'op.execute("DROP TABLE `odd ``name``(x)`")',
        'op.execute("CREATE OR REPLACE VIEW rich AS SELECT 1 AS one")',
        HALF_WAY[-1],
    )
    (shipped,) = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())["flask_apps"]
    apps = [{**shipped, "source": {"path": str(source)}, "snapshot": True}]
    before, live = everything(host), fetch(f"https://{address}/").headers["x-flaskhost-release"]
    with SteadyLoad(address, rate=20) as load:
        run = stack.playbook("deploy", flask_apps=apps)
        time.sleep(1)
    assert run.code == 2
    for text in ("half-way", "The database was put back to the snapshot of", f"Still live is {live}"):
        assert text in run.output, run.output[-4000:]
    assert everything(host) == before
    assert load.report.failed == [], load.report
    assert load.report.releases == [live]
    # once the cause is mended, the same again works: here, with nothing to migrate
    assert host.run("ls /srv/guestbook/deploy.lock").rc != 0
