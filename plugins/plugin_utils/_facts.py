# SPDX-License-Identifier: GPL-3.0-or-later
"""The few facts that the roles need, asked in plain sh along with the login: one round trip in place of a module's four."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._replication_plan import parse as parse_database

# who it is and whether it may become root; the rest only for those who may
LOGIN = 'id -un; if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then echo root; else echo no-root; exit 0; fi'

# {settle}: seconds to wait until what an earlier run armed (_guard) is over: the host is about to change
# {since}: what its clock has to say at least, in seconds of the epoch; a board without a clock of its own learns the time after its boot
# {wait}: seconds to wait until cloud-init has finished; it holds apt's lock and edits sshd
FACTS = r"""
export LC_ALL=C
n=0; while [ -e /var/lib/flaskhost/revert-armed.json ] && [ $n -lt {settle} ]; do sleep 1; n=$((n+1)); done
echo '== waited'; echo $n
cloud() {{ [ -x /usr/bin/cloud-init ] && [ ! -e /etc/cloud/cloud-init.disabled ] && [ ! -e /run/cloud-init/result.json ]; }}
n=0; while cloud && [ $n -lt {wait} ]; do sleep 1; n=$((n+1)); done
n=0; while [ "$(date +%s)" -lt {since} ] && [ $n -lt 90 ]; do sleep 1; n=$((n+1)); done
echo '== clock'; date +%s
echo '== os'; cat /etc/os-release
echo '== arch'; uname -m
echo '== memory'; grep MemTotal: /proc/meminfo
echo '== swap'; grep SwapTotal: /proc/meminfo
echo '== model'; tr -d '\0' 2>/dev/null < /proc/device-tree/model; echo
echo '== cpus'; nproc
echo '== python'; /usr/bin/python3 -V
echo '== init'; cat /proc/1/comm
echo '== addresses'; hostname -I
echo '== ipv6'; [ -e /proc/net/if_inet6 ] && echo yes
echo '== uv'; [ -e /opt/flaskhost/uv/installed ] && ls -d /opt/flaskhost/uv/lib/python3*/site-packages/uv-*.dist-info
echo '== cloud_init'; if cloud; then echo running; elif [ -x /usr/bin/cloud-init ]; then echo done; else echo none; fi
echo '== ssh'; echo "$SSH_CONNECTION"
echo '== ssh_socket'; systemctl is-active ssh.socket
echo '== ssh_kex'; ssh -Q kex
echo '== ssh_host_keys'; for key in /etc/ssh/ssh_host_*_key.pub; do [ -e "$key" ] && echo "$key $(ssh-keygen -lf "$key")"; done
echo '== drained'; ls /var/lib/flaskhost/drained 2>/dev/null
echo '== users'; getent passwd | while IFS=: read -r name x uid gid comment home shell; do
  if [ -d "$home" ]; then there=yes; else there=no; fi; echo "$name:$uid:$gid:$comment:$home:$there:$shell"; done
if [ "$(id -u)" = 0 ]; then as_root=; else as_root='sudo -n'; fi
echo '== groups'; getent group
echo '== shadow'; $as_root awk -F: '{{print $1 ":" substr($2, 1, 1) ":" $8 ":" $3 ":" $5}}' /etc/shadow
# of one of several database servers: its role, whether it takes writes, and what it replicates; of another one, whether it holds anything
role=/etc/mysql/flaskhost-role/role.cnf
echo '== database'; if [ -e $role ]; then cat $role
  [ -e /etc/mysql/flaskhost-role/copying ] && echo copying
  # MySQL does not find out by itself what a replica has that its primary lacks
  client=$(command -v mariadb || echo mysql); sets=
  [ $client = mysql ] && sets="SELECT CONCAT('gtids ', @@server_uuid, ' ', REPLACE(@@global.gtid_executed, '\n', ''));"
  $as_root timeout 10 $client -e "SELECT CONCAT('read_only is ', @@global.read_only); $sets
    SELECT CONCAT('from ', Host) FROM mysql.user WHERE User='flaskhost_replica'"
  # MySQL's client takes no \G from a script
  $as_root timeout 10 $client -E -e 'SHOW REPLICA STATUS'
elif [ -d /var/lib/mysql ]; then $as_root find /var/lib/mysql -mindepth 2 -maxdepth 2 -name '*.ibd' \
  -not -path '/var/lib/mysql/mysql/*' -not -path '/var/lib/mysql/sys/*' -printf '%h\n' | sort -u; fi
echo '== backup'; [ -e /etc/systemd/system/flaskhost-backup.timer ] && echo yes
echo '== packages'; dpkg-query -W -f '${{db:Status-Status}} ${{Package}}\n'
exit 0
"""


def parse(text: str) -> dict[str, Any]:
    """What FACTS printed, as ``ansible_facts.flaskhost`` holds it.

    ``os`` (id, like, codename, version, name), ``arch``, ``memory_mb`` and ``swap_mb`` (MiB), ``model`` (of a board),
    ``cpus``, ``clock`` (seconds of the epoch), ``python``, ``init``, ``addresses``, ``ipv6``, ``uv`` (version that the app role
    installed), ``cloud_init`` (none, running or done), ``ssh`` (port, client, socket_activated, kex, host_keys),
    ``drained`` (web hosts that this balancer leaves out), ``users`` (by name: uid, gid, groups, comment, home, home_exists,
    shell, locked, expires as in /etc/shadow, password_forced, password_ages), ``database`` (see _replication_plan),
    ``backup`` (whether there is a timer for it), ``packages`` (names of all installed ones).
    What a host does not tell is empty, 0 or false.
    """
    parts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("== "):
            lines = parts.setdefault(line[3:].strip(), [])
        else:
            lines.append(line.strip())

    def first(name: str) -> str:
        return (parts.get(name) or [""])[0]

    connection = first("ssh").split()
    installed = (line.split() for line in parts.get("packages", []))
    memory, swap = (first(name).split() for name in ("memory", "swap"))
    return {
        "os": os_release(parts.get("os", [])),
        "arch": first("arch"),
        "memory_mb": int(memory[1]) // 1024 if len(memory) > 1 else 0,
        "swap_mb": int(swap[1]) // 1024 if len(swap) > 1 else 0,
        "model": first("model"),
        "clock": int(first("clock") or 0),
        "cpus": int(first("cpus") or 0),
        "python": first("python").removeprefix("Python "),
        "init": first("init"),
        "addresses": first("addresses").split(),
        "ipv6": first("ipv6") == "yes",
        "uv": first("uv").rpartition("/uv-")[2].removesuffix(".dist-info"),
        "cloud_init": first("cloud_init"),
        "ssh": {
            "port": int(connection[3]) if len(connection) == 4 else 0,
            "client": connection[0] if connection else "",
            "socket_activated": first("ssh_socket") == "active",
            "kex": parts.get("ssh_kex", []),
            "host_keys": _host_keys(parts.get("ssh_host_keys", [])),
        },
        "drained": parts.get("drained", []),
        "users": _users(parts.get("users", []), parts.get("shadow", []), parts.get("groups", [])),
        "database": parse_database(parts.get("database", [])),
        "backup": first("backup") == "yes",
        "packages": sorted({words[1] for words in installed if len(words) == 2 and words[0] == "installed"}),
    }


def small(facts: dict[str, Any], groups: list[str], wish: Any = None) -> str:
    """Why a host is spared what wears a memory card out or takes memory for little; empty where it is not.

    :param groups: the groups of the inventory that it is in.
    :param wish: what the inventory says (``flaskhost_small``); None where it says nothing.
    """
    if wish is not None:
        return "flaskhost_small says so" if wish else ""
    if "raspberry_pi" in groups:
        return "it is in the group raspberry_pi"
    return f"it is a {facts['model']}" if facts["model"].startswith("Raspberry Pi") else ""


def waited(text: str) -> bool:
    """Whether the host took changes back while FACTS waited for that, so that everything has to be asked anew."""
    lines = text.splitlines()
    number = lines[lines.index("== waited") + 1] if "== waited" in lines[:-1] else "0"
    return number != "0"


def _host_keys(lines: list[str]) -> list[dict[str, Any]]:
    """The keys that the host shows to ssh: path (of the private part), bits, type (RSA, ED25519, ...)."""
    words = (line.split() for line in lines)
    return [
        {"path": each[0].removesuffix(".pub"), "bits": int(each[1]), "type": each[-1].strip("()")}
        for each in words
        if len(each) >= 4 and each[1].isdigit()
    ]


def _users(accounts: list[str], shadow: list[str], groups: list[str]) -> dict[str, dict[str, Any]]:
    """All accounts by name; those that /etc/shadow says nothing of count as neither locked nor expiring on a known day."""
    states = {words[0]: words[1:] for line in shadow if len(words := line.split(":")) == 5}
    known = [words for line in groups if len(words := line.split(":")) == 4]
    users = {}
    for line in accounts:
        words = line.split(":")
        if len(words) != 7 or not (words[1].isdigit() and words[2].isdigit()):
            continue
        name, uid, gid, comment, home, there, shell = words
        first, expires, changed, most = states.get(name, ("", "unknown", "", ""))
        users[name] = {
            "uid": int(uid), "gid": int(gid), "comment": comment, "home": home, "home_exists": there == "yes",
            "groups": [group[0] for group in known if group[2] == gid or name in group[3].split(",")],
            "shell": shell, "locked": first == "!", "expires": expires,
            # PAM asks for another password then, and refuses even keys until it has one
            "password_forced": changed == "0", "password_ages": most.isdigit() and int(most) < 99999,
        }  # fmt: skip
    return users


def os_release(lines: list[str]) -> dict[str, Any]:
    """The lines of /etc/os-release."""
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    plain = {key: value.strip().strip("\"'") for key, value in pairs.items()}
    return {
        "id": plain.get("ID", ""),
        "like": plain.get("ID_LIKE", "").split(),
        "codename": plain.get("VERSION_CODENAME", ""),
        "version": plain.get("VERSION_ID", ""),
        "name": plain.get("PRETTY_NAME", ""),
    }
