//! A link between two network namespaces that a test owns, with TCP of the kernel at both ends. Packets go from one TUN
//! device to the other, in one of two ways: after a delay, or in lockstep, which counts round trips.
//!
//! # How round trips are counted
//!
//! In lockstep the link holds every packet until all threads at both ends sleep: the client, the server, and the test
//! itself. Then all that it holds, in both directions, arrives at once. So what a program sends together travels
//! together, however slow the machine is, and whoever waits for a timer costs nothing.
//!
//! Each end has a time, counted in half round trips. A packet leaves with the time of its end; when it arrives, the
//! time of the other end is at least one more. Every packet counts, an ACK too: vsftpd says 226 only when its data has
//! been acknowledged. But an ACK that nobody waits for moves only the end at which it arrives, and its sender goes on
//! from its own time. What an operation costs is the time of the client's end when it returns, less that when it
//! began, in a settled state: nothing on the way, everybody asleep, both ends at the same time.
//!
//! What the kernel does by its clock would make the count depend on the load, and is switched off in these namespaces:
//! delayed ACKs, probes, retransmissions. A segment that is sent again all the same is not carried.

mod packet;
mod quiet;
mod tun;

use std::collections::VecDeque;
use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

use packet::{Originals, Segment};
use quiet::Crowd;
use tun::End;

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

/// Longest time that everybody must have slept before the link says that nothing more will come. Programs wait on
/// timers, too, but none of ours waits longer when it has something to send.
const SETTLED: Duration = Duration::from_millis(30);

/// Longest time that somebody may work without a pause.
const BUSY: Duration = Duration::from_secs(60);

/// Longest record of packets.
const EVENTS_MAX: usize = 200_000;

/// When packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So long after they left.
    Delay(Duration),
    /// When everybody waits.
    Lockstep,
}

/// An end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A running link. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    carrier: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Client, then server.
    ends: [End; 2],
    pace: Pace,
    driver: i32,
    /// Time of each end, in half round trips. Only the carrier changes it.
    clocks: [AtomicU64; 2],
    ending: AtomicBool,
    severed: AtomicBool,
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody waits for nothing to happen any more.
    settling: bool,
    events: Vec<Event>,
}

/// A packet that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The time at the end where it arrived.
    pub(crate) time: u64,
    pub(crate) to: Side,
    pub(crate) text: String,
}

/// The calling thread is at one end of the link until this is dropped.
#[derive(Debug)]
pub(crate) struct Inside(File);

impl Drop for Inside {
    fn drop(&mut self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("cannot leave a network namespace");
    }
}

impl Link {
    /// Makes the link. In lockstep the calling thread is the one that does the operations on the mount.
    pub(crate) fn start(pace: Pace) -> Link {
        let [client, server] = ADDRESSES;
        let shared = Arc::new(Shared {
            ends: [End::new(client, server), End::new(server, client)],
            pace,
            driver: nix::unistd::gettid().as_raw(),
            clocks: [AtomicU64::new(0), AtomicU64::new(0)],
            ending: AtomicBool::new(false),
            severed: AtomicBool::new(false),
            state: Mutex::default(),
            settled: Condvar::new(),
        });
        let carrying = Arc::clone(&shared);
        let carrier = std::thread::Builder::new().name("link".into()).spawn(move || match pace {
            Pace::Delay(delay) => carrying.carry_with_delay(delay),
            Pace::Lockstep => carrying.carry_in_lockstep(),
        });
        Link { shared, carrier: Some(carrier.expect("cannot start a thread")) }
    }

    /// The address at the server's end.
    pub(crate) fn server_address(&self) -> Ipv4Addr {
        ADDRESSES[Side::Server as usize]
    }

    /// Processes that the calling thread starts from now on are at that end.
    pub(crate) fn enter(&self, side: Side) -> Inside {
        let before = tun::current();
        self.shared.ends[side as usize].enter();
        Inside(before)
    }

    /// Loses every packet from now on, or none any more; only with a delay.
    pub(crate) fn sever(&self, severed: bool) {
        assert_ne!(self.shared.pace, Pace::Lockstep);
        self.shared.severed.store(severed, Ordering::SeqCst);
    }

    /// Half round trips that have passed at the client's end; only in lockstep.
    pub(crate) fn time(&self) -> u64 {
        self.shared.clocks[Side::Client as usize].load(Ordering::SeqCst)
    }

    /// Waits until nothing happens any more; only in lockstep, and only for the thread that made the link.
    pub(crate) fn settle(&self) {
        assert_eq!(self.shared.pace, Pace::Lockstep);
        let mut state = self.shared.lock();
        state.settling = true;
        while state.settling {
            assert!(!self.shared.ending.load(Ordering::SeqCst), "the link has ended");
            state = self.shared.settled.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// The packets that arrived after `time`.
    pub(crate) fn events_after(&self, time: u64) -> Vec<Event> {
        self.shared.lock().events.iter().filter(|event| event.time > time).cloned().collect()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        let ended = self.carrier.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "the link failed");
        }
    }
}

/// Tells those who wait when the carrier ends by a panic.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ending.store(true, Ordering::SeqCst);
        self.0.settled.notify_all();
    }
}

/// Packets on their way to the other end.
type Held = [VecDeque<(Vec<u8>, Option<Segment>)>; 2];

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for a packet to be sent.
    fn wait(&self, bound: Duration) {
        let mut waiting = self.ends.each_ref().map(|end| PollFd::new(end.device(), PollFlags::POLLIN));
        let bound = PollTimeout::try_from(bound).unwrap_or(PollTimeout::ZERO);
        // An interrupted wait is a short one.
        let _ = poll(&mut waiting, bound);
    }

    fn carry_in_lockstep(&self) {
        let _ending = Ending(self);
        let mut crowd = Crowd::new(self.ends.each_ref().map(End::identity), self.driver);
        let mut originals = [Originals::default(), Originals::default()];
        let mut held: Held = Default::default();
        let mut quiet_since: Option<Instant> = None;
        let mut last_quiet = Instant::now();
        while !self.ending.load(Ordering::SeqCst) {
            let got_some = self.collect(&mut originals, &mut held);
            let holds_some = held.iter().any(|packets| !packets.is_empty());
            if got_some {
                quiet_since = None;
            } else if !holds_some && !self.lock().settling {
                (quiet_since, last_quiet) = (None, Instant::now());
                self.wait(Duration::from_millis(5));
                continue;
            }
            // What was sent before that moment can be read by now.
            if !crowd.slept() || self.collect(&mut originals, &mut held) {
                quiet_since = None;
                assert!(last_quiet.elapsed() < BUSY, "somebody never sleeps: {}", crowd.busy());
                self.wait(Duration::from_millis(1));
                continue;
            }
            last_quiet = Instant::now();
            if holds_some {
                self.deliver(&mut held);
            } else {
                let since = *quiet_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= SETTLED {
                    self.settled_now();
                } else {
                    self.wait(Duration::from_millis(2));
                }
            }
        }
    }

    /// Takes what was sent. Whether there was something.
    fn collect(&self, originals: &mut [Originals; 2], held: &mut Held) -> bool {
        let before: usize = held.iter().map(VecDeque::len).sum();
        for side in 0..2 {
            while let Some(packet) = self.ends[side].receive() {
                // Neither end has anything to say that is not TCP.
                let Some(segment) = Segment::parse(&packet) else { continue };
                if originals[side].is_original(&segment) {
                    held[side].push_back((packet, Some(segment)));
                }
            }
        }
        before < held.iter().map(VecDeque::len).sum()
    }

    /// All that is on its way arrives.
    fn deliver(&self, held: &mut Held) {
        let times = self.clocks.each_ref().map(|clock| clock.load(Ordering::SeqCst));
        for side in [Side::Client, Side::Server] {
            let packets = std::mem::take(&mut held[side as usize]);
            if packets.is_empty() {
                continue;
            }
            let to = if side == Side::Client { Side::Server } else { Side::Client };
            let time = times[to as usize].max(times[side as usize] + 1);
            self.clocks[to as usize].store(time, Ordering::SeqCst);
            let mut state = self.lock();
            for (packet, segment) in &packets {
                if let Some(segment) = segment.as_ref().filter(|_| state.events.len() < EVENTS_MAX) {
                    state.events.push(Event { time, to, text: segment.summary() });
                }
                self.ends[to as usize].deliver(packet);
            }
        }
    }

    fn settled_now(&self) {
        let time = self.clocks.iter().map(|clock| clock.load(Ordering::SeqCst)).max().unwrap_or_default();
        self.clocks.iter().for_each(|clock| clock.store(time, Ordering::SeqCst));
        self.lock().settling = false;
        self.settled.notify_all();
    }

    fn carry_with_delay(&self, delay: Duration) {
        let _ending = Ending(self);
        let mut held: [VecDeque<(Instant, Vec<u8>)>; 2] = Default::default();
        while !self.ending.load(Ordering::SeqCst) {
            let now = Instant::now();
            for (side, held) in held.iter_mut().enumerate() {
                while let Some(packet) = self.ends[side].receive() {
                    held.push_back((now + delay, packet));
                }
                if self.severed.load(Ordering::SeqCst) {
                    held.clear();
                }
                while held.front().is_some_and(|&(due, _)| due <= now) {
                    let arrived = held.pop_front();
                    arrived.iter().for_each(|(_, packet)| self.ends[1 - side].deliver(packet));
                }
            }
            let next = held.iter().filter_map(|packets| packets.front()).map(|&(due, _)| due).min();
            let longest = Duration::from_millis(20);
            self.wait(next.map_or(longest, |due| due.saturating_duration_since(Instant::now()).min(longest)));
        }
    }
}
