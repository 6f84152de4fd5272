//! The configuration of each kind of server: one root for the tests' user and for anonymous.
//!
//! A server runs in a mount namespace of its own, with its own password file bound over the system's, so that
//! its users exist nowhere else and servers with different roots run side by side.

use std::fs;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;

use super::server::{Kind, Options, Tls};
use super::{UID, USER, pki, servers_dir};

/// crypt(3) of [`super::PASSWORD`].
const HASH: &str =
    "$6$ftpfstest$krTYuyAdaHrHm2Zf.EqoDr0igWvasFTXcLQCXqLbM2OELX.vlyJeeF88pPkY7ggEc7Igk4MWe4uYiKvZpSlp70";

/// Writes the files that the server needs into `run` and returns the shell script that runs the server.
pub(crate) fn prepare(
    kind: Kind,
    root: &Path,
    address: SocketAddr,
    options: &Options,
    log: &str,
    run: &Path,
) -> String {
    let root = root.to_str().unwrap();
    let write = |name: &str, text: String| fs::write(run.join(name), text).unwrap();
    let run_dir = run.to_str().unwrap();
    let installed = servers_dir();
    let installed = installed.to_str().unwrap();
    let (ip, port, idle) = (address.ip(), address.port(), options.idle.as_secs());
    let most = options.max_clients.unwrap_or(200);
    let secured = options.tls != Tls::Off;
    if secured {
        let flaw = if options.tls == Tls::SelfSigned { pki::Flaw::SelfSigned } else { pki::Flaw::None };
        let pki::Identity { certificate, key, .. } = pki::identity(&[&ip.to_string()], flaw);
        write("tls.pem", format!("{key}{certificate}"));
        fs::set_permissions(run.join("tls.pem"), private()).unwrap();
    }
    match kind {
        Kind::Vsftpd => {
            write("passwd", passwd(root, "x"));
            write("shadow", format!("root:*:19000::::::\n{USER}:{HASH}:19000:0:99999:7:::\n"));
            write(
                "pam",
                "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
                    .into(),
            );
            let listen = match ip {
                IpAddr::V4(ip) => format!("listen=YES\nlisten_address={ip}"),
                IpAddr::V6(ip) => format!("listen_ipv6=YES\nlisten_address6={ip}"),
            };
            let tls = if secured { vsftpd_tls(run_dir, options.tls) } else { String::new() };
            write("conf", vsftpd(&listen, port, root, most, idle) + &tls);
            fs::create_dir_all(run.join("empty")).unwrap();
            // vsftpd chroots its unprivileged half into a directory that is named in its configuration.
            format!(
                "{} && /usr/sbin/vsftpd {run_dir}/conf -osecure_chroot_dir={run_dir}/empty",
                bind(
                    run_dir,
                    &[("passwd", "/etc/passwd"), ("shadow", "/etc/shadow"), ("pam", "/etc/pam.d/vsftpd")]
                )
            )
        }
        Kind::Proftpd => {
            write("passwd", passwd(root, "x"));
            write("group", format!("root:x:0:\nftp:x:{UID}:\n"));
            write(
                "users",
                format!(
                    "{USER}:{HASH}:{UID}:{UID}::{root}:/bin/false\nftp:!:{UID}:{UID}::{root}:/bin/false\n"
                ),
            );
            fs::set_permissions(run.join("users"), private()).unwrap();
            let tls = if secured { proftpd_tls(run_dir, options.tls) } else { String::new() };
            let (local, clock) = match options.zone {
                Some(zone) => ("TimesGMT off\nFactsAdvertise off\n", format!("export TZ='{zone}' && ")),
                None => ("", String::new()),
            };
            write("conf", proftpd(ip, port, root, most, idle, run_dir, installed) + local + &tls);
            format!(
                "{} && {clock}{installed}/root/usr/sbin/proftpd -n -c {run_dir}/conf",
                bind(run_dir, &[("passwd", "/etc/passwd"), ("group", "/etc/group")])
            )
        }
        Kind::PureFtpd => {
            // Anonymous is the system's user `ftp`, who may read dot files by -z; the tests' user is a virtual one.
            write("passwd", passwd(root, "x"));
            write("users", format!("{USER}:{HASH}:{UID}:{UID}::{root}/./::::::::::::\n"));
            let family = if ip.is_ipv6() { "-6" } else { "-4" };
            let minutes = idle.div_ceil(60);
            let tls = if secured { format!("-Y 3 -2 {run_dir}/tls.pem") } else { String::new() };
            format!(
                "{} && {installed}/root/usr/bin/pure-pw mkdb {run_dir}/users.pdb -f {run_dir}/users && \
                 {installed}/root/usr/sbin/pure-ftpd {family} -S {ip},{port} -A -H -z -c {most} -C {most} \
                 -l puredb:{run_dir}/users.pdb -u 1 -L 200000:64 -I {minutes} {tls}",
                bind(run_dir, &[("passwd", "/etc/passwd")])
            )
        }
        Kind::Pyftpdlib => {
            let tls = if secured { pyftpdlib_tls(run_dir) } else { String::new() };
            write("server.py", pyftpdlib(ip, port, root, options.max_clients.unwrap_or(0), idle, &tls));
            format!("{installed}/venv/bin/python3 {run_dir}/server.py 2>>{log}")
        }
    }
}

fn private() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o600)
}

fn passwd(root: &str, password: &str) -> String {
    format!(
        "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n\
         ftp:*:{UID}:{UID}::{root}:/bin/sh\n{USER}:{password}:{UID}:{UID}::{root}:/bin/sh\n"
    )
}

/// Shell commands that bind files of the run directory over the system's.
fn bind(run: &str, files: &[(&str, &str)]) -> String {
    let one = |(name, target): &(&str, &str)| format!("mount --bind {run}/{name} {target}");
    files.iter().map(one).collect::<Vec<_>>().join(" && ")
}

fn vsftpd(listen: &str, port: u16, root: &str, most: u32, idle: u64) -> String {
    // All servers of a run share ::1, and a session of vsftpd dies when another holds its port 20 there.
    let from_port_20 = if listen.contains("::1") { "NO" } else { "YES" };
    format!(
        "{listen}\nlisten_port={port}\nbackground=NO\nlocal_enable=YES\nanonymous_enable=YES\nftp_username=ftp\n\
         anon_root={root}\nanon_world_readable_only=NO\nno_anon_password=YES\nwrite_enable=YES\n\
         local_umask=022\nmdtm_write=YES\nchmod_enable=YES\n\
         seccomp_sandbox=NO\npam_service_name=vsftpd\nchroot_local_user=YES\nallow_writeable_chroot=YES\n\
         local_root={root}\nconnect_from_port_20={from_port_20}\nmax_clients={most}\nutf8_filesystem=YES\n\
         idle_session_timeout={idle}\n"
    )
}

fn proftpd(ip: IpAddr, port: u16, root: &str, most: u32, idle: u64, run: &str, installed: &str) -> String {
    format!(
        "ModulePath {installed}/root/usr/lib/proftpd\nLoadModule mod_site_misc.c\n\
         ServerName test\nServerType standalone\nPort {port}\nDefaultAddress {ip}\nSocketBindTight on\nUseIPv6 on\n\
         User ftp\nGroup ftp\nPidFile {run}/pid\nScoreboardFile {run}/score\nScoreboardMutex {run}/mutex\n\
         DelayTable none\nDefaultRoot {root}\nRequireValidShell off\nAuthOrder mod_auth_file.c\n\
         AuthUserFile {run}/users\nAllowOverwrite on\nAllowStoreRestart on\n\
         Umask 022 022\nUseReverseDNS off\nWtmpLog off\nTransferLog none\nMaxInstances 200\n\
         MaxClients {most}\nTimeoutIdle {idle}\nTimeoutNoTransfer 0\n\
         <Anonymous {root}>\n User ftp\n Group ftp\n UserAlias anonymous ftp\n RequireValidShell off\n \
         MaxClients {most}\n <Limit WRITE>\n  DenyAll\n </Limit>\n</Anonymous>\n"
    )
}

/// vsftpd 3.0.3 takes no data connection in clear text, nor one that begins a session of its own.
fn vsftpd_tls(run: &str, tls: Tls) -> String {
    let implicit = if tls == Tls::Implicit { "YES" } else { "NO" };
    format!(
        "ssl_enable=YES\nallow_anon_ssl=YES\nforce_local_data_ssl=YES\nforce_local_logins_ssl=YES\n\
         force_anon_data_ssl=YES\nforce_anon_logins_ssl=YES\nrequire_ssl_reuse=YES\nssl_ciphers=HIGH\n\
         rsa_cert_file={run}/tls.pem\nrsa_private_key_file={run}/tls.pem\nimplicit_ssl={implicit}\n"
    )
}

/// ProFTPD 1.3.8 demands the same unless it is told not to.
fn proftpd_tls(run: &str, tls: Tls) -> String {
    let implicit = if tls == Tls::Implicit { "TLSOptions UseImplicitSSL\n" } else { "" };
    format!(
        "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSProtocol TLSv1.2 TLSv1.3\nTLSLog {run}/tls.log\n\
         TLSECCertificateFile {run}/tls.pem\nTLSECCertificateKeyFile {run}/tls.pem\n{implicit}"
    )
}

/// Clear text is refused; it takes data connections that begin a session of their own. The certificate's file is root's,
/// so it is read before the user changes.
fn pyftpdlib_tls(run: &str) -> String {
    format!(
        "from pyftpdlib.handlers import TLS_FTPHandler as FTPHandler\n\
         FTPHandler.certfile = '{run}/tls.pem'\n\
         FTPHandler.tls_control_required = True\n\
         FTPHandler.tls_data_required = True\n\
         FTPHandler.get_ssl_context()\n"
    )
}

/// Port and directories need root, the rest of the server's life does not. Python's files may need it too, so what
/// MFMT imports when it is first used (`_strptime`) is imported before.
///
/// A thread for each session: with one event loop for all, pyftpdlib 2.2.0 on Python 3.11 at times never answers EPRT
/// when several sessions use active mode at once, although the data connection stands (seen with a bare client, 3 of
/// 4 sessions within 150 transfers; with threads none).
///
/// CWD enters the directory for a moment, and the directory of a process is that of all its threads: two at once can
/// leave the server in a directory that is removed later, and every CWD after that ends its session without an answer.
/// So one of them is done at a time.
fn pyftpdlib(ip: IpAddr, port: u16, root: &str, most: u32, idle: u64, tls: &str) -> String {
    format!(
        "import os\n\
         import threading\n\
         import _strptime\n\
         from pyftpdlib.authorizers import DummyAuthorizer\n\
         from pyftpdlib.handlers import FTPHandler\n\
         from pyftpdlib.servers import ThreadedFTPServer\n\
         {tls}\
         class Handler(FTPHandler):\n\
         \x20   entering = threading.Lock()\n\
         \x20   def ftp_CWD(self, path):\n\
         \x20       with Handler.entering:\n\
         \x20           return super().ftp_CWD(path)\n\
         authorizer = DummyAuthorizer()\n\
         authorizer.add_user('{USER}', '{password}', '{root}', perm='elradfmwMT')\n\
         authorizer.add_anonymous('{root}')\n\
         Handler.authorizer = authorizer\n\
         Handler.timeout = {idle}\n\
         server = ThreadedFTPServer(('{ip}', {port}), Handler)\n\
         server.max_cons_per_ip = {most}\n\
         os.setgroups([])\n\
         os.setgid({UID})\n\
         os.setuid({UID})\n\
         server.serve_forever()\n",
        password = super::PASSWORD
    )
}
