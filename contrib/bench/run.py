#!/usr/bin/env python3
"""Times everyday work on an FTP server, through ftpfs and through others, and prints a table in Markdown.

  cargo build --release && contrib/install-test-servers.sh      once
  contrib/bench/run.py                                          a link without delay, vsftpd
  contrib/bench/run.py --rtt 50 --rate 200                      a link of 50 ms and 200 Mbit/s
  contrib/bench/run.py --server proftpd-tls --work seqread256,find_600dirs --peers ftpfs,curl
  contrib/bench/run.py --scale                                  how time and memory grow

Needs root, for network namespaces, servers and mounts. All of it is in namespaces of its own (of mounts, processes and
network), which go when the script ends, however it ends. Each row begins with a new mount and empty caches, and checks
every byte: a wrong answer fails, however fast it was, and so does the run.
"""
import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import data
import network
import peers
import servers
import trace
from works import PRELUDE, SCALE, WORKS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
INSTALLED = Path(os.environ.get("FTPFS_TEST_SERVERS", ROOT / "target/test-servers"))

MISSING = "–"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name + tls for name in servers.NAMES for tls in ("", "-tls")]
    parser.add_argument("--server", default="vsftpd", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rtt", type=float, default=0, metavar="MS", help="round trip of the link (0)")
    parser.add_argument("--rate", type=float, default=0, metavar="MBIT", help="its rate, each way (0: no limit)")
    parser.add_argument("--each", type=float, default=0, metavar="MB", help="what vsftpd gives each connection, in MB/s (0: all)")
    parser.add_argument("--work", metavar="A,B", help=f"rows: {','.join(WORKS)}")
    parser.add_argument("--scale", action="store_true",
                        help="the rows that show how cost grows, with the memory of each, for mounts (a million files)")
    parser.add_argument("--peers", metavar="A,B",
                        help="columns: ftpfs,rclone,curl,lftp, with --scale ftpfs; rclone-full has --vfs-cache-mode full")
    parser.add_argument("--timeout", type=float, default=120, metavar="S", help="for one row of one peer (120)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="the median of so many (1)")
    parser.add_argument("--ftpfs", default=TARGET / "release/ftpfs", metavar="PROGRAM")
    parser.add_argument("--ftpfs-options", default="", metavar="WORDS", help="more of them, such as '-o cache_size=256M'")
    parser.add_argument("--rclone", default="rclone", metavar="PROGRAM")
    parser.add_argument("--trace", type=Path, metavar="DIR",
                        help="a file there for each row of each mount: every packet, and where the time of transfers went")
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="keep the server's files there for the next run (1.4 GB for all rows)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.each and not options.server.startswith("vsftpd"):
        parser.error("--each is for vsftpd")
    options.rows = SCALE if options.scale else WORKS
    options.work = options.work.split(",") if options.work else list(options.rows)
    options.peers = (options.peers or ("ftpfs" if options.scale else "ftpfs,rclone,curl,lftp")).split(",")
    for given, there in ((options.work, options.rows), (options.peers, peers.known("", ""))):
        for name in given:
            if name not in there:
                parser.error(f"there is no {name}, but {', '.join(there)}")
    return options


def outside(options):
    """Prepares, runs this script anew in its namespaces, and removes what it leaves. Returns its exit code."""
    server = options.server.removesuffix("-tls")
    if os.geteuid() != 0:
        sys.exit("run as root: this makes network namespaces, starts servers and mounts")
    if lacking := servers.missing(server, INSTALLED):
        sys.exit(f"no {lacking}: run contrib/install-test-servers.sh as root")
    if "ftpfs" in options.peers and not shutil.which(options.ftpfs):
        sys.exit(f"no {options.ftpfs}: run cargo build --release, or give --ftpfs PROGRAM")
    # A directory that the server's user can reach.
    run = Path(tempfile.mkdtemp(prefix="ftpfs-bench-", dir="/var/tmp"))
    child = None

    def end(*_):
        raise SystemExit(130)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    try:
        run.chmod(0o755)
        link = None
        if (options.rtt or options.rate) and not network.has_netem():
            link = str(network.build_wan_link(run))
        inside = json.dumps({"run": str(run), "link": link})
        # The signal ends the first process of the namespace, and that ends all others.
        namespaces = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--net", "--pid",
                      "--fork", "--kill-child=KILL", "--mount-proc"]
        script = [sys.executable, str(HERE / "run.py"), *sys.argv[1:], "--inside", inside]
        child = subprocess.Popen([*namespaces, *script], start_new_session=True)
        return child.wait()
    except network.LinkError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        return 130
    finally:
        if child:
            child.kill()
            child.wait()
        shutil.rmtree(run, ignore_errors=True)


class Bench:
    """One run, inside the namespaces."""

    def __init__(self, options):
        inside = json.loads(options.inside)
        self.options = options
        self.run = Path(inside["run"])
        self.server, self.tls = options.server.removesuffix("-tls"), options.server.endswith("-tls")
        self.load = os.getloadavg()[0]
        self.root = options.data.resolve() / "root" if options.data else self.run / "data/root"
        self.root.mkdir(parents=True, exist_ok=True)
        say("making the data")
        data.make(self.root, {part for work in options.work for part in options.rows[work].needs})
        data.expect(self.root, self.run / "expected")
        data.warm(self.root)
        self.network = network.Network(options.rtt, options.rate, inside["link"])
        servers.start(self.server, self.tls, options.each, self.root, self.run / "server", INSTALLED, self.network)
        self.rtt = self.network.measure(servers.PORT)
        self.target = peers.Target(network.SERVER, self.tls, self.run / "mount", self.run / "scratch")
        self.failures = []

    def shell(self, script, timeout):
        """Runs a piece of bash with what works.py promises it; the seconds it took, and why it failed."""
        environment = {
            **os.environ, "LC_ALL": "C", "HOME": str(self.run), "HERE": str(HERE), "PYTHON": sys.executable,
            "MNT": str(self.target.mount), "URL": self.target.url, "DATA": str(self.root), "OUT": str(self.run / "out"),
            "EXPECTED": str(self.run / "expected"), "AUTHORITY": str(servers.AUTHORITY) if self.tls else "",
        }
        began = time.monotonic()
        process = subprocess.Popen(["bash", "-c", PRELUDE + script], env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, ""
        took = time.monotonic() - began
        message = output.decode(errors="replace").strip()[-200:] or f"exit code {process.returncode}"
        return took, message if process.returncode else ""

    def once(self, peer, name):
        """Seconds (None: out of time), why it failed, and the peak of memory in KiB."""
        work = self.options.rows[name]
        for directory in (self.run / "out", self.root / "in"):
            subprocess.run(["find", directory, "-mindepth", "1", "-delete"], check=True)
        mount, peak = None, 0
        try:
            if peer.kind == "mount":
                words = self.options.ftpfs_options.split() if peer.name == "ftpfs" else []
                mount = peers.Mount(peer, self.target, words)
            seconds, failure = self.shell(work.before.get(peer.kind, ""), self.options.timeout)
            if seconds is not None and not failure:
                recorder = self.recorder(peer, name) if mount else None
                seconds, failure = self.shell(work.run[peer.kind], self.options.timeout)
                if recorder:
                    recorder.end()
            if mount:
                peak = mount.peak()
            if seconds is not None and not failure and work.check:
                _, failure = self.shell(work.check, self.options.timeout)
        except peers.MountError as error:
            seconds, failure = None, str(error)
        if mount:
            mount.end(gently=seconds is not None)
        return seconds, failure, peak

    def recorder(self, peer, name):
        """What records the packets of a row, if that is wanted."""
        if not self.options.trace:
            return None
        self.options.trace.mkdir(parents=True, exist_ok=True)
        return trace.Recorder("client", servers.PORT, self.options.trace / f"{self.options.server}-{name}-{peer.name}.txt")

    def cell(self, peer, name):
        """A cell of the table, and the peak of memory in KiB."""
        if peer.kind not in self.options.rows[name].run:
            return MISSING, 0
        times, most = [], 0
        for _ in range(self.options.repeat):
            seconds, failure, peak = self.once(peer, name)
            most = max(most, peak)
            if failure:
                self.failures.append(f"{peer.name}, {name}: {failure}")
                return "failed", most
            if seconds is None:
                return f"> {self.options.timeout:g}", most
            times.append(seconds)
        median = statistics.median(times)
        seconds = f"{median:.3f}" if median < 1 else f"{median:.2f}"
        return f"{seconds} ({most / 1024:.0f} MiB)" if self.options.scale and most else seconds, most

    def all(self):
        """Every row of every peer; the table's columns by peer."""
        (self.run / "out").mkdir()
        known = peers.known(str(self.options.ftpfs), self.options.rclone)
        columns = {}
        for peer in (known[name] for name in self.options.peers):
            if not peer.path():
                say(f"{peer.name} is absent: there is no {peer.program}")
                columns[f"{peer.name} (absent)"] = [MISSING] * (len(self.options.work) + 1)
                continue
            cells, most = [], 0
            for name in self.options.work:
                cell, peak = self.cell(peer, name)
                most = max(most, peak)
                cells.append(cell)
                say(f"{peer.name:12} {name:14} {cell}")
            columns[peer.name] = [*cells, f"{most / 1024:.0f}" if most else MISSING]
        return columns

    def heading(self):
        """What was run where, so that the figures mean something."""
        options = self.options
        known = peers.known(str(options.ftpfs), options.rclone)
        # rclone may have two columns.
        versions = dict.fromkeys(known[name].version() for name in options.peers if known[name].path())
        link = f"{self.network.kind}, round trip {self.rtt:.1f} ms as measured"
        if options.rate:
            link += f", {options.rate:g} Mbit/s each way"
        if options.each:
            link += f", {options.each:g} MB/s for each connection"
        described = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
        return [
            f"- date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
            f"- command: `contrib/bench/run.py {shlex.join(without_inside(sys.argv[1:]))}`",
            f"- server: {servers.version(self.server, INSTALLED)}{', explicit TLS' if self.tls else ''}",
            f"- link: {link}",
            f"- peers: {', '.join(versions)}; checkout {described.stdout.strip() or 'unknown'}",
            f"- machine: Linux {platform.release()}, {os.cpu_count()} processors, load {self.load:.2f} at the start",
            "",
            f"Seconds{f', median of {options.repeat}' if options.repeat > 1 else ''}; every byte was checked.",
        ]


def without_inside(words):
    return words[:words.index("--inside")] if "--inside" in words else words


def table(works, columns):
    """Lines of Markdown."""
    lines = ["| work | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
    for place, name in enumerate([*works, "peak memory, MiB"]):
        lines.append(f"| {name} | " + " | ".join(cells[place] for cells in columns.values()) + " |")
    return lines


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def main():
    options = arguments()
    if not options.inside:
        return outside(options)
    try:
        bench = Bench(options)
        columns = bench.all()
    except (network.LinkError, servers.ServerError) as error:
        sys.exit(str(error))
    print("\n".join([*bench.heading(), "", *table(options.work, columns)]))
    for failure in bench.failures:
        say(f"FAILED {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
