# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of scripts/box."""

from __future__ import annotations

import argparse
import os
import sys

from . import boxes, daemon
from .image import ARCHS, SUITES, Recipe, ensure
from .system import Problem


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="scripts/box", description="Throw-away hosts, reached by ssh only.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    kind = argparse.ArgumentParser(add_help=False)
    source = kind.add_mutually_exclusive_group()
    source.add_argument("--suite", choices=SUITES, help="Debian from its archive (default: bookworm)")
    source.add_argument("--image", help="an image of a registry instead, such as ubuntu:24.04")
    kind.add_argument("--arch", choices=ARCHS, help="of another processor, under emulation: a tenth as fast")
    kind.add_argument("--like-ubuntu", action="store_true", help="ssh by socket, cloud-init's sshd file, needrestart")

    one = commands.add_parser("up", parents=[kind], help="make or start a box")
    one.add_argument("name")
    one.add_argument("--born", metavar="USER", help="the login it is born with: root (default), ubuntu, pi, ...")
    one.add_argument("--octet", type=int, help="last number of its address (default: follows from the name)")
    one.add_argument("--memory", metavar="SIZE", help="memory limit, such as 512m")
    one.add_argument("--fresh", action="store_true", help="make it anew if it exists")

    one = commands.add_parser("down", help="remove boxes")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], metavar="NAME")
    which.add_argument("--all", action="store_true", help="all boxes of this clone, and their network")

    one = commands.add_parser("restart", help="restart a box")
    one.add_argument("name")
    one.add_argument("--power-cut", action="store_true", help="let nothing end in order")
    one = commands.add_parser("ssh", help="a shell in a box, or one command: scripts/box ssh NAME -- COMMAND")
    one.add_argument("name")
    one.add_argument("--user", help="login (default: the one it was born with)")
    one.add_argument("words", nargs="*", metavar="COMMAND", help="its options after `--`")
    commands.add_parser("address", help="print the address of a box").add_argument("name")
    commands.add_parser("list", help="the boxes of this clone")
    commands.add_parser("image", parents=[kind], help="build the image of boxes now, and print its name")
    return top


def main() -> None:
    """Run one command."""
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)  # what follows is for the box, options and all
    options = parser().parse_args(words[:split])
    recipe = None
    if options.command in ("up", "image"):
        asked = options.suite or options.image or options.like_ubuntu or options.arch or options.command == "image"
        recipe = Recipe.wanted(options.suite, options.image, options.like_ubuntu, options.arch) if asked else None
    match options.command:
        case "up":
            wish = boxes.Wish(options.name, options.born, options.octet, recipe, options.memory)
            boxes.up(wish, fresh=options.fresh)
        case "down":
            boxes.down(None if options.all else options.names)
        case "restart":
            boxes.restart(options.name, power_cut=options.power_cut)
        case "ssh":
            command = [*boxes.ssh_command(boxes.get(options.name), options.user), *options.words, *words[split + 1 :]]
            os.execvp(command[0], command)
        case "address":
            print(boxes.get(options.name).address)
        case "list":
            for box in boxes.boxes().values() if daemon.answers() else ():
                print(f"{box.name:20} {box.address:16} {'up' if box.running else 'stopped':8} {box.title}, {box.born}")
        case "image" if recipe:
            with daemon.in_use():
                print(ensure(recipe))


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        sys.exit(f"box: {problem}")
    except KeyboardInterrupt:
        sys.exit("box: interrupted; run it again to go on.")
