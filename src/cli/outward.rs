//! The way out, as it is typed: source addresses, IP versions, a proxy.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, ToSocketAddrs},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::fault::fault;
use crate::net::{IpPreference, Network, Proxy, ProxyUrl, Sources};

/// [`IpPreference`] as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum IpName {
    /// IPv6 first where this machine has a route to it, else last.
    Auto,
    /// IPv4 first.
    #[value(name = "prefer-v4")]
    #[serde(rename = "prefer-v4")]
    PreferV4,
    /// IPv6 first.
    #[value(name = "prefer-v6")]
    #[serde(rename = "prefer-v6")]
    PreferV6,
    /// IPv4 alone.
    #[value(name = "only-v4")]
    #[serde(rename = "only-v4")]
    OnlyV4,
    /// IPv6 alone.
    #[value(name = "only-v6")]
    #[serde(rename = "only-v6")]
    OnlyV6,
}

impl From<IpName> for IpPreference {
    fn from(name: IpName) -> Self {
        match name {
            IpName::Auto => Self::Auto,
            IpName::PreferV4 => Self::PreferV4,
            IpName::PreferV6 => Self::PreferV6,
            IpName::OnlyV4 => Self::OnlyV4,
            IpName::OnlyV6 => Self::OnlyV6,
        }
    }
}

/// A proxy as it was typed. It is read late and by hand, because clap and toml repeat what they refuse, password and all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ProxyText(String);

impl ProxyText {
    /// Without its password.
    pub(super) fn masked(&self) -> String {
        let Some((before, host)) = self.0.rsplit_once('@') else {
            return self.0.clone();
        };
        let (scheme, login) = before.split_once("://").unwrap_or(("socks5", ""));
        let user = login.split(':').next().unwrap_or_default();
        format!("{scheme}://{user}:***@{host}")
    }

    fn find(&self) -> anyhow::Result<Proxy> {
        let url = ProxyUrl::parse(&self.0).map_err(|error| {
            fault(
                format!("`--proxy` cannot be used: {error}"),
                "write `socks5://[USER:PASSWORD@]HOST:PORT`, such as `socks5://127.0.0.1:1080`; `:`, `@` and `/` in a password are \
                 `%3A`, `%40` and `%2F`",
            )
        })?;
        let addresses = url.place().to_socket_addrs().map_err(|error| {
            fault(
                format!("cannot look up the proxy `{}`: {error}", url.place().0),
                "name it by its IP address, or mend the system's DNS",
            )
        })?;
        let addresses = addresses.collect();
        Ok(url.at(addresses))
    }
}

impl fmt::Debug for ProxyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl FromStr for ProxyText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// How this machine gets to mail hosts.
pub(super) fn network(
    sources: Option<Vec<IpAddr>>,
    ip: Option<IpName>,
    proxy: Option<&ProxyText>,
) -> anyhow::Result<Network> {
    let sources = sources.unwrap_or_default();
    if proxy.is_some() && !sources.is_empty() {
        return Err(fault(
            "`--source-ip` and `--proxy` cannot be used together",
            "mail hosts see the proxy's address; choose the source address there",
        ));
    }
    let sources = Sources::new(sources).map_err(|error| {
        fault(
            format!("`--source-ip` cannot be used: {error}"),
            "`ip address` lists this machine's addresses; without `--source-ip` the system chooses",
        )
    })?;
    let network = Network {
        sources,
        preference: ip.map(IpPreference::from).unwrap_or_default(),
        proxy: proxy.map(ProxyText::find).transpose()?,
    };
    network.families().map_err(|error| {
        fault(
            error.to_string(),
            "add one with `--source-ip`, or choose another `--ip`",
        )
    })?;
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (typed, shown) in [
            ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
            ("socks5://me:secret@h:1", "socks5://me:***@h:1"),
            ("socks5://me:se@cr:et@h", "socks5://me:***@h"),
            ("me:secret@h", "socks5://:***@h"),
            ("socks5://me:se/cret@h", "socks5://me:***@h"),
        ] {
            let text = ProxyText(typed.to_owned());
            assert_eq!((text.masked().as_str(), format!("{text:?}").as_str()), (shown, shown));
            if let Err(error) = text.find() {
                let said = format!("{error:?} {error:#}");
                assert!(!said.contains("cret"), "{said}");
            }
        }
    }
}
