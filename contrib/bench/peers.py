"""Who does the work: programs that mount, and programs that need no mount."""
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import servers


class MountError(Exception):
    """A mount that did not come up."""


@dataclass(frozen=True)
class Target:
    """What they speak to, and where they may leave something."""

    address: str
    tls: bool
    mount: Path
    scratch: Path

    @property
    def url(self):
        """The root of the server, with user and password."""
        return f"ftp://{servers.USER}:{servers.PASSWORD}@{self.address}:{servers.PORT}"


@dataclass(frozen=True)
class Peer:
    name: str
    program: str  # a name for PATH, or a path
    kind: str  # of work: "mount", or the tool's own

    def path(self):
        """The program, None if it is absent."""
        return shutil.which(self.program)

    def version(self):
        """The first line of what it says of itself, without the libraries that it was built with."""
        command = [self.program, "version" if self.name.startswith("rclone") else "--version"]
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        first = lines[0] if lines else self.name
        return " ".join(first.replace("|", " ").split(" Copyright")[0].split(" (")[0].split())


def known(ftpfs, rclone):
    """All peers by name; the arguments are their programs."""
    peers = [
        Peer("ftpfs", ftpfs, "mount"),
        Peer("rclone", rclone, "mount"),
        Peer("rclone-full", rclone, "mount"),
        Peer("curl", "curl", "curl"),
        Peer("lftp", "lftp", "lftp"),
    ]
    return {peer.name: peer for peer in peers}


def mount_command(peer, target, options):
    """What mounts in the foreground."""
    if peer.name == "ftpfs":
        url = target.url.replace("ftp:", "ftpes:", 1) if target.tls else target.url
        command = [peer.program, "-f", "-o", f"cache_dir={target.scratch}/cache"]
        command += ["-o", f"cacert={servers.AUTHORITY}"] if target.tls else []
        return [*command, *options, f"{url}/", target.mount]
    obscured = subprocess.run([peer.program, "obscure", servers.PASSWORD], capture_output=True, text=True).stdout.strip()
    remote = f":ftp,host={target.address},port={servers.PORT},user={servers.USER},pass={obscured}"
    remote += ",explicit_tls=true:" if target.tls else ":"
    command = [peer.program, "mount", "--config", "/dev/null", "--cache-dir", target.scratch / "cache"]
    command += ["--ca-cert", servers.AUTHORITY] if target.tls else []
    command += ["--vfs-cache-mode", "full"] if peer.name == "rclone-full" else []
    return [*command, *options, remote, target.mount]


class Mount:
    """A fresh mount without anything in its caches."""

    def __init__(self, peer, target, options):
        """Mounts, and waits until the kernel shows it. Raises MountError."""
        self._at = target.mount
        self._at.mkdir(exist_ok=True)
        shutil.rmtree(target.scratch, ignore_errors=True)
        target.scratch.mkdir()
        log = target.scratch / "log"
        environment = {**os.environ, "HOME": str(target.scratch), "XDG_CACHE_HOME": f"{target.scratch}/cache"}
        with open(log, "wb") as file:
            self._process = subprocess.Popen(mount_command(peer, target, options), env=environment,
                                             stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        until = time.monotonic() + 30
        while not self._is_mounted():
            if self._process.poll() is not None or time.monotonic() > until:
                self.end()
                raise MountError(f"no mount: {log.read_text(errors='replace')[-300:].strip()}")
            time.sleep(0.01)

    def _is_mounted(self):
        return any(line.split()[1] == str(self._at) for line in open("/proc/self/mounts", encoding="utf-8"))

    def peak(self):
        """The most memory that the process has had so far, in KiB; 0 once it has ended."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)

    def end(self, gently=True):
        """Unmounts, by force where that does not help or is not wanted."""
        if self._is_mounted():
            if not gently or subprocess.run(["umount", self._at], stderr=subprocess.DEVNULL).returncode:
                subprocess.run(["umount", "--lazy", self._at], stderr=subprocess.DEVNULL)
                gently = False
        try:
            self._process.wait(20 if gently else 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
