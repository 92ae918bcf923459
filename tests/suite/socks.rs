//! A small SOCKS5 proxy (RFC 1928, RFC 1929) that does what a test wants, on threads of its own.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Connects.
    Good,
    /// Connects who knows the words.
    Login(&'static str, &'static str),
    /// Answers every request with this code and connects nobody.
    Reply(u8),
    /// Connects, and says everything byte by byte.
    Trickle,
    /// Takes the connection and says nothing.
    Silent,
    /// Agrees on a method and never answers the request.
    SilentAtRequest,
    /// Says something else.
    Garbage(&'static [u8]),
    /// Closes at once.
    Close,
}

/// What the proxy was asked to connect to; `None` for anything but an IP address.
type Requests = Arc<Mutex<Vec<Option<SocketAddr>>>>;

/// A running proxy; it ends with the test's process.
pub(crate) struct Socks {
    pub(crate) address: SocketAddr,
    requests: Requests,
}

impl Socks {
    pub(crate) fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Requests::default();
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                thread::spawn(move || serve(client, mode, &log));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("socks5://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Option<SocketAddr>> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, mode: Mode, log: &Requests) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    match mode {
        Mode::Close => return Ok(()),
        Mode::Garbage(bytes) => {
            client.write_all(bytes)?;
            return drain(&mut client);
        }
        Mode::Silent => return drain(&mut client),
        Mode::Good | Mode::Login(..) | Mode::Reply(_) | Mode::Trickle | Mode::SilentAtRequest => {}
    }
    let [version, count] = read(&mut client)?;
    let mut methods = vec![0; count.into()];
    client.read_exact(&mut methods)?;
    assert_eq!(version, 5);
    if let Mode::Login(user, password) = mode {
        if !methods.contains(&2) {
            client.write_all(&[5, 0xff])?;
            return drain(&mut client);
        }
        client.write_all(&[5, 2])?;
        let [one] = read(&mut client)?;
        let given = (word(&mut client)?, word(&mut client)?);
        let right = one == 1 && given == (user.into(), password.into());
        client.write_all(&[1, u8::from(!right)])?;
        if !right {
            return drain(&mut client);
        }
    } else {
        say(&mut client, mode, &[5, 0])?;
    }
    let [_, command, _, kind] = read(&mut client)?;
    assert_eq!(command, 1, "CONNECT");
    let target = match kind {
        1 => Some(IpAddr::from(read::<4>(&mut client)?)),
        4 => Some(IpAddr::from(read::<16>(&mut client)?)),
        _ => {
            word(&mut client)?;
            None
        }
    };
    let port = u16::from_be_bytes(read(&mut client)?);
    let target = target.map(|ip| SocketAddr::new(ip, port));
    log.lock().unwrap().push(target);
    match (mode, target) {
        (Mode::SilentAtRequest, _) => drain(&mut client),
        (Mode::Reply(code), _) => {
            client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])?;
            drain(&mut client)
        }
        (_, None) => client.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]),
        (_, Some(target)) => {
            let Ok(mut host) = TcpStream::connect(target) else {
                return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
            };
            // Some proxies name themselves here.
            say(&mut client, mode, b"\x05\0\0\x03\x05proxy\0\0")?;
            let (mut from, mut to) = (client.try_clone()?, host.try_clone()?);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let copied = io::copy(&mut host, &mut client);
            let _ = client.shutdown(Shutdown::Both);
            copied.map(|_| ())
        }
    }
}

fn say(client: &mut TcpStream, mode: Mode, bytes: &[u8]) -> io::Result<()> {
    if mode == Mode::Trickle {
        // Without Nagle every byte is a segment of its own.
        return bytes.iter().try_for_each(|byte| {
            thread::yield_now();
            client.write_all(&[*byte])
        });
    }
    client.write_all(bytes)
}

fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn word(client: &mut TcpStream) -> io::Result<String> {
    let [length] = read(client)?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn drain(client: &mut TcpStream) -> io::Result<()> {
    io::copy(client, &mut io::sink()).map(|_| ())
}
