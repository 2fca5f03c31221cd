#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have certbot fetch certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: acme
short_description: Has certbot fetch the certificates that are due, and forget those that nobody wants
version_added: "0.1.0"
description:
  - Fetches each certificate over http (webroot), with nginx serving meanwhile. certbot's own timer renews it from then on.
  - The files that nginx reads become links to what certbot keeps, once there is something.
  - One that fails keeps nobody else from getting theirs, and is left alone for a while; what failed is told in C(problems), without
    failing, so that the caller can go on and fail in the end.
options:
  certificates:
    description: What M(flaskhost.stack.certificate_status) found due, of C(mode) C(acme).
    type: list
    elements: dict
    required: true
  strays:
    description: Apps whose certificates certbot shall forget; what the authority issued is not revoked.
    type: list
    elements: str
    default: []
  directory:
    description: URL of the ACME directory.
    type: str
    required: true
  email:
    description: Address that the authority knows of the account; it counts when the account is made.
    type: str
    default: ""
  ca:
    description: File of CA certificates with which the directory's own certificate is checked. By default those of the system.
    type: path
  pause:
    description: Seconds after a failed try in which none is made for the same names and directory. Doubles with each failure, up to a day.
    type: int
    default: 900
  retry:
    description: Tries now, pause or not.
    type: bool
    default: false
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would be fetched.}
"""

EXAMPLES = r"""
- name: Fetch what is due
  flaskhost.stack.acme:
    certificates: "{{ status.due | selectattr('mode', 'eq', 'acme') }}"
    directory: https://acme-v02.api.letsencrypt.org/directory
"""

RETURN = r"""
fetched:
  description: Apps that have a new certificate.
  returned: success
  type: list
  elements: str
forgotten:
  description: Apps whose certificate is gone.
  returned: success
  type: list
  elements: str
problems:
  description: What went wrong, with C(name), C(names), C(reason), C(at), C(next) (both in seconds since 1970), C(former) and C(tried).
  returned: success
  type: list
  elements: dict
told:
  description: The problems in words.
  returned: success
  type: str
"""

import contextlib
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _acme
from ansible_collections.flaskhost.stack.plugins.module_utils._certificates import ACME_DIRECTORY, LINEAGE, lineage

# seconds to wait for another certbot, such as the timer's
_PATIENCE = 120


class Fetcher:
    """Certbot, asked for one host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.environment = {
            "LC_ALL": "C.UTF-8",
            **({"REQUESTS_CA_BUNDLE": module.params["ca"]} if module.params["ca"] else {}),
        }

    def run(self, words: list[str]) -> tuple[int, str]:
        """One run of certbot, after that of another if need be."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            code, out, err = self.module.run_command(words, environ_update=self.environment)
            if code == 0 or not _acme.busy(out + err) or time.monotonic() > deadline:
                return code, str(out + err)
            time.sleep(2)

    def fetch(self, one: dict[str, Any]) -> dict[str, Any]:
        """Fetch one; the problem, or nothing."""
        app, directory, now = one["name"], self.params["directory"], time.time()
        wish, before = _acme.wish_of(one, directory), _acme.remembered(app)
        if not self.params["retry"] and _acme.waits(before, wish, now):
            return self.problem(one, before, tried=False)
        anew = one["reason"] == "is of another directory"
        code, output = self.run(_acme.command(one, directory=directory, email=self.params["email"], anew=anew))
        reason = _acme.reasons(output) if code else self.serve(one)
        if not reason:
            _acme.remember(app, {})
            return {}
        until = _acme.retry_after(output)
        failure = _acme.failed(before, wish, reason, now=time.time(), pause=self.params["pause"], until=until)
        _acme.remember(app, failure)
        return self.problem(one, failure, tried=True)

    def serve(self, one: dict[str, Any]) -> str:
        """Have nginx serve what certbot keeps now; why that fails, or nothing."""
        former = {one[kind]: self.look(one[kind]) for kind in ("certificate", "key")}
        _acme.link(lineage(one["name"], "privkey"), one["key"])
        _acme.link(lineage(one["name"], "fullchain"), one["certificate"])
        code, out, err = self.module.run_command(["/bin/sh", "-c", _acme.DEPLOY])
        if not code:
            return ""
        for path, content in former.items():
            self.put_back(path, content)
        return f"it was fetched, but nginx does not take it: {(out + err).strip()}"

    def look(self, path: str) -> bytes | str | None:
        """What is at a path: the target of a link, or the content of a file."""
        if os.path.islink(path):
            return os.readlink(path)
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
            return stream.read()
        return None

    def put_back(self, path: str, content: bytes | str | None) -> None:
        """Undo a link."""
        if isinstance(content, str):
            _acme.link(content, path)
        elif content is not None:
            with open(f"{path}.new", "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
                stream.write(content)
            os.replace(f"{path}.new", path)

    def problem(self, one: dict[str, Any], failure: dict[str, Any], *, tried: bool) -> dict[str, Any]:
        """A failure as it is handed on."""
        former = os.path.realpath(one["certificate"]) == os.path.realpath(lineage(one["name"], "fullchain"))
        told = {key: failure.get(key, 0) for key in ("reason", "at", "next")}
        return {"name": one["name"], "names": one["names"], **told, "former": former, "tried": tried}

    def forget(self, app: str) -> str:
        """Have certbot forget one that no site names any more; why that fails, or nothing."""
        code, output = self.run(["certbot", "delete", "--non-interactive", "--cert-name", LINEAGE.format(app)])
        if code:
            return _acme.reasons(output)
        _acme.remember(app, {})
        for end in ("pem", "key"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(ACME_DIRECTORY, f"{app}.{end}"))
        return ""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "strays": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "str", "required": True},
            "email": {"type": "str", "default": ""},
            "ca": {"type": "path"},
            "pause": {"type": "int", "default": 900},
            "retry": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted, strays = module.params["certificates"], module.params["strays"]
    if module.check_mode:
        fetched = [one["name"] for one in wanted]
        module.exit_json(changed=bool(fetched or strays), fetched=fetched, forgotten=strays, problems=[], told="")
    fetcher = Fetcher(module)
    problems = [problem for one in wanted if (problem := fetcher.fetch(one))]
    unhappy = [problem["name"] for problem in problems]
    fetched = [one["name"] for one in wanted if one["name"] not in unhappy]
    kept = {app: why for app in strays if (why := fetcher.forget(app))}
    told = [
        _acme.told(problems, time.time()),
        *(f"{app}: certbot does not forget it: {why}" for app, why in kept.items()),
    ]
    module.exit_json(
        changed=bool(fetched or set(strays) - set(kept)),
        fetched=fetched,
        forgotten=[app for app in strays if app not in kept],
        problems=problems,
        told="\n".join(filter(None, told)),
    )


if __name__ == "__main__":
    main()
