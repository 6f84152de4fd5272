//! Micro-benchmarks of what runs for every entry, block and read, without a network: `cargo bench --bench micro`.
//!
//! `cargo bench --bench micro -- listings` runs one group. Without `--bench` (`cargo test --benches`) each runs once.

mod caches;
mod listings;
mod window;

fn main() {
    divan::main();
}
