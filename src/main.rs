//! The `presend` program: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// Answers are made by one thread and freed by another; glibc's threads wait for each other's locks there. Measured over glibc: a
// third of the processor time of a list, and a thousand waits in ten thousand addresses, for 7 MB.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    presend::cli::run(std::env::args_os()).into()
}
