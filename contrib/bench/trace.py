"""Every packet at the client's end of the link while a row runs, and where the time of its transfers went.

`trace.py DEVICE PORT FILE`, in the client's network namespace, records until SIGTERM and then writes FILE: a line for each
packet with the seconds since the first, the client's port, the direction, the server's port, TCP's flags and the bytes,
and of control connections (PORT) what was said; at the end, the stages of the transfers in seconds.
"""
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUF = 256 << 20
# Headers and the longest line that is worth reading.
SNAPPED = 400
FLAGS = "FSRPA"
PASSIVE = re.compile(r"(?:229 .*\(\|\|\|(\d+)\|\)|227 .*?(\d+),(\d+)\)?\D*$)")
# Seconds.
SLICE = 0.5
PASSWORD = re.compile(rb"PASS [^\r]*")
TRANSFERS = ("RETR", "STOR", "APPE", "LIST", "MLSD", "NLST")


class Recorder:
    """Records while it is alive."""

    def __init__(self, device, port, file):
        command = [sys.executable, __file__, device, str(port), str(file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._process.stdout.readline()

    def end(self):
        """Waits until the file is written."""
        # What is on its way at the end belongs to it.
        time.sleep(0.5)
        self._process.terminate()
        self._process.wait()


def record(device):
    """Packets until SIGTERM: time, whether the client sent it, both ports, sequence number, flags, bytes, the first bytes."""
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    packets = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, 33, SO_RCVBUF)  # SO_RCVBUFFORCE
        tap.bind((device, ETH_P_ALL))
        print("ready", flush=True)
        while not ended:
            if not select.select([tap], [], [], 0.2)[0]:
                continue
            raw, address = tap.recvfrom(SNAPPED)
            if len(raw) < 40 or raw[0] >> 4 != 4 or raw[9] != socket.IPPROTO_TCP:
                continue
            header = (raw[0] & 15) * 4
            source, destination, sequence = struct.unpack_from(">HHI", raw, header)
            start = header + (raw[header + 12] >> 4) * 4
            size = struct.unpack_from(">H", raw, 2)[0] - start
            is_sent = address[2] == PACKET_OUTGOING
            ports = (source, destination) if is_sent else (destination, source)
            packets.append((time.monotonic(), is_sent, *ports, sequence, raw[header + 13], size, raw[start:start + size]))
    return packets


def told(packets, control):
    """A line for each packet."""
    began = packets[0][0]
    for at, is_sent, client, server, _, flags, size, said in packets:
        letters = "".join(letter for bit, letter in enumerate(FLAGS) if flags >> bit & 1)
        words = repr(PASSWORD.sub(b"PASS ***", said).decode(errors="replace"))[1:-1] if server == control else ""
        yield f"{at - began:9.4f} {client:5} {'>' if is_sent else '<'} {server:5} {letters:4} {size:6} {words}".rstrip()


class Transfer:
    """What happened when, of one transfer; seconds."""

    def __init__(self, verb, at):
        self.verb, self.asked, self.is_begun = verb, at, False
        self.first = self.last = self.ended = None

    def stages(self):
        moments = [self.asked, self.first, self.last, self.ended]
        return [later - earlier for earlier, later in zip(moments, moments[1:])] if None not in moments else None


class Session:
    """One control connection."""

    def __init__(self):
        self.transfers, self.waiting, self.port = [], [], None

    def sent(self, line, at):
        verb = line.split(" ")[0].upper()
        if verb in TRANSFERS:
            self.waiting.append(Transfer(verb, at))
        elif verb in ("EPSV", "PASV"):
            self.waiting.append(None)

    def heard(self, line, at):
        """The port that the server has opened, if it has."""
        if found := PASSIVE.match(line):
            self.port = int(found[1] or int(found[2]) * 256 + int(found[3]))
            if self.waiting and self.waiting[0] is None:
                self.waiting.pop(0)
            return self.port
        if transfer := self.waiting[0] if self.waiting else None:
            transfer.is_begun |= line.startswith(("125 ", "150 "))
            # 250 also ends the answer to an MLST that was sent before it.
            if transfer.is_begun and re.match(r"(226|250|4\d\d|5\d\d) ", line):
                transfer.ended = at
                self.transfers.append(self.waiting.pop(0))
        return None


def sessions(packets, control):
    """The control connections, with the times of their transfers."""
    known, owners, expected, pieces = {}, {}, {}, {}
    for at, is_sent, client, server, sequence, flags, size, said in packets:
        following = expected.get((client, server, is_sent), sequence)
        if not size or (sequence - following) % (1 << 32) >= 1 << 31:
            continue
        expected[client, server, is_sent] = (sequence + size) % (1 << 32)
        if server != control:
            session = owners.get(server)
            transfer = session and next((found for found in session.waiting if found), None)
            if transfer:
                transfer.first = transfer.first or at
                transfer.last = at
            continue
        session = known.setdefault(client, Session())
        *lines, pieces[client, is_sent] = (pieces.get((client, is_sent), "") + said.decode(errors="replace")).split("\r\n")
        for line in lines:
            if is_sent:
                session.sent(line, at)
            elif port := session.heard(line, at):
                owners[port] = session
    return known.values()


def summary(packets, control):
    """The stages of transfers, as lines."""
    found = list(sessions(packets, control))
    began, over = packets[0][0], packets[-1][0]
    yield f"{len(found)} control connections, {over - began:.3f} s from the first packet to the last"
    for verb in TRANSFERS:
        runs = [[one for one in session.transfers if one.verb == verb] for session in found]
        stages = [one.stages() for run in runs for one in run]
        stages = [stage for stage in stages if stage]
        pauses = [after.asked - before.ended for run in runs for before, after in zip(run, run[1:])]
        if not stages:
            continue
        asked = min(one.asked for run in runs for one in run)
        last = max(one.ended for run in runs for one in run)
        yield (f"{verb}: {len(stages)} over {sum(bool(run) for run in runs)} connections, "
               f"from {asked - began:.3f} to {last - began:.3f} s; median and sum of seconds:")
        names = ("command to first byte", "first byte to last", "last byte to reply", "reply to next command")
        for name, times in zip(names, [*zip(*stages), pauses]):
            if times:
                yield f"  {name:22} {statistics.median(times):8.4f} {sum(times):9.2f}"
    yield f"kB in each {SLICE} s, received and sent:"
    for is_sent in (False, True):
        slices = [0] * (int((over - began) / SLICE) + 1)
        for at, sent, *_, size, _ in packets:
            slices[int((at - began) / SLICE)] += size if sent == is_sent else 0
        yield "  " + " ".join(f"{total / 1000:.0f}" for total in slices)


def main():
    device, control, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    packets = record(device)
    lines = [*told(packets, control), *summary(packets, control)] if packets else ["no packets"]
    file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
