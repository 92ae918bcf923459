//! `[[domain]]`: a name in the DNS, what it has, and how it fails or lies.

use hickory_resolver::proto::rr::RecordType;
use serde::{Deserialize, Deserializer, de};

use super::{Hex, canonical, exchangers, name, one_or_many};

/// A name in the DNS. Without any record it exists and answers NODATA; names that are nowhere in the world are NXDOMAIN.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Domain {
    /// The name; U-labels are converted.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// MX records, `"10 mx1.acme.test"`; without a number the preference is 10. `"0 ."` is the null MX (RFC 7505).
    #[serde(deserialize_with = "exchangers")]
    pub mx: Vec<Mx>,
    /// Addresses, or names of hosts of this world whose address is meant.
    #[serde(deserialize_with = "one_or_many")]
    pub a: Vec<String>,
    /// An alias; answered together with what it points at.
    pub cname: Option<String>,
    /// TXT records.
    #[serde(deserialize_with = "one_or_many")]
    pub txt: Vec<String>,
    /// A PTR record.
    pub ptr: Option<String>,
    /// Every question about this name fails like this.
    pub fail: Option<DnsFault>,
    /// Question types that fail, `"mx"`; empty is all. The same for `raw`, `message` and `forged`.
    #[serde(deserialize_with = "kinds")]
    pub only: Vec<RecordType>,
    /// Bytes in the place of the answer, behind a proper header and question.
    pub raw: Option<Hex>,
    /// How many records the header of a `raw` answer promises.
    pub raw_count: Option<u16>,
    /// Bytes in the place of everything behind the transaction id.
    pub message: Option<Hex>,
    /// Answers that somebody else sends first.
    pub forged: Option<Forged>,
    /// What the second, third and so on question of each type is answered, the last for ever.
    pub then: Vec<Domain>,
    /// Only so many questions fail, the ones after them are answered; 0 means all.
    pub fail_times: u64,
    /// Every name below, that the world does not have, answers the same.
    pub wildcard: bool,
    /// Time to live in seconds; 300 when absent.
    pub ttl: Option<u32>,
}

/// How a question fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsFault {
    /// SERVFAIL.
    Servfail,
    /// REFUSED.
    Refused,
    /// NXDOMAIN, for a name that would exist otherwise.
    Nxdomain,
    /// No answer at all.
    Timeout,
    /// An empty answer with the TC bit, over TCP too.
    Truncate,
    /// The TC bit over UDP only: TCP has the answer.
    TruncateUdp,
    /// SERVFAIL because a signature is wrong (RFC 8914, code 6).
    Bogus,
}

/// Answers from somebody who wants to be believed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Forged {
    /// Each is one answer.
    pub ways: Vec<Forgery>,
    /// The MX records in them.
    #[serde(deserialize_with = "exchangers")]
    pub mx: Vec<Mx>,
    /// The addresses in them, or hosts of this world.
    #[serde(deserialize_with = "one_or_many")]
    pub a: Vec<String>,
}

/// What betrays a forged answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// Another transaction id.
    Id,
    /// Another question.
    Question,
    /// It comes from another port.
    Port,
    /// One byte of nothing.
    Noise,
}

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// Host name without final dot; empty is the root of the null MX.
    pub host: String,
}

impl std::str::FromStr for Mx {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_ascii_whitespace();
        let (preference, host) = match (words.next(), words.next(), words.next()) {
            (Some(host), None, None) => ("10", host),
            (Some(preference), Some(host), None) => (preference, host),
            _ => return Err(bad_mx(text)),
        };
        Ok(Self {
            preference: preference.parse().map_err(|_| bad_mx(text))?,
            host: if host == "." { String::new() } else { canonical(host)? },
        })
    }
}

fn bad_mx(text: &str) -> String {
    format!("`{text}` is no MX record; write `\"10 mx1.acme.test\"`, or `\"0 .\"` for a domain without mail")
}

fn kinds<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<RecordType>, D::Error> {
    let kind = |text: &String| {
        let wrong = || de::Error::custom(format!("`{text}` is no type of records: write \"mx\", \"a\", \"aaaa\""));
        text.to_ascii_uppercase().parse().map_err(|_| wrong())
    };
    one_or_many(input)?.iter().map(kind).collect()
}
