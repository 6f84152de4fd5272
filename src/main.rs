//! The `ftpfs` program; everything it does is in the library.

fn main() -> std::process::ExitCode {
    ftpfs::cli::run()
}
