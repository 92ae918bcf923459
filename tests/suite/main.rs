//! The one integration test binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::allow_attributes,
    missing_docs,
    reason = "a test that meets the unexpected must stop"
)]

mod address;
mod bounces;
mod budget;
mod cli;
mod crash;
mod dns;
mod doctor;
mod fake;
mod fuzz;
mod hostile;
mod house;
mod input;
mod job;
mod lab;
mod lists;
mod nine_faults;
mod output;
mod pipeline;
mod real_servers;
mod replies;
mod schedule;
mod serve;
mod session;
mod socks;
mod store;
mod suppress;
mod syn;
mod watch;
