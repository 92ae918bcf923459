//! Words to the service manager (sd_notify(3)): that the server is ready, reads its configuration again, or stops.

/// Tells the service manager; nothing where there is none.
#[cfg(target_os = "linux")]
pub(super) fn tell(state: &str) {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    };
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = place.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&place),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Service managers elsewhere look for themselves.
#[cfg(not(target_os = "linux"))]
pub(super) fn tell(_state: &str) {}

/// The words for the start of a reload: the manager wants to know since when (Type=notify-reload).
pub(super) fn reloading() -> String {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            now.tv_sec * 1_000_000 + now.tv_nsec / 1000
        )
    }
    #[cfg(not(target_os = "linux"))]
    "RELOADING=1".to_owned()
}
