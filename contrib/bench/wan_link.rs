//! Joins two TUN devices, its standard input and its standard output, by a link of some delay and rate.
//!
//! ```text
//! rustc --edition 2024 -O wan_link.rs
//! wan_link DELAY_US MBIT          each way; MBIT 0 for no limit
//! ```
//! For kernels without netem. Packets keep their order and none is lost but where the queue is full; TCP at both ends is
//! the kernel's own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What waits for its turn or is on its way, in bytes, each way: far more than a link of a second at 100 Mbit/s holds, so
/// that the end which sends is slowed by its own window and not by losses.
const QUEUE: usize = 16 * 1024 * 1024;

/// A packet, and when it arrives.
struct Packet {
    due: Instant,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Line {
    delay: Duration,
    /// 0 for no limit.
    bytes_per_second: f64,
}

/// Takes packets from a device; when they arrive at the other end is known at once.
fn take(mut device: &File, line: Line, queued: &AtomicUsize, way: &Sender<Packet>) -> io::Result<()> {
    let mut buffer = vec![0; 65536];
    let mut free = Instant::now();
    loop {
        let length = device.read(&mut buffer)?;
        if queued.load(Ordering::Relaxed) + length > QUEUE {
            continue;
        }
        let sending = match line.bytes_per_second {
            rate if rate > 0.0 => Duration::from_secs_f64(length as f64 / rate),
            _ => Duration::ZERO,
        };
        free = free.max(Instant::now()) + sending;
        queued.fetch_add(length, Ordering::Relaxed);
        let packet = Packet { due: free + line.delay, bytes: buffer[..length].to_vec() };
        if way.send(packet).is_err() {
            return Ok(());
        }
    }
}

/// Gives packets to a device when they are due.
fn give(mut device: &File, queued: &AtomicUsize, way: &Receiver<Packet>) -> io::Result<()> {
    for packet in way {
        thread::sleep(packet.due.saturating_duration_since(Instant::now()));
        device.write_all(&packet.bytes)?;
        queued.fetch_sub(packet.bytes.len(), Ordering::Relaxed);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1);
    let (Some(delay), Some(rate)) = (numbers.next(), numbers.next()) else {
        return Err(
            "usage: wan_link DELAY_US MBIT, with a TUN device as standard input and one as standard output"
                .into(),
        );
    };
    let line = Line {
        delay: Duration::from_micros(delay.parse()?),
        bytes_per_second: rate.parse::<f64>()? * 125_000.0,
    };
    let ends = [
        File::from(io::stdin().as_fd().try_clone_to_owned()?),
        File::from(io::stdout().as_fd().try_clone_to_owned()?),
    ];
    let queued = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|scope| {
        for from in 0..2 {
            let (there, here) = channel();
            let (ends, queued) = (&ends, &queued[from]);
            // A device that fails has been removed with its end of the link.
            let done = |result: io::Result<()>| {
                if let Err(error) = result {
                    eprintln!("wan_link: {error}");
                    std::process::exit(1);
                }
            };
            scope.spawn(move || done(take(&ends[from], line, queued, &there)));
            scope.spawn(move || done(give(&ends[1 - from], queued, &here)));
        }
    });
    Ok(())
}
