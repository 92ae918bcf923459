//! Records that say who a machine is: TXT and PTR. No mail is routed by them, so they are a trait of their own.

use std::net::IpAddr;

use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{
    DnsFailure, Resolve,
    resolver::{HickoryResolver, Reply, host_text},
};
use crate::net::BoxFuture;

/// Records kept of one answer; more say nothing more.
const RECORD_LIMIT: usize = 100;

/// What the zone says about records of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// At least one record, at most 100.
    Records(Vec<T>),
    /// The name exists and has none (NODATA).
    None,
    /// The name does not exist (NXDOMAIN).
    NoSuchDomain,
}

/// Answers questions about the sender's own names.
pub trait Records: Resolve {
    /// The TXT records of `name`, the strings of each joined without a space (RFC 7208 section 3.3); what is not UTF-8 is
    /// replaced.
    fn text<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found<Box<str>>, DnsFailure>>;
    /// The PTR names of `address`, lower-case, no trailing dot.
    fn pointers(&self, address: IpAddr) -> BoxFuture<'_, Result<Found<Box<str>>, DnsFailure>>;
}

impl Records for HickoryResolver {
    fn text<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found<Box<str>>, DnsFailure>> {
        Box::pin(async move {
            let reply = self.ask(name, RecordType::TXT).await?;
            select(&reply, |data| {
                let RData::TXT(text) = data else { return None };
                Some(String::from_utf8_lossy(&text.txt_data.concat()).into())
            })
        })
    }

    fn pointers(&self, address: IpAddr) -> BoxFuture<'_, Result<Found<Box<str>>, DnsFailure>> {
        Box::pin(async move {
            let name = Name::from(address).to_ascii();
            let reply = self.ask(&name, RecordType::PTR).await?;
            select(&reply, |data| {
                let RData::PTR(pointer) = data else { return None };
                Some(host_text(pointer))
            })
        })
    }
}

fn select(reply: &Reply, pick: impl Fn(&RData) -> Option<Box<str>>) -> Result<Found<Box<str>>, DnsFailure> {
    let lookup = match reply {
        Reply::Records(lookup) => lookup,
        Reply::Nothing { .. } => return Ok(Found::None),
        Reply::NoSuchName { .. } => return Ok(Found::NoSuchDomain),
    };
    let records: Vec<_> = lookup
        .iter()
        .filter_map(|record| pick(&record.data))
        .take(RECORD_LIMIT)
        .collect();
    if records.is_empty() {
        return Err(DnsFailure::Malformed);
    }
    Ok(Found::Records(records))
}
