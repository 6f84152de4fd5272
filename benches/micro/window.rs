//! The window that a stream fetches ahead of its reader: a file of 1 GiB, read as the kernel asks for it.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ftpfs::cache::Prefetch;
use ftpfs::read::window::Window;

const FILE: u64 = 1 << 30;
const LARGEST: u64 = 8 << 20;
const READ: u64 = 128 * 1024;
const READS: u64 = FILE / READ;

/// From start to end.
#[divan::bench]
fn sequential(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(READS)).bench(|| {
        let mut window = Window::new(0, LARGEST, Prefetch::Auto);
        let mut want = 0;
        for at in (0..FILE).step_by(READ as usize) {
            want = window.read(black_box(at), at + READ, FILE);
        }
        assert_eq!(want, FILE);
    });
}

/// A stream for each read of 4 KiB, anywhere.
#[divan::bench]
fn random(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(READS)).bench(|| {
        for read in 0..READS {
            // An odd factor: every page is as likely as any other.
            let at = read.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (FILE / 4096) * 4096;
            let want = Window::new(black_box(at), LARGEST, Prefetch::Auto).read(at, at + 4096, FILE);
            assert!(want > at);
        }
    });
}
