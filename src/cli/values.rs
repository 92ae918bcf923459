//! Values of settings as they are typed and shown: levels, durations, name servers, kinds of bounces.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{job::Level, replies::Class, verdict::BounceKind};

/// [`Level`] as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LevelName {
    /// The form of the address and the bundled lists; nothing is sent anywhere.
    Syntax,
    /// And where the domain's mail goes.
    Dns,
    /// And what the mail host says about the mailbox.
    Smtp,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Syntax => Self::Syntax,
            LevelName::Dns => Self::Dns,
            LevelName::Smtp => Self::Smtp,
        }
    }
}

/// A duration as people write it: `30s`, `2h 5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(Duration);

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl Span {
    pub(super) fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// `[bounce]` in the file, `policy=hard,greylisted=soft` on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct BounceKinds(pub(super) BTreeMap<Class, BounceKind>);

impl FromStr for BounceKinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entry = |entry: &str| {
            let (class, kind) = entry
                .split_once('=')
                .ok_or("write `CLASS=KIND`, such as `policy=hard`")?;
            let class = Class::ALL.iter().find(|known| known.name() == class);
            let kind = BounceKind::ALL.into_iter().find(|known| known.name() == kind);
            let class = class.ok_or("no reply class has this name; `presend reasons` lists them")?;
            Ok((*class, kind.ok_or("the kinds are `hard`, `soft`, `pending`, `none`")?))
        };
        let entries: Result<_, &str> = text.split(',').map(entry).collect();
        entries.map(Self).map_err(str::to_owned)
    }
}

/// A name server: `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameServer(pub(super) SocketAddr);

impl FromStr for NameServer {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        text.parse().or_else(|_| bare()).map(Self).map_err(|_| NotAnAddress)
    }
}

/// The text is no IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use an IP address, with a port if it is not 53: `192.0.2.1` or `[2001:db8::1]:5353`")]
pub(super) struct NotAnAddress;

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Serde by the text form.
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(super) use as_text;
as_text!(Span, NameServer);

/// A value that has one text form, in the file too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

impl<T: FromStr> FromStr for Text<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        text.parse().map(Self)
    }
}

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}
