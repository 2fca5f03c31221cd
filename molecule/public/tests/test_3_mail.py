# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guestbook sends arrives elsewhere, signed by a key that the printed records publish."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import testinfra.host

from tests.support.internet import Internet
from tests.support.stack import Run, Stack
from tests.support.wait import eventually

INBOX = "/var/mail/visitor"
DOMAIN = "example.test"
# speaks to the mail system as an app does; prints how many recipients were refused
SEND = """python3 - <<'END'
import smtplib
text = 'From: a@example.test\\r\\nTo: many\\r\\nSubject: many\\r\\n\\r\\nhello\\r\\n'
with smtplib.SMTP('localhost', 25, timeout=10) as server:
    for number in range({times}):
        print(len(server.sendmail('a@example.test', {recipients}, text)))
END
"""


@pytest.fixture(scope="module", autouse=True)
def names(host: testinfra.host.Host, internet: Internet) -> Iterator[None]:
    """The host asks the name server of this internet meanwhile."""
    host.check_output(
        "cp /etc/resolv.conf /etc/resolv.conf.former; echo nameserver %s > /etc/resolv.conf", internet.address
    )
    host.check_output("systemctl restart postfix")
    internet.shell.check_output("rm -f %s", INBOX)
    yield
    host.check_output("cat /etc/resolv.conf.former > /etc/resolv.conf; systemctl restart postfix")


@pytest.fixture(scope="module")
def printed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[dict[str, str]]]:
    """What the play says is to be published."""
    file = tmp_path_factory.mktemp("mail") / "records.json"
    run = stack.playbook("mail_records", mail_records_file=str(file)).check()
    return run, json.loads(Path(file).read_text())["public-host"]


@pytest.fixture(scope="module")
def published(printed: tuple[Run, list[dict[str, str]]], internet: Internet) -> list[dict[str, str]]:
    """The same in DNS."""
    lines = []
    for record in printed[1]:
        if record["type"] == "TXT":
            parts = re.findall(".{1,255}", record["value"])
            lines.append(f"txt-record={record['name'].rstrip('.')}," + ",".join(f'"{part}"' for part in parts))
    internet.shell.check_output(
        "printf '%%s\\n' %s > /etc/names/example.conf; systemctl restart names", "\n".join(lines)
    )
    return printed[1]


def inbox(internet: Internet) -> list[EmailMessage]:
    """What has arrived."""
    text = internet.shell.run(f"cat {INBOX}").stdout
    found = re.split(r"^From \S+ .*\n", text, flags=re.MULTILINE)[1:]
    return [email.message_from_bytes(one.encode(), policy=email.policy.default) for one in found]


def arrived(internet: Internet, subject: str) -> EmailMessage:
    """The message of that subject; waits for it."""
    found: list[EmailMessage] = []

    def there() -> bool:
        found[:] = [one for one in inbox(internet) if subject in str(one["Subject"])]
        return bool(found)

    eventually(there, seconds=15)
    return found[0]


def sign(internet: Internet, name: str) -> str:
    """Write into the guestbook, as a browser does; the status."""
    url = f"https://www.{DOMAIN}/"
    ask = f"curl -sk -c /tmp/jar -b /tmp/jar {url}"
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', internet.shell.check_output(ask))
    assert token
    fields = f"-d name='{name}' -d place=here -d message='Grüße, and hello' --data-urlencode csrf_token='{token[1]}'"
    return internet.shell.check_output(f"{ask} -e {url} -o /dev/null -w '%{{http_code}}' {fields}")


def test_a_message_of_the_guestbook_arrives_signed(
    internet: Internet, published: list[dict[str, str]], host: testinfra.host.Host
) -> None:
    assert sign(internet, "Mallory of the mails") == "303"
    mail = arrived(internet, "Guestbook: Mallory of the mails")
    assert mail["From"] == f"guestbook@{DOMAIN}"
    assert "Grüße, and hello" in mail.get_content()
    # an own mail server asked DNS for the key, and computed
    assert re.search(rf"mx\.net\.test;\s+dkim=pass .*header\.d={re.escape(DOMAIN)}", mail["Authentication-Results"])
    # it came encrypted, from a host that gave its own name
    assert re.search(rf"from host\.{re.escape(DOMAIN)} .*using TLSv1\.3", mail["Received"].replace("\n", " "))
    # where SPF is looked up
    assert mail["Return-Path"] == f"<guestbook@{DOMAIN}>"
    assert f"ip4:{host.backend.hostname}" in next(one["value"] for one in published if one["name"] == f"{DOMAIN}.")


def test_a_changed_message_is_not_believed(internet: Internet, published: list[dict[str, str]]) -> None:
    """The verifier of the test can say no."""
    signed = arrived(internet, "Guestbook: Mallory of the mails").as_bytes()
    forged = signed[signed.index(b"DKIM-Signature") :].replace(b"Mallory of the mails", b"Alice of the mails")
    program = (
        "import base64, smtplib; server = smtplib.SMTP('127.0.0.1'); server.sendmail("
        f"'guestbook@{DOMAIN}', ['visitor@net.test'], base64.b64decode('{base64.b64encode(forged).decode()}'))"
    )
    internet.shell.check_output("python3 -c %s", program)
    told = str(arrived(internet, "Alice of the mails")["Authentication-Results"])
    assert "dkim=fail" in told
    assert "dkim=pass" not in told


def test_records_are_printed_as_a_zone_has_them(printed: tuple[Run, list[dict[str, str]]], address: str) -> None:
    run, found = printed
    kinds = {(one["name"], one["type"]): one["value"] for one in found}
    assert kinds[f"_dmarc.{DOMAIN}.", "TXT"] == "v=DMARC1; p=none"
    assert kinds[f"host.{DOMAIN}.", "A"] == address
    reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa."
    assert kinds[reverse, "PTR"] == f"host.{DOMAIN}."
    assert f"_dmarc.{DOMAIN}. IN TXT" in run.output
    assert "BEGIN" not in run.output
    assert run.changed <= 1  # the file


def test_mail_of_the_host_itself_goes_to_the_admin(internet: Internet, host: testinfra.host.Host) -> None:
    host.check_output("printf 'Subject: from cron\\n\\nhello\\n' | sendmail root")
    mail = arrived(internet, "from cron")
    assert mail["Return-Path"] == f"<root@{DOMAIN}>"
    assert f"header.d={DOMAIN}" in mail["Authentication-Results"]
    assert "dkim=pass" in mail["Authentication-Results"]
    # and nothing is kept here, where nobody reads
    assert host.run("ls -A /var/mail").stdout == ""
    assert host.check_output("mailq") == "Mail queue is empty"


def test_port_25_is_open_to_nobody_else(internet: Internet, host: testinfra.host.Host, address: str) -> None:
    assert internet.shell.run(f"timeout 2 bash -c '</dev/tcp/{address}/25'").rc
    listening = [line.split()[3] for line in host.check_output("ss -Htln").splitlines()]
    assert {one for one in listening if one.endswith(":25")} <= {"127.0.0.1:25", "[::1]:25"}


def test_the_key_is_the_signers_alone(host: testinfra.host.Host) -> None:
    assert host.check_output("stat -c '%U %a' /etc/dkimkeys /etc/dkimkeys/*.private") == "opendkim 700\nopendkim 600"
    assert host.run("runuser -u guestbook -- cat /etc/dkimkeys/host-example-test.private").rc


def test_an_app_that_was_broken_into_cannot_send_for_ever(host: testinfra.host.Host) -> None:
    many = [f"visitor{number}@net.test" for number in range(60)]
    assert host.check_output(SEND.format(times=1, recipients=many)) == "10"
    flood = host.run(SEND.format(times=70, recipients=["nobody@net.test"]))
    assert "too much mail" in flood.stderr
    assert 40 < flood.stdout.count("0") < 60
    host.check_output("postsuper -d ALL")


def test_the_guestbook_does_without(internet: Internet, host: testinfra.host.Host) -> None:
    host.check_output("systemctl stop postfix")
    try:
        assert sign(internet, "Nobody is told") == "303"
        log = "grep -h 'no mail about the entry of Nobody is told' /var/log/guestbook/*"
        eventually(lambda: host.run(log).rc == 0)
    finally:
        host.check_output("systemctl start postfix")
