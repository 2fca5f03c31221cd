# SPDX-License-Identifier: GPL-3.0-or-later
"""Sent to a box by tests.support.remains: looks at one app and prints as JSON what lies and runs there. Stdlib only."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys

APP = sys.argv[1]
ROOT, RUN, CONF_D = f"/srv/{APP}", f"/run/{APP}", "/etc/supervisor/conf.d"
UPSTREAM = f"/etc/nginx/flaskhost/upstreams/{APP}.conf"
# how the names of files begin that are there while another is written
TEMPORARY = (".new-", ".fileset-", ".removed-", "deploy-key-", ".flaskhost-export")


def names(folder):
    """What is in a directory."""
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def read(path):
    """Text of a file; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def record(release):
    """RELEASE.json of a release."""
    try:
        return json.loads(read(f"{ROOT}/releases/{release}/RELEASE.json"))
    except ValueError:
        return {}


def history():
    """The lines of the history that can be read."""
    found = []
    for line in read(f"{ROOT}/history.jsonl").splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def live():
    """The release that nginx's upstream names, or of an app without nginx the file `serving`."""
    if os.path.exists(f"{ROOT}/serving"):
        return read(f"{ROOT}/serving").strip()
    found = re.search(rf"unix:{re.escape(RUN)}/([^\s;/]+)\.sock", read(UPSTREAM))
    return found.group(1) if found else ""


def groups():
    """Groups of the app that supervisord runs or remembers; by its own protocol, since supervisorctl takes 0.3 s to start."""
    question = "<methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>"
    head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(question)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect("/run/supervisor.sock")
        except OSError:
            # it does not run
            return []
        connection.sendall((head + question).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert "</methodResponse>" in answer, answer
    found = set(re.findall(r"<name>group</name>\s*<value><string>([^<]*)", answer))
    return sorted(group for group in found if group.split("@")[0] == APP)


def processes(now):
    """Processes of the app's user that do not belong to the live release."""
    found = []
    pids = subprocess.run(["pgrep", "-u", APP], capture_output=True, text=True, check=False).stdout.split()
    for pid in pids:
        environment = read(f"/proc/{pid}/environ").split("\0")
        command = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
        if command and f"RELEASE_ID={now}" not in environment:
            found.append(f"process {pid}: {command[:120]}")
    return found


def former_nginx():
    """Workers of nginx that are on their way out."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        title = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
        if title.startswith("nginx:") and title.endswith("is shutting down"):
            found.append(f"process {pid}: {title}")
    return found


def leftovers(now, running):
    """In words, whatever is there that no deploy should leave.

    :param running: the groups of the app.
    """
    found = [
        f"{CONF_D}/{name}"
        for name in names(CONF_D)
        if name.split("@")[0] == APP and name not in (f"{APP}@{now}.conf", f"{APP}@{now}+workers.conf")
    ]
    found += [f"group {group}" for group in running if group not in (f"{APP}@{now}", f"{APP}@{now}+workers")]
    found += processes(now)
    found += [f"{RUN}/{name}" for name in names(RUN) if name != f"{now}.sock"]
    releases = names(f"{ROOT}/releases")
    for release in releases:
        folder = f"{ROOT}/releases/{release}"
        if os.path.exists(f"{folder}/DEPLOY_UNFINISHED"):
            found.append(f"{folder}/DEPLOY_UNFINISHED")
        elif record(release).get("state") not in ("finished", "rolled_back"):
            found.append(f"{folder} is half a release: {record(release).get('state')}")
    for folder in (
        ROOT,
        *(f"{ROOT}/{name}" for name in names(ROOT)),
        f"{ROOT}/releases/{now}",
        CONF_D,
        os.path.dirname(UPSTREAM),
    ):
        if not os.path.islink(folder):
            found += [f"{folder}/{name}" for name in names(folder) if name.startswith(TEMPORARY)]
    found += [f"{ROOT}/{name}" for name in names(ROOT) if name.startswith("deploy.lock")]
    found += [
        f"{ROOT}/environments/{name}"
        for name in names(f"{ROOT}/environments")
        if os.path.splitext(name)[0] not in releases
    ]
    used = {os.path.basename(os.path.realpath(f"{ROOT}/releases/{release}/.venv")) for release in releases}
    found += [f"{ROOT}/venvs/{name}" for name in names(f"{ROOT}/venvs") if name not in used]
    current = os.path.basename(os.path.realpath(f"{ROOT}/current"))
    if current != now:
        found.append(f"{ROOT}/current names {current}, not {now}")
    return found + former_nginx()


def main():
    """Print it."""
    now, running = live(), groups()
    told = {"live": now, "releases": names(f"{ROOT}/releases"), "groups": running, "leftovers": leftovers(now, running)}
    du = subprocess.run(["du", "-sk", ROOT], capture_output=True, text=True, check=False).stdout
    told |= {
        "record": record(now),
        "kib": int(du.split()[0]),
        "history": history(),
    }
    print(json.dumps(told))


main()
