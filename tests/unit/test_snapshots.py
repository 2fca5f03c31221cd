# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots: what an address means, what is read from a dump, and a real SQLite database put back."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import (
    _client,
    _mysql,
    _postgresql,
    _release_lock,
    _snapshot_take,
    _snapshots,
    _sqlite,
    _tidy,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._as_user import FailedAsUser, as_user
from ansible_collections.flaskhost.stack.plugins.module_utils._database_url import Database, parse
from ansible_collections.flaskhost.stack.plugins.module_utils._dump_text import (
    PROGRAMS,
    compare,
    rows,
    schema,
    staged,
    swapped,
    with_relatives,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._priority import may_raise
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, read_json, write_json
from ansible_collections.flaskhost.stack.plugins.module_utils._rollback import choose
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.modules import release_migrate

from tests.support.host import USER, Host

R = [f"20260101T0000{number:02d}Z-abcdef{number}" for number in range(9)]


# addresses


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "mysql+pymysql://blog:not%2Fa%40secret%3Aof%25anybody%3F@127.0.0.1:3307/blog?charset=utf8mb4",
            Database(
                "mysql", "blog", "", "127.0.0.1", 3307, "blog", "not/a@secret:of%anybody?", {"charset": "utf8mb4"}
            ),
        ),
        ("mariadb://u@[::1]/x-y", Database("mysql", "x-y", "", "::1", 0, "u")),
        ("mysql:///x?unix_socket=/run/my.sock", Database("mysql", "x", options={"unix_socket": "/run/my.sock"})),
        (
            "postgres://u:p%20w@db/x?sslmode=require",
            Database("postgresql", "x", "", "db", 0, "u", "p w", {"sslmode": "require"}),
        ),
        ("postgresql+psycopg2://u:p@db:5433/x", Database("postgresql", "x", "", "db", 5433, "u", "p")),
        ("sqlite:////srv/blog/shared/../x.db?timeout=3", Database("sqlite", path="/srv/blog/x.db")),
    ],
)
def test_addresses(url: str, expected: Database) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///blog.db", "relative file 'blog.db'"),
        ("oracle://u:hidden@h/x", "begins with oracle://"),
        ("hidden", "is no address"),
        ("Hidden pass: x://y", "is no address"),
        ("mysql://u:hidden@h", "names no database"),
        ("mysql://u:hidden@h:port/x", "malformed host or port"),
    ],
)
def test_addresses_that_cannot_be_dumped(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        parse(url)
    assert "hidden" not in str(error.value).lower()


def test_a_password_is_not_shown() -> None:
    assert "hidden" not in repr(parse("mysql://u:hidden@h/x?ssl_key=hidden"))


# dumps

HEAD = "/*M!999999\\- enable the sandbox mode */ \n/*!40101 SET NAMES utf8mb4 */;\n"
CUSTOMERS = """DROP TABLE IF EXISTS `customers`;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `customers` (
  `id` int NOT NULL AUTO_INCREMENT,
  `name` varchar(80) DEFAULT 'a;b',
  PRIMARY KEY (`id`),
  CONSTRAINT `ck_name` CHECK ((`name` <> _utf8mb4''))
) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COMMENT='people; who (buy)\\nthings';
"""
ORDERS = """DROP TABLE IF EXISTS `orders`;
CREATE TABLE `orders` (
  `id` int NOT NULL,
  `customer_id` int,
  CONSTRAINT `fk_customer` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB;
"""
ITEMS = "CREATE TABLE `items` (\n  `order_id` int,\n  CONSTRAINT `fk` FOREIGN KEY (`order_id`) REFERENCES `orders` (`id`)\n) ENGINE=InnoDB;\n"
# one statement as MySQL writes it, one as MariaDB does
ADA = "INSERT INTO `customers` VALUES (1,'it\\'s (a) \"test\"),(','\U0001f984'),(2,'INSERT INTO `orders` VALUES (1);',0x00FF);\n"
ONE = "INSERT INTO `orders` VALUES\n(1,1),\n(2,NULL);\n"
VIEW = "/*!50001 CREATE VIEW `rich` AS SELECT\n 1 AS `name` */;\n/*!50001 VIEW `rich` AS select `name` from `customers` */;\n"
TRIGGER = "DELIMITER ;;\n/*!50003 TRIGGER t BEFORE INSERT ON `orders` FOR EACH ROW BEGIN\nINSERT INTO `customers` VALUES (9);\nEND */;;\nDELIMITER ;\n"


def dump(folder: Path, name: str, *parts: str, programs: str = "") -> str:
    """A compressed dump."""
    path = folder / f"{name}.sql.gz"
    path.write_bytes(gzip.compress((HEAD + "".join(parts)).encode() + PROGRAMS + programs.encode()))
    return str(path)


def test_rows_of_a_dump() -> None:
    assert list(rows(ADA.encode())) == [
        "(1,'it\\'s (a) \"test\"),(','\U0001f984')".encode(),
        b"(2,'INSERT INTO `orders` VALUES (1);',0x00FF)",
    ]
    assert list(rows(b"INSERT INTO `x` (`a b`,`c`) VALUES (1,'a''b)'),(NULL,_binary 'x');\n")) == [
        b"(1,'a''b)')",
        b"(NULL,_binary 'x')",
    ]
    assert list(rows(b"(1,1),\n")) == [b"(1,1)"]


def test_schema_of_a_dump(tmp_path: Path) -> None:
    found = schema(dump(tmp_path, "a", CUSTOMERS, ADA, ORDERS, ONE, VIEW, programs=TRIGGER))
    assert list(found.tables) == [b"customers", b"orders"]
    assert found.tables[b"customers"].decode() == CUSTOMERS[CUSTOMERS.index("CREATE") :]
    assert found.view_names == {b"rich"}
    assert b"".join(found.programs).decode() == TRIGGER


MORE = "INSERT INTO `orders` VALUES\n(0,1),\n(1,1),\n(2,NULL),\n(3,2);\n"


@pytest.mark.parametrize(
    ("now", "programs", "expected"),
    [
        ([CUSTOMERS, ADA, ORDERS, ONE], TRIGGER, {}),
        ([CUSTOMERS.replace("=3", "=9"), ADA, ORDERS, ONE], TRIGGER, {}),
        ([CUSTOMERS, ADA, ITEMS, ORDERS, ONE], TRIGGER, {"extra": ["items"]}),
        ([CUSTOMERS, ADA], TRIGGER, {"missing": ["orders"]}),
        ([CUSTOMERS.replace("80", "81"), ADA, ORDERS, ONE], TRIGGER, {"altered": ["customers"]}),
        ([CUSTOMERS, ADA, ORDERS, MORE], TRIGGER, {"added": {"orders": 2}}),
        ([CUSTOMERS, ADA.replace("0x00FF", "0x00FE"), ORDERS, ONE], TRIGGER, {"changed": ["customers"]}),
        ([CUSTOMERS, ADA, ORDERS, ONE.replace("(1,1),\n", "")], TRIGGER, {"changed": ["orders"]}),
        ([CUSTOMERS, ADA, ORDERS], TRIGGER, {"changed": ["orders"]}),
        ([CUSTOMERS, ADA, ORDERS, ONE, VIEW], TRIGGER, {"other": ["views"]}),
        ([CUSTOMERS, ADA, ORDERS, ONE], "", {"other": ["triggers, routines or events"]}),
    ],
)
def test_comparing_dumps(tmp_path: Path, now: list[str], programs: str, expected: dict[str, Any]) -> None:
    before = dump(tmp_path, "before", CUSTOMERS, ADA, ORDERS, ONE, programs=TRIGGER)
    found = compare(before, dump(tmp_path, "now", *now, programs=programs))
    assert {key: value for key, value in vars(found).items() if value} == expected
    assert found.schema == bool(expected.keys() & {"extra", "missing", "altered", "other"})
    assert found.only_added == (not expected.keys() & {"missing", "altered", "changed"})


def test_the_version_of_alembic_is_part_of_the_schema(tmp_path: Path) -> None:
    version = "CREATE TABLE `alembic_version` (\n  `version_num` varchar(32) NOT NULL\n) ENGINE=InnoDB;\nINSERT INTO `alembic_version` VALUES ('a');\n"
    found = compare(dump(tmp_path, "a", version), dump(tmp_path, "b", version.replace("'a'", "'b'")))
    assert (found.schema, found.only_added, found.tables) == (True, False, ["alembic_version"])


def test_a_table_comes_back_beside_the_one_that_is_there(tmp_path: Path) -> None:
    path = dump(tmp_path, "a", CUSTOMERS, ADA, ITEMS, ORDERS, ONE)
    before, now = schema(path), schema(dump(tmp_path, "b", CUSTOMERS.replace("=3", "=9"), ITEMS, ORDERS))
    assert with_relatives({b"customers"}, before) == {b"customers", b"orders", b"items"}
    assert with_relatives({b"orders"}, before) == {b"orders", b"items"}
    text = b"".join(staged(path, {b"customers": 0, b"orders": 1}, now)).decode()
    assert "CREATE TABLE `_flaskhost_new_0` (\n  `id` int" in text
    assert "PRIMARY KEY (`id`)\n) ENGINE=InnoDB AUTO_INCREMENT=9 " in text, "a number is not given twice"
    assert "CONSTRAINT" not in text
    assert "INSERT INTO `_flaskhost_new_0` VALUES (1,'it\\'s" in text
    assert "(2,'INSERT INTO `orders` VALUES (1);'" in text, "what stands in a row stays"
    assert "INSERT INTO `_flaskhost_new_1` VALUES\n(1,1),\n(2,NULL);\n" in text
    assert "items" not in text
    moved = b"".join(swapped({b"customers": 0, b"orders": 1}, [b"extra"], before, now)).decode().splitlines()
    assert moved == [
        "RENAME TABLE `customers` TO `_flaskhost_old_0`, `_flaskhost_new_0` TO `customers`, "
        "`orders` TO `_flaskhost_old_1`, `_flaskhost_new_1` TO `orders`;",
        "DROP TABLE IF EXISTS `_flaskhost_old_0`, `_flaskhost_old_1`, `extra`;",
        "ALTER TABLE `customers` ADD CONSTRAINT `ck_name` CHECK ((`name` <> _utf8mb4''));",
        "ALTER TABLE `orders` ADD CONSTRAINT `fk_customer` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE CASCADE;",
    ]


# another user's work


def test_work_of_another_user() -> None:
    assert as_user(USER, lambda: {"a": [1]}, 5) == {"a": [1]}

    def fails() -> None:
        raise ValueError("so it went")

    with pytest.raises(FailedAsUser, match="so it went"):
        as_user(USER, fails, 5)
    with pytest.raises(FailedAsUser, match="it was killed"):
        as_user(USER, lambda: os._exit(0), 5)

    def hangs() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.read(os.pipe()[0], 1)

    with pytest.raises(FailedAsUser, match=r"longer than 0\.2 s"):
        as_user(USER, hangs, 0.2)


# SQLite, all the way


@pytest.fixture
def blog(host: Host, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app with a live release and an SQLite database with a row."""
    monkeypatch.setattr(_snapshot_take, "RESERVE", 0)
    app = host.app(migrate=["x"], snapshot=True)
    host.release(app, R[0])
    host.release(app, R[1], "building")
    host.upstream(app, R[0])
    for release in R[:2]:
        Path(app.environment_files(release)[0]).write_text(json.dumps({"DATABASE_URL": f"sqlite:///{database(app)}"}))
    run(app, "CREATE TABLE entries (id INTEGER PRIMARY KEY, message TEXT, picture BLOB)")
    run(app, "CREATE TABLE alembic_version (version_num TEXT)")
    run(app, "INSERT INTO alembic_version VALUES ('a')")
    run(app, "CREATE VIEW loud AS SELECT upper(message) FROM entries")
    run(app, "INSERT INTO entries (message, picture) VALUES ('it''s \U0001f984', x'00ff')")
    _release_lock.take(app.paths["lock"], {"token": "mine"})
    return app


def database(app: App) -> Path:
    return Path(app.paths["shared"], "blog.sqlite3")


def run(app: App, statement: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(database(app))) as connection, connection:
        return connection.execute(statement).fetchall()


def state(app: App) -> dict[str, Any]:
    """Everything in the database."""
    found = dict(run(app, "SELECT name, sql FROM sqlite_master"))
    tables = [name for (name,) in run(app, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    return found | {f"rows of {name}": run(app, f"SELECT * FROM {name}") for name in tables}


def migrate(app: App, monkeypatch: pytest.MonkeyPatch, *statements: str, fails: bool = True) -> Any:
    """The module's work, with a migration that runs statements."""

    def commands(*_arguments: Any, **_options: Any) -> list[str]:
        for statement in statements:
            run(app, statement)
        if fails:
            raise ReleaseError("migrate: `x` ended with 1:\nboom")
        return []

    monkeypatch.setattr(release_migrate, "run_commands", commands)
    return release_migrate.migrate(app, R[1], Steps(app, "mine"), "mine", 30)


def files(app: App) -> list[str]:
    return sorted(os.listdir(_snapshots.folder(app))) if os.path.isdir(_snapshots.folder(app)) else []


HALF = "CREATE TABLE half (id INTEGER PRIMARY KEY, n TEXT UNIQUE)"


def test_what_a_half_migration_made_is_taken_away(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(blog)
    more = ["CREATE INDEX i ON half (n)", "CREATE INDEX j ON entries (message)", "CREATE VIEW v AS SELECT * FROM half"]
    with pytest.raises(ReleaseError, match="boom") as error:
        migrate(blog, monkeypatch, HALF, *more)
    assert "What the migration had made was taken away again (half, i, j, v)" in str(error.value)
    assert state(blog) == before
    assert files(blog) == [], "the snapshot is worth nothing now"


def test_what_visitors_wrote_meanwhile_stays(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReleaseError, match="Rows came since the snapshot and stay: entries 1"):
        migrate(blog, monkeypatch, HALF, "INSERT INTO entries (message) VALUES ('visitor')")
    assert len(run(blog, "SELECT * FROM entries")) == 2
    assert "half" not in state(blog)


@pytest.mark.parametrize(
    "statements",
    [
        [HALF, "UPDATE entries SET message = 'changed'"],
        [HALF, "DELETE FROM entries"],
        ["ALTER TABLE entries ADD COLUMN place TEXT"],
        ["UPDATE alembic_version SET version_num = 'b'"],
        ["DROP TABLE entries"],
        ["DROP VIEW loud", "CREATE VIEW loud AS SELECT message FROM entries"],
    ],
)
def test_a_changed_database_is_put_back(blog: App, monkeypatch: pytest.MonkeyPatch, statements: list[str]) -> None:
    before = state(blog)
    with pytest.raises(ReleaseError, match="was put back to the snapshot of") as error:
        migrate(blog, monkeypatch, *statements)
    assert getattr(error.value, "lost", None) is True
    assert state(blog) == before
    assert files(blog) == [f"{R[1]}.failed.sqlite.gz", f"{R[1]}.json", f"{R[1]}.sqlite.gz"]
    assert all(os.stat(os.path.join(_snapshots.folder(blog), name)).st_mode & 0o077 == 0 for name in files(blog))
    assert os.stat(_snapshots.folder(blog)).st_mode & 0o777 == 0o700
    assert os.listdir(blog.paths["cache"]) == []


def test_only_rows_that_differ_are_no_reason(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReleaseError, match="No table of the database is another than before") as error:
        migrate(blog, monkeypatch, "UPDATE entries SET message = 'visitor'")
    assert "by visitors or by the migration, and stay so: entries" in str(error.value)
    assert run(blog, "SELECT message FROM entries") == [("visitor",)]
    assert files(blog) == []


def test_a_run_that_lost_the_lock_puts_nothing_back(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_arguments: Any, **_options: Any) -> None:
        run(blog, HALF)
        write_json(blog.paths["lock"], {"token": "another"})
        raise ReleaseError("migrate: taken over")

    monkeypatch.setattr(release_migrate, "run_commands", lose)
    with pytest.raises(ReleaseError, match="was not put back; it is "):
        release_migrate.migrate(blog, R[1], Steps(blog, "mine"), "mine", 30)
    assert "half" in state(blog)


def test_a_migration_that_ends_well(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    _output, record = migrate(blog, monkeypatch, HALF, "UPDATE alembic_version SET version_num = 'b'", fails=False)
    assert (record["heads"], record["outcome"], record["live"]) == (["a"], "migrated", R[0])
    assert read_json(_snapshots.database_file(blog))["heads"] == ["b"], "what the database says, not the files"
    told = blog.record(R[1])
    assert sorted(told["snapshot"]) == ["bytes", "file", "heads", "seconds"]
    assert (told["migration_heads"], told["snapshot"]["heads"]) == (["b"], ["a"])


def test_a_run_that_dies_while_it_migrates_leaves_a_note(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Path(blog.release_dir(R[1]), "migrations/versions")
    versions.mkdir(parents=True)
    (versions.parent / "env.py").touch()
    (versions / "b.py").write_text("revision = 'b'\ndown_revision = 'a'\n")
    write_json(_snapshots.database_file(blog), {"heads": ["a"], "release": R[0]})

    def dies(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(release_migrate, "run_commands", dies)
    with pytest.raises(KeyboardInterrupt):
        release_migrate.migrate(blog, R[1], Steps(blog, "mine"), "mine", 30)
    noted = read_json(_snapshots.database_file(blog))
    assert noted == {"heads": ["a"], "release": R[0], "migrating": {"heads": ["b"], "release": R[1]}}
    assert _snapshots.find(blog, "")["name"] == R[1], "its snapshot is from before the migrations that ran last"
    with pytest.raises(ReleaseError, match="boom"):
        migrate(blog, monkeypatch)
    assert read_json(_snapshots.database_file(blog)) == {"heads": ["a"], "release": R[0]}, "who fails knows it"


def test_without_the_key_nothing_is_taken(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    blog.app["snapshot"] = False
    with pytest.raises(ReleaseError, match=r"^migrate: `x` ended with 1:\nboom$"):
        migrate(blog, monkeypatch, HALF)
    assert "half" in state(blog)
    assert files(blog) == []


def test_a_failed_snapshot_begins_no_migration(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_snapshot_take, "RESERVE", 2**60)
    with pytest.raises(ReleaseError, match=r"^snapshot: .* MiB must stay free, but only .*\nNo migration was begun\.$"):
        migrate(blog, monkeypatch, HALF)
    monkeypatch.setattr(_snapshot_take, "RESERVE", 0)
    database(blog).write_bytes(b"nothing of SQLite" * 100)
    with pytest.raises(ReleaseError, match=r"^snapshot: the SQLite database .*: file is not a database"):
        migrate(blog, monkeypatch, HALF)
    assert files(blog) == []


def test_half_a_dump_is_not_left(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _snapshot_take.engine_of(blog, R[0], 30)
    before = os.getpriority(os.PRIO_PROCESS, 0)

    def dies(target: Any) -> None:
        target.write(b"half of it")
        assert os.getpriority(os.PRIO_PROCESS, 0) >= max(before, 10) or not may_raise(), "visitors go first"
        raise ReleaseError("the server is gone")

    monkeypatch.setattr(engine, "dump", dies)
    with pytest.raises(ReleaseError, match="the server is gone"):
        _snapshot_take.take(blog, R[1], engine)
    assert files(blog) == []
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.mark.parametrize(
    ("server", "generated", "dumper", "refused"),
    [
        ("MySQL", ["orders.twice"], "mariadb-dump", True),
        ("MySQL", [], "mariadb-dump", False),
        ("MySQL", ["orders.twice"], "mysqldump", False),
        ("MariaDB", ["orders.twice"], "mariadb-dump", False),
    ],
)
def test_a_dump_that_could_not_be_loaded_is_refused(
    monkeypatch: pytest.MonkeyPatch, server: str, generated: list[str], dumper: str, refused: bool
) -> None:
    monkeypatch.setattr(
        _mysql, "program", lambda _package, *names: f"/usr/bin/{dumper if dumper in names else names[0]}"
    )
    engine = _mysql.MySql(parse("mysql://u:p@h/x"), 5)
    facts = {"server": [server], "bytes": ["0"], "table": [], "program": [], "generated": generated}
    monkeypatch.setattr(engine, "_look", lambda: facts)
    monkeypatch.setattr(engine, "_pour", lambda *_arguments: None)
    with pytest.raises(ReleaseError, match=r"orders\.twice") if refused else contextlib.nullcontext():
        engine.dump(io.BytesIO())


def test_a_missing_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "PATH", "/nowhere")
    with pytest.raises(ReleaseError, match=r"pg_dump is needed for `snapshot: true` .* apt install postgresql-client"):
        _postgresql.PostgreSql(parse("postgresql://u:p@h/x"), 5)


def test_the_first_release_has_no_database_yet(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    database(blog).unlink()
    with pytest.raises(ReleaseError, match="boom"):
        migrate(blog, monkeypatch, HALF)
    assert state(blog) == {}


def test_a_disk_that_gets_full_stops_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_snapshot_take, "_LOOK_EVERY", 10)
    with _snapshot_take._Watched(str(tmp_path / "x"), "wb") as target:
        monkeypatch.setattr(_snapshot_take, "RESERVE", 2**60)
        assert target.write(b"short") == 5
        with pytest.raises(OSError, match="are free, it was not written further"):
            target.write(b"long enough")


def test_writers_do_not_wait_for_a_copy(blog: App) -> None:
    run(blog, "INSERT INTO entries (picture) SELECT randomblob(30000000)")
    reader = sqlite3.connect(database(blog))
    with contextlib.closing(reader):
        patience = _sqlite._Patience()
        for remaining in (90, 80, 90, 80, 90, 90, 90):
            patience(0, remaining, 100)
        with pytest.raises(_sqlite._Disturbed):
            patience(0, 90, 100)


# restoring by hand, and what is kept


def taken(app: App, name: str, **changes: Any) -> dict[str, Any]:
    """A snapshot of the present state."""
    record = _snapshot_take.take(app, name, _snapshot_take.engine_of(app, R[0], 30))
    _snapshots.note(app, record, **changes)
    return record


def test_restore_by_hand(blog: App) -> None:
    write_json(_snapshots.database_file(blog), {"heads": ["a"], "release": R[0], "when": "then"})
    before, record = state(blog), taken(blog, R[1])
    run(blog, "DELETE FROM entries")
    run(blog, "UPDATE alembic_version SET version_num = 'b'")
    after = state(blog)
    write_json(_snapshots.database_file(blog), {"heads": ["b"], "release": R[1]})
    assert _snapshots.find(blog, "") == record, "the one from before the migrations that ran last"
    assert _snapshots.find(blog, "no such") == {}
    engine = _snapshot_take.engine_of(blog, R[0], 30)
    present, tables = _snapshot_take.restore(blog, record, engine, "now-restore")
    assert (state(blog), tables) == (before, ["alembic_version", "entries"])
    known = read_json(_snapshots.database_file(blog))
    assert (known["heads"], known["release"]) == (["a"], R[0])
    # and back again
    _snapshot_take.restore(blog, present, engine, "now-undo")
    assert state(blog) == after
    assert read_json(_snapshots.database_file(blog))["heads"] == ["b"]


def test_rollback_names_the_snapshot_that_fits(blog: App, host: Host) -> None:
    host.release(blog, R[2])
    host.upstream(blog, R[2])
    versions = Path(blog.release_dir(R[0]), "migrations/versions")
    versions.mkdir(parents=True)
    (versions.parent / "env.py").touch()
    (versions / "a.py").write_text("revision = 'a'\ndown_revision = None\n")
    write_json(_snapshots.database_file(blog), {"heads": ["b"], "release": R[2]})
    with pytest.raises(ReleaseError, match=r"`-e flask_rollback_force=true`\.$"):
        choose(blog, R[0], False)
    assert choose(blog, R[0], False, restore=True) == (R[0], "")
    taken(blog, R[2])
    run(blog, "UPDATE alembic_version SET version_num = 'b'")
    taken(blog, R[3])
    with pytest.raises(ReleaseError, match=rf"`-e flask_restore=true` puts back the snapshot of .* \({R[2]}\) first"):
        choose(blog, R[0], False)
    assert choose(blog, R[0], False, restore=True) == (R[0], R[2])


def test_snapshots_go_with_their_releases(blog: App, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    class Daemon:
        def processes(self) -> list[dict[str, str]]:
            return []

    monkeypatch.setattr(_tidy, "Supervisord", Daemon)
    for release in R[2:5]:
        host.release(blog, release)
        taken(blog, release, outcome="migrated")
    for name in R[5:9]:
        # of releases that failed, one of them without a migration that changed anything
        taken(blog, name, outcome="unchanged" if name == R[6] else "migrated")
    host.upstream(blog, R[4])
    _tidy.prune(blog, R[4], 2)
    assert [record["name"] for record in _snapshots.records(blog)] == [R[3], R[4], R[7], R[8]]


def test_half_snapshots_of_a_run_that_died_are_debris(blog: App) -> None:
    taken(blog, R[1])
    for name in (f".new-{R[2]}.sqlite.gz", f"{R[2]}.sqlite.gz", f"{R[1]}.failed.sqlite.gz"):
        Path(_snapshots.folder(blog), name).touch()
    found = [os.path.basename(path) for path in _snapshots.debris(blog)]
    assert found == [f".new-{R[2]}.sqlite.gz", f"{R[2]}.sqlite.gz"]


@pytest.mark.parametrize(("server", "says"), [(150012, 1), (170004, 2)])
def test_an_older_postgresql_is_not_told_what_it_does_not_know(tmp_path: Path, server: int, says: int) -> None:
    """And a row that looks the same is a row."""
    line = b"SET transaction_timeout = 0;\n"
    head = b"SET lock_timeout = 0;\n" + line + b"SELECT pg_catalog.set_config('search_path', '', false);\n"
    with gzip.open(tmp_path / "dump.sql.gz", "wb") as stream:
        stream.write(head + b"COPY public.notes (text) FROM stdin;\n" + line + b"\\.\n")
    fed = b"".join(_postgresql._statements(str(tmp_path / "dump.sql.gz"), server))
    assert fed.count(line) == says
    assert fed.endswith(b"FROM stdin;\n" + line + b"\\.\n")


def test_the_comment_of_an_extension_is_its_owners(tmp_path: Path) -> None:
    """PostgreSQL refuses to set it for anybody else. What a table or a row says of extensions stays."""
    about = b"--\n-- Name: EXTENSION citext; Type: COMMENT; Schema: -; Owner: -\n--\n\nCOMMENT ON EXTENSION citext IS 'of; all';\n"
    kept = (
        b"CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;\n",
        b"COMMENT ON TABLE public.notes IS 'COMMENT ON EXTENSION';\n",
    )
    row = b"COPY public.notes (text) FROM stdin;\nCOMMENT ON EXTENSION citext IS 'mine';\n\\.\n"
    with gzip.open(tmp_path / "dump.sql.gz", "wb") as stream:
        stream.write(b"SELECT pg_catalog.set_config('search_path', '', false);\n" + kept[0] + about + kept[1] + row)
    fed = b"".join(_postgresql._statements(str(tmp_path / "dump.sql.gz"), 170000))
    assert fed.endswith(kept[0] + kept[1] + row)


def test_where_a_dump_has_no_head_nothing_is_taken_for_one(tmp_path: Path) -> None:
    rows = b"COPY public.notes (text) FROM stdin;\nSET transaction_timeout = 0;\n\\.\n"
    with gzip.open(tmp_path / "dump.sql.gz", "wb") as stream:
        stream.write(rows)
    assert b"".join(_postgresql._statements(str(tmp_path / "dump.sql.gz"), 150000)).endswith(rows)
