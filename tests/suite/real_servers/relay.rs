//! Stands between presend and the real servers, passes every byte on, and watches.
#![allow(clippy::disallowed_methods, reason = "the relay is not presend")]

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use presend::{
    lab::{Allowance, Monitor, Violations, complaints},
    schedule::Limits,
};

use super::servers::ADDRESSES;
use crate::fake::allowance;

/// A relay in front of every mail host, on one port. What a verifier must never do fails the test when it is dropped.
pub(super) struct Relay {
    pub(super) port: u16,
    allowance: Option<Allowance>,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    open: usize,
    connections: usize,
    by_host: BTreeMap<Ipv4Addr, Host>,
}

#[derive(Default)]
struct Host {
    violations: Violations,
    refused_most: u64,
    refused_at_us: Vec<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// In front of the servers on `to`. Hosts that trust the client allow any number of refusals.
    pub(super) fn start(to: u16, trusted: bool) -> Self {
        let (port, listeners) = listen();
        let log = Arc::new(Mutex::new(Log::default()));
        let start = Instant::now();
        for (address, listener) in ADDRESSES.into_iter().zip(listeners) {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let Ok(server) = TcpStream::connect(SocketAddr::from((address, to))) else {
                        continue;
                    };
                    let mut noted = lock(&log);
                    noted.open += 1;
                    noted.connections += 1;
                    drop(noted);
                    let log = Arc::clone(&log);
                    thread::spawn(move || relay(client, server, (address, start), &log));
                }
            });
        }
        Self {
            port,
            allowance: (!trusted).then(|| allowance(&Limits::POLITE)),
            log,
        }
    }
}

/// One port that is free at every address.
fn listen() -> (u16, Vec<TcpListener>) {
    loop {
        let mut port = 0;
        let mut listeners = Vec::new();
        for address in ADDRESSES {
            let Ok(listener) = TcpListener::bind(SocketAddr::from((address, port))) else {
                break;
            };
            port = listener.local_addr().expect("an address").port();
            listeners.push(listener);
        }
        if listeners.len() == ADDRESSES.len() {
            return (port, listeners);
        }
    }
}

fn relay(client: TcpStream, server: TcpStream, (address, start): (Ipv4Addr, Instant), log: &Mutex<Log>) {
    let monitor = Arc::new(Mutex::new(Monitor::new()));
    let back = {
        let (from, to) = (
            server.try_clone().expect("a socket"),
            client.try_clone().expect("a socket"),
        );
        let monitor = Arc::clone(&monitor);
        thread::spawn(move || {
            let mut refused = Vec::new();
            let _ = pass(from, to, |bytes| {
                let mut monitor = lock(&monitor);
                monitor.said(bytes);
                let at = u64::try_from(start.elapsed().as_micros()).expect("a short test");
                refused.resize(monitor.refused() as usize, at);
            });
            refused
        })
    };
    let _ = pass(client, server, |bytes| lock(&monitor).heard(bytes));
    let refused: Vec<u64> = back.join().expect("the way back");
    let mut log = lock(log);
    let host = log.by_host.entry(address).or_default();
    host.violations.add(lock(&monitor).take());
    host.refused_most = host.refused_most.max(refused.len() as u64);
    host.refused_at_us.extend(refused);
    host.refused_at_us.sort_unstable();
    log.open -= 1;
}

/// Passes on what was looked at.
fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    let passed = loop {
        match from.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                look(&buffer[..count]);
                if let Err(error) = to.write_all(&buffer[..count]) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    let _ = to.shutdown(Shutdown::Write);
    passed
}

impl Drop for Relay {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let until = Instant::now() + Duration::from_secs(10);
        while lock(&self.log).open > 0 {
            assert!(Instant::now() < until, "a session never ended");
            thread::sleep(Duration::from_millis(10));
        }
        let log = lock(&self.log);
        assert!(log.connections > 0, "presend went past the relay");
        for (address, host) in &log.by_host {
            let found = complaints(host.violations, host.refused_most, &host.refused_at_us, self.allowance);
            assert!(found.is_empty(), "{address}: {found:?}");
        }
    }
}
