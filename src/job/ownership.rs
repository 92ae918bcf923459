//! Proof that a domain is the operator's own, which lifts the abuse guard there: a TXT record that only who runs the zone can
//! publish, with a token that only this installation knows.
//!
//! As with ACME's dns-01 (RFC 8555 section 8.4), the record is at a name of its own, and its value is bound to whoever asks:
//! another installation finds it and has no use for it. Must not keep secrets: the token comes from the caller.

use std::time::Duration;

use super::Settings;
use crate::{
    dns::{DnsFailure, Found, HickoryResolver, Records, ResolverOptions},
    job::StartError,
};

/// In front of the token in the record.
const KEY: &str = "presend-owner=";
/// The whole proof may take so long; a run does not begin before it.
const WITHIN: Duration = Duration::from_secs(30);

/// A domain that is claimed, and what its zone must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The domain, as A-labels.
    pub domain: Box<str>,
    /// The token.
    pub token: Box<str>,
}

/// The zone does not say so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`--i-own {domain}` is not proven: {why}; publish `{publish}`, or leave the option out")]
pub struct NotOwned {
    /// The domain.
    pub domain: Box<str>,
    /// What was found instead.
    pub why: String,
    /// The line for the zone file.
    pub publish: String,
}

impl Ownership {
    /// Where the record is.
    #[must_use]
    pub fn name(&self) -> String {
        format!("_presend.{}", self.domain)
    }

    /// The text of the record.
    #[must_use]
    pub fn value(&self) -> String {
        format!("{KEY}{}", self.token)
    }

    /// The line for the zone file.
    #[must_use]
    pub fn record(&self) -> String {
        format!("{}. IN TXT \"{}\"", self.name(), self.value())
    }

    /// Whether records found at [`Self::name`] are the proof, and if not, why.
    fn judge(&self, found: Result<Found<Box<str>>, DnsFailure>) -> Result<(), String> {
        match found {
            Ok(Found::Records(texts)) => {
                let wanted = self.value();
                if texts.iter().any(|text| text.trim() == wanted) {
                    Ok(())
                } else if texts.iter().any(|text| text.trim().starts_with(KEY)) {
                    Err(format!(
                        "the TXT record at `{}` holds another installation's token",
                        self.name()
                    ))
                } else {
                    Err(format!("no TXT record at `{}` begins with `{KEY}`", self.name()))
                }
            }
            Ok(Found::None | Found::NoSuchDomain) => Err(format!("there is no TXT record at `{}`", self.name())),
            Err(failure) => Err(format!("`{}` cannot be looked up: {failure}", self.name())),
        }
    }

    async fn prove(&self, records: &dyn Records) -> Result<(), NotOwned> {
        let found = tokio::time::timeout(WITHIN, records.text(&self.name())).await;
        let found = found.unwrap_or(Err(DnsFailure::Timeout));
        self.judge(found).map_err(|why| NotOwned {
            domain: self.domain.clone(),
            why,
            publish: self.record(),
        })
    }
}

/// Proves every claim of the settings; asks nobody when there is none.
pub(super) async fn prove(settings: &Settings) -> Result<(), StartError> {
    if settings.owned.is_empty() {
        return Ok(());
    }
    let records = HickoryResolver::of(&settings.nameservers, ResolverOptions::default())?;
    for claim in &settings.owned {
        claim.prove(&records).await.map_err(Box::new)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_only_the_own_token_proves_anything() {
        let claim = Ownership {
            domain: "acme.com".into(),
            token: "abc123".into(),
        };
        assert_eq!(claim.record(), "_presend.acme.com. IN TXT \"presend-owner=abc123\"");
        let records = |texts: &[&str]| Ok(Found::Records(texts.iter().map(|text| Box::from(*text)).collect()));
        for (found, why) in [
            (records(&["presend-owner=abc123"]), None),
            (records(&["v=spf1 -all", " presend-owner=abc123 "]), None),
            (records(&["presend-owner=abc1234"]), Some("another installation's")),
            (records(&["presend-owner=ABC123"]), Some("another installation's")),
            (records(&["abc123"]), Some("begins with")),
            (Ok(Found::None), Some("no TXT record")),
            (Ok(Found::NoSuchDomain), Some("no TXT record")),
            (Err(DnsFailure::ServFail), Some("SERVFAIL")),
        ] {
            let judged = claim.judge(found.clone());
            match why {
                None => assert_eq!(judged, Ok(()), "{found:?}"),
                Some(why) => assert!(judged.clone().unwrap_err().contains(why), "{judged:?}"),
            }
        }
    }
}
