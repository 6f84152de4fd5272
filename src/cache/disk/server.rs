//! Which server a block is from, and which of its blocks are still believed.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::format::Key;
use super::store::open_private;
use crate::ftp::config::{SessionConfig, TlsConfig, TlsMode};
use crate::remote::RemotePath;

/// A server and a login: files of one path are the same only there. Not the password: who has another one of
/// the same user sees the same files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(Key);

impl Identity {
    /// Who a session speaks to, over which way and how well it was secured: what came in clear text, or from who
    /// was not asked for a proof, does not answer for what TLS protects.
    pub fn of(session: &SessionConfig) -> Identity {
        let tls = session.tls.as_ref().filter(|tls| tls.mode != TlsMode::Off).map(|tls| {
            let TlsConfig { mode, clear_data, clear_control, client, .. } = tls;
            format!("{mode:?} {clear_data} {clear_control} {}", client.is_believing())
        });
        // The same name may mean another server to a proxy.
        let proxy = session
            .proxy
            .as_ref()
            .map(|proxy| format!("{:?} {} {}", proxy.kind, proxy.host.to_ascii_lowercase(), proxy.port));
        Identity(hash(&[
            b"ftpfs server",
            session.host.to_ascii_lowercase().as_bytes(),
            &session.port.to_be_bytes(),
            &session.login.user,
            tls.unwrap_or_default().as_bytes(),
            proxy.unwrap_or_default().as_bytes(),
        ]))
    }

    #[cfg(test)]
    pub(super) fn named(name: &str) -> Identity {
        Identity(hash(&[name.as_bytes()]))
    }
}

/// The generation of a server's blocks: a number that is part of all their keys. A new one makes everything
/// that is on the disk of this server unreachable at once, for this mount and all later ones.
#[derive(Debug)]
pub(super) struct Generation {
    identity: Identity,
    file: File,
    /// The key of the server, generation and all.
    key: Mutex<Key>,
}

impl Generation {
    /// The one that is noted in `dir`, else a first one.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn open(dir: &Path, identity: Identity) -> io::Result<Generation> {
        let dir = dir.join("servers");
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let name: String = identity.0[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let file = open_private(&dir.join(name))?;
        let mut number = [0; 16];
        let generation = Generation { identity, file, key: Mutex::default() };
        if generation.file.read_at(&mut number, 0)? == number.len() {
            *generation.key.lock() = generation.key_of(&number);
        } else {
            generation.renew()?;
        }
        Ok(generation)
    }

    /// Begins a new generation.
    ///
    /// # Errors
    /// The disk; the old one may then come back with the next mount.
    pub(super) fn renew(&self) -> io::Result<()> {
        let mut number = [0; 16];
        SystemRandom::new().fill(&mut number).map_err(|_| io::Error::other("no random numbers"))?;
        *self.key.lock() = self.key_of(&number);
        self.file.write_all_at(&number, 0)?;
        self.file.sync_data()
    }

    /// The key of the file at `path`.
    pub(super) fn file(&self, path: &RemotePath) -> Key {
        let server = *self.key.lock();
        hash(&[b"ftpfs file", &server, path.as_bytes()])
    }

    fn key_of(&self, number: &[u8; 16]) -> Key {
        hash(&[b"ftpfs generation", &self.identity.0, number])
    }
}

/// A hash of all parts, none of which can run into the next.
fn hash(parts: &[&[u8]]) -> Key {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::config::{Pin, TlsClient, TlsSettings};

    #[test]
    fn what_came_less_secured_is_of_another_server() {
        let server = crate::ftp::scripted::Scripted::start(&[]);
        let secured = |settings: &TlsSettings| TlsConfig {
            mode: TlsMode::Explicit,
            clear_data: false,
            clear_control: false,
            optional_close_notify: false,
            client: TlsClient::new(settings).unwrap(),
            known: None,
        };
        let pin: Pin = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let pinned = TlsSettings { pins: vec![pin], ..TlsSettings::default() };
        let best = secured(&pinned);
        let all = [
            None,
            Some(best.clone()),
            Some(TlsConfig { mode: TlsMode::Auto, ..best.clone() }),
            Some(TlsConfig { mode: TlsMode::Implicit, ..best.clone() }),
            Some(TlsConfig { clear_data: true, ..best.clone() }),
            Some(TlsConfig { clear_control: true, ..best.clone() }),
            Some(secured(&TlsSettings { any_peer: true, ..TlsSettings::default() })),
        ];
        let of =
            |tls: &Option<TlsConfig>| Identity::of(&SessionConfig { tls: tls.clone(), ..server.config() });
        for (number, tls) in all.iter().enumerate() {
            assert_eq!(of(tls), of(tls));
            assert!(all[..number].iter().all(|other| of(other) != of(tls)), "{number}");
        }
        // A pin is a proof, whatever else is not asked for.
        assert_eq!(of(&Some(secured(&TlsSettings { any_peer: true, ..pinned }))), of(&Some(best)));
    }

    #[test]
    fn a_generation_outlives_the_mount_and_a_new_one_changes_all_keys() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name| Generation::open(dir.path(), Identity::named(name)).unwrap();
        let path = RemotePath::parse(b"/a").unwrap();
        let first = open("one").file(&path);
        assert_eq!(open("one").file(&path), first);
        assert_ne!(open("two").file(&path), first);
        assert_ne!(open("one").file(&RemotePath::root()), first);
        let generation = open("one");
        generation.renew().unwrap();
        let second = generation.file(&path);
        assert_ne!(second, first);
        assert_eq!(open("one").file(&path), second);
    }
}
