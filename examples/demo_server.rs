//! A small FTP server with sample files on loopback, to try `ftpfs` with.
//!
//! `cargo run --example demo_server [PORT]` prints its URL as its first line, serves everybody who says
//! `anonymous`, and ends on SIGTERM, on Ctrl-C, or when its standard input ends. Its files go with it.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use libunftp::ServerBuilder;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use unftp_sbe_fs::Filesystem;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = match std::env::args().nth(1) {
        Some(port) => port.parse()?,
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
    };
    let files = tempfile::tempdir()?;
    make_samples(files.path())?;
    let root = files.path().to_path_buf();
    let server = ServerBuilder::new(Box::new(move || storage(&root)))
        .greeting("ftpfs demo server")
        .passive_ports(49152..=65535)
        .build()?;
    let address = format!("127.0.0.1:{port}");
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    // The port may be announced before it is open: whoever connects too early tries again.
    println!("ftp://{address}/");
    std::io::stdout().flush()?;
    tokio::select! {
        ended = server.listen(address) => ended?,
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        () = end_of_input() => {}
    }
    files.close()?;
    // A blocked read of standard input would keep the runtime from ending.
    std::process::exit(0)
}

/// One for each connection. The library has no way to refuse one, so a directory that has gone ends the demo.
fn storage(root: &Path) -> Filesystem {
    Filesystem::new(root).unwrap_or_else(|error| {
        eprintln!("demo_server: {}: {error}", root.display());
        std::process::exit(1)
    })
}

async fn end_of_input() {
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 512];
    while input.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

fn make_samples(root: &Path) -> std::io::Result<()> {
    let poem = "I met a traveller from an antique land,\nWho said: Two vast and trunkless legs of stone\n\
                Stand in the desert.\n";
    let log: String = (0..500)
        .map(|line| {
            format!(
                "12:{:02}:{:02} {}\n",
                line / 60,
                line % 60,
                if line % 97 == 0 { "error: disk full" } else { "ok" }
            )
        })
        .collect();
    let big: Vec<u8> =
        (0..8_000_000_u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let samples: [(&str, &[u8]); 6] = [
        ("README.txt", b"These files are on an FTP server. ftpfs shows them as files of your own.\n"),
        ("poems/ozymandias.txt", poem.as_bytes()),
        ("logs/2024/disk.log", log.as_bytes()),
        ("logs/2025/empty.log", b""),
        (
            "a name with spaces/and [brackets] \u{1f980}.txt",
            b"Every name that the server lists can be opened.\n",
        ),
        ("big.bin", &big),
    ];
    for (name, content) in samples {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}
