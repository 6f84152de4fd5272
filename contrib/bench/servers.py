"""The servers that contrib/install-test-servers.sh installs, configured as the tests configure them (tests/common/config.rs).

Each runs in a mount namespace of its own with its own password file bound over the system's, so that its user exists
nowhere else, and serves one directory as the root.
"""
import subprocess
import time
from pathlib import Path

from data import UID

NAMES = ("vsftpd", "proftpd", "pure-ftpd", "pyftpdlib")
PORT = 2121
USER, PASSWORD = "bench", "correct-horse"

# crypt(3) of it.
_HASH = "$6$ftpfstest$krTYuyAdaHrHm2Zf.EqoDr0igWvasFTXcLQCXqLbM2OELX.vlyJeeF88pPkY7ggEc7Igk4MWe4uYiKvZpSlp70"

_AUTHORITY = Path(__file__).resolve().parents[2] / "tests/data/tls"
AUTHORITY = _AUTHORITY / "authority.pem"


class ServerError(Exception):
    """The server did not start."""


def version(name, installed: Path):
    """What the server says of itself."""
    command = {
        "vsftpd": ["dpkg-query", "-W", "-f", "vsftpd ${Version}", "vsftpd"],
        "proftpd": [installed / "root/usr/sbin/proftpd", "-v"],
        "pure-ftpd": [installed / "root/usr/sbin/pure-ftpd", "--help"],
        "pyftpdlib": [installed / "venv/bin/python3", "-c", "import pyftpdlib; print('pyftpdlib', pyftpdlib.__ver__)"],
    }[name]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return lines[0] if lines else name


def missing(name, installed: Path):
    """The program of the server that is not there, if so."""
    program = {
        "vsftpd": Path("/usr/sbin/vsftpd"),
        "proftpd": installed / "root/usr/sbin/proftpd",
        "pure-ftpd": installed / "root/usr/sbin/pure-ftpd",
        "pyftpdlib": installed / "venv/bin/python3",
    }[name]
    return None if program.exists() else program


def start(name, tls, each, root: Path, run: Path, installed: Path, network):
    """Starts the server at its end of the network and waits until it listens. It ends with the namespace of processes.

    A connection gets `each` MB/s, where that is not 0 (vsftpd).
    """
    run.mkdir()
    run.chmod(0o755)
    if tls:
        _certificate(run, network.SERVER)
    bound, command = _CONFIGURE[name](root, run, installed, network.SERVER, tls)
    if each:
        with open(run / "conf", "a") as conf:
            conf.write(f"local_max_rate={each * 1e6:.0f}\n")
    bind = [f"mount --bind {run}/{file} {over}" for file, over in bound]
    script = " && ".join([*bind, f"exec {command}"])
    argv = network.at_server(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])
    with open(run / "log", "ab") as log:
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    until = time.monotonic() + 20
    # The kernel's record of who listens (state 0A), in the server's namespace.
    while not any(line.split()[3] == "0A" and line.split()[1].endswith(f":{PORT:04X}")
                  for line in network.server_tcp_table()):
        if server.poll() is not None or time.monotonic() > until:
            raise ServerError(f"{name} did not start: {(run / 'log').read_text(errors='replace')[-500:]}")
        time.sleep(0.05)


def _write(path: Path, text, mode=0o644):
    path.write_text(text)
    path.chmod(mode)


def _certificate(run: Path, address):
    """A certificate for `address` by the tests' authority, key and certificate in one file."""
    _write(run / "names", f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n")
    request = f"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=bench -keyout {run}/key"
    sign = (f"openssl x509 -req -CA {AUTHORITY} -CAkey {_AUTHORITY}/authority.key -set_serial 1 -days 30"
            f" -extfile {run}/names -out {run}/certificate")
    script = f"({request} | {sign}) 2>&1 && cat {run}/key {run}/certificate > {run}/tls.pem && chmod 600 {run}/tls.pem"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True)
    if done.returncode:
        raise ServerError(f"openssl made no certificate: {done.stdout[-500:]}")


def _passwd(root, password="x"):
    return (f"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
            f"ftp:*:{UID}:{UID}::{root}:/bin/sh\n{USER}:{password}:{UID}:{UID}::{root}:/bin/sh\n")


def _vsftpd(root, run, installed, address, tls):
    _write(run / "passwd", _passwd(root))
    _write(run / "shadow", f"root:*:19000::::::\n{USER}:{_HASH}:19000:0:99999:7:::\n", 0o600)
    _write(run / "pam", "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n")
    (run / "empty").mkdir()
    conf = f"""listen=YES
listen_address={address}
listen_port={PORT}
background=NO
local_enable=YES
anonymous_enable=NO
write_enable=YES
local_umask=022
mdtm_write=YES
chmod_enable=YES
seccomp_sandbox=NO
pam_service_name=vsftpd
chroot_local_user=YES
allow_writeable_chroot=YES
local_root={root}
secure_chroot_dir={run}/empty
connect_from_port_20=YES
max_clients=200
utf8_filesystem=YES
"""
    if tls:
        conf += f"""ssl_enable=YES
force_local_data_ssl=YES
force_local_logins_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file={run}/tls.pem
rsa_private_key_file={run}/tls.pem
"""
    _write(run / "conf", conf)
    bound = [("passwd", "/etc/passwd"), ("shadow", "/etc/shadow"), ("pam", "/etc/pam.d/vsftpd")]
    return bound, f"/usr/sbin/vsftpd {run}/conf"


def _proftpd(root, run, installed, address, tls):
    _write(run / "passwd", _passwd(root))
    _write(run / "group", f"root:x:0:\nftp:x:{UID}:\n", 0o600)
    _write(run / "users", f"{USER}:{_HASH}:{UID}:{UID}::{root}:/bin/false\n", 0o600)
    conf = f"""ModulePath {installed}/root/usr/lib/proftpd
LoadModule mod_site_misc.c
ServerName bench
ServerType standalone
Port {PORT}
DefaultAddress {address}
SocketBindTight on
UseIPv6 off
User ftp
Group ftp
PidFile {run}/pid
ScoreboardFile {run}/score
ScoreboardMutex {run}/mutex
DelayTable none
DefaultRoot {root}
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile {run}/users
AuthGroupFile {run}/group
AllowOverwrite on
AllowStoreRestart on
Umask 022 022
UseReverseDNS off
WtmpLog off
TransferLog none
MaxInstances 200
"""
    if tls:
        conf += f"""LoadModule mod_tls.c
TLSEngine on
TLSRequired on
TLSProtocol TLSv1.2 TLSv1.3
TLSLog {run}/tls.log
TLSECCertificateFile {run}/tls.pem
TLSECCertificateKeyFile {run}/tls.pem
"""
    _write(run / "conf", conf)
    bound = [("passwd", "/etc/passwd"), ("group", "/etc/group")]
    return bound, f"{installed}/root/usr/sbin/proftpd -n -c {run}/conf"


def _pure_ftpd(root, run, installed, address, tls):
    _write(run / "passwd", _passwd(root))
    _write(run / "users", f"{USER}:{_HASH}:{UID}:{UID}::{root}/./::::::::::::\n", 0o600)
    made = subprocess.run([installed / "root/usr/bin/pure-pw", "mkdb", run / "users.pdb", "-f", run / "users"])
    if made.returncode:
        raise ServerError("pure-pw made no list of users")
    secured = f"-Y 3 -2 {run}/tls.pem" if tls else ""
    command = (f"{installed}/root/usr/sbin/pure-ftpd -4 -S {address},{PORT} -A -H -z -c 200 -C 200"
               f" -l puredb:{run}/users.pdb -u 1 -L 200000:64 {secured}")
    return [("passwd", "/etc/passwd")], command


def _pyftpdlib(root, run, installed, address, tls):
    secured = f"""from pyftpdlib.handlers import TLS_FTPHandler as FTPHandler
FTPHandler.certfile = '{run}/tls.pem'
FTPHandler.tls_control_required = True
FTPHandler.tls_data_required = True
FTPHandler.get_ssl_context()
""" if tls else ""
    # Threads, one CWD at a time, and _strptime before the user changes: tests/common/config.rs says why.
    _write(run / "server.py", f"""import os
import threading
import _strptime
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer
{secured}
class Handler(FTPHandler):
    entering = threading.Lock()
    def ftp_CWD(self, path):
        with Handler.entering:
            return super().ftp_CWD(path)
authorizer = DummyAuthorizer()
authorizer.add_user('{USER}', '{PASSWORD}', '{root}', perm='elradfmwMT')
Handler.authorizer = authorizer
server = ThreadedFTPServer(('{address}', {PORT}), Handler)
server.max_cons_per_ip = 0
os.setgroups([])
os.setgid({UID})
os.setuid({UID})
server.serve_forever()
""")
    return [], f"{installed}/venv/bin/python3 {run}/server.py"


_CONFIGURE = {"vsftpd": _vsftpd, "proftpd": _proftpd, "pure-ftpd": _pure_ftpd, "pyftpdlib": _pyftpdlib}
