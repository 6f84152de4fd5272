"""Two network namespaces, joined by a link of chosen delay and rate: this one is the client's, the other the server's.

Delay and rate come from the kernel's netem where it has it, else from wan_link.rs between two TUN devices.
"""
import fcntl
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

SERVER, CLIENT = "10.77.0.1", "10.77.0.2"

# <linux/if_tun.h>
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

# Packets that netem holds: what wan_link's queue holds.
NETEM_PACKETS = 11_000

HERE = Path(__file__).resolve().parent


class LinkError(Exception):
    """The link is not there, or not what was asked for."""


def has_netem():
    """Whether this kernel can delay packets; asked in a namespace that is gone afterwards."""
    command = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def build_wan_link(into: Path):
    """Compiles wan_link.rs. Raises LinkError where there is no rustc."""
    program = into / "wan_link"
    try:
        subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, HERE / "wan_link.rs"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LinkError(f"this kernel has no netem, and wan_link.rs cannot be compiled instead: {error}") from error
    return program


def _open_tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


class Network:
    """The link, made in a network namespace that is nobody else's. It ends with the namespace of processes."""

    SERVER = SERVER

    def __init__(self, rtt, rate, wan_link):
        """`rtt` in ms and `rate` in Mbit/s, both 0 for a link without; `wan_link` is the program, None to use netem."""
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
                                  stdout=subprocess.PIPE, text=True)
        if holder.stdout.readline() != "up\n":
            raise LinkError("cannot make a network namespace")
        self._pid = holder.pid
        self.rtt = rtt
        self._ip("link set lo up")
        shaped = rtt > 0 or rate > 0
        if shaped and wan_link:
            self.kind = "wan_link between TUN devices"
            ends = [_open_tun("client"), _open_tun("server")]
            self._ip(f"link set server netns {self._pid}")
        else:
            self.kind = "veth"
            self._ip(f"link add client type veth peer name server netns {self._pid}")
            if shaped:
                self.kind = "netem on veth"
                self._shape("client", rtt, rate)
                self._shape("server", rtt, rate)
        for device, address in (("client", CLIENT), ("server", SERVER)):
            self._ip(f"addr add {address}/30 dev {device}", device)
            self._ip(f"link set {device} mtu 1500 txqueuelen 10000 up", device)
        if shaped and wan_link:
            # Not before: a packet for a device that is down would be an error.
            self._link = subprocess.Popen([wan_link, str(round(rtt * 500)), str(rate)], stdin=ends[0], stdout=ends[1])
            for end in ends:
                os.close(end)

    def at_server(self, command):
        """The command, made to run at the server's end."""
        return ["nsenter", f"--net=/proc/{self._pid}/ns/net", *command]

    def server_tcp_table(self):
        """The kernel's record of TCP at the server's end, a connection or listening socket in each line."""
        return Path(f"/proc/{self._pid}/net/tcp").read_text().splitlines()[1:]

    def measure(self, port):
        """The round trip in ms, the least of five: how long connect(2) to `port` takes."""
        least = float("inf")
        for _ in range(5):
            began = time.monotonic()
            try:
                with socket.create_connection((SERVER, port), timeout=30):
                    least = min(least, time.monotonic() - began)
            except OSError as error:
                raise LinkError(f"nothing goes through the link: {error}") from error
        least *= 1000
        if not 0.95 * self.rtt <= least <= 1.2 * self.rtt + 5:
            raise LinkError(f"the round trip is {least:.1f} ms, not {self.rtt:g}")
        return least

    def _run(self, command, device):
        at = self.at_server(command) if device == "server" else command
        if subprocess.run(at).returncode:
            raise LinkError(f"cannot make the link: {' '.join(command)}")

    def _ip(self, words, device="client"):
        self._run(["ip", *words.split()], device)

    def _shape(self, device, rtt, rate):
        words = f"tc qdisc add dev {device} root netem limit {NETEM_PACKETS}".split()
        if rtt > 0:
            words += ["delay", f"{round(rtt * 500)}us"]
        if rate > 0:
            words += ["rate", f"{rate:g}mbit"]
        self._run(words, device)
