//! What an operator types behind a flag.

use presend::{dns::NameServers, net::ProxyUrl, output::Only, smtp::Stage};

/// Name servers are refused, or are at least one and read back the same; a proxy's password is never shown.
pub(super) fn body(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let stage = text.parse::<Stage>().is_ok_and(|stage| stage.name() == text);
    let only = text.parse::<Only>().is_ok_and(|only| only.to_string() == text);
    if let Ok(servers) = text.parse::<NameServers>() {
        let written: Vec<String> = servers.addresses().iter().map(ToString::to_string).collect();
        assert!(!written.is_empty());
        assert_eq!(written.join(",").parse(), Ok(servers));
        return true;
    }
    match ProxyUrl::parse(&text) {
        Ok(url) => {
            let (host, port) = url.place();
            let again = if host.contains(':') {
                format!("socks5://[{host}]:{port}")
            } else {
                format!("socks5://{host}:{port}")
            };
            let again = ProxyUrl::parse(&again).expect("its place");
            assert_eq!(again.place(), (host, port));
            let shown = format!("{url:?}");
            assert!(host.contains("s3cret") || !shown.contains("s3cret"), "{shown}");
            true
        }
        Err(error) => {
            assert!(!error.to_string().contains("s3cret"));
            stage || only
        }
    }
}
