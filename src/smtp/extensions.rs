//! What a host offers in its EHLO reply.

use std::num::NonZeroU32;

use super::Reply;

/// Most lines of an EHLO reply that are looked at; a host with more is not serious (HOSTILE T2).
pub const MAX_EHLO_LINES: usize = 100;

/// The offers presend uses. Keywords are matched whatever their case (RFC 5321 section 2.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// LIMITS RCPTMAX (RFC 9422): recipients in one transaction.
    pub rcpt_max: Option<NonZeroU32>,
    /// LIMITS MAILMAX (RFC 9422): transactions in one session.
    pub mail_max: Option<NonZeroU32>,
    /// LIMITS RCPTDOMAINMAX (RFC 9422): recipient domains in one session.
    pub rcpt_domain_max: Option<NonZeroU32>,
}

impl Extensions {
    /// Reads an EHLO reply; the first line is the host's name.
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines().iter().skip(1).take(MAX_EHLO_LINES) {
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            if keyword.eq_ignore_ascii_case("PIPELINING") {
                offers.pipelining = true;
            } else if keyword.eq_ignore_ascii_case("STARTTLS") {
                offers.starttls = true;
            } else if keyword.eq_ignore_ascii_case("SMTPUTF8") {
                offers.smtputf8 = true;
            } else if keyword.eq_ignore_ascii_case("LIMITS") {
                words
                    .filter_map(|word| word.split_once('='))
                    .for_each(|(name, value)| offers.limit(name, value));
            }
        }
        offers
    }

    fn limit(&mut self, name: &str, value: &str) {
        let Ok(value) = value.parse() else { return };
        if name.eq_ignore_ascii_case("RCPTMAX") {
            self.rcpt_max = Some(value);
        } else if name.eq_ignore_ascii_case("MAILMAX") {
            self.mail_max = Some(value);
        } else if name.eq_ignore_ascii_case("RCPTDOMAINMAX") {
            self.rcpt_domain_max = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_in_any_case_and_limits() {
        let reply = Reply::parse(
            "250-mx.example\n250-pipelining\n250-Starttls\n250-SIZE 100\n250-LIMITS RCPTMAX=20 MAILMAX=x\n250 SMTPUTF8",
        );
        let offers = Extensions::parse(&reply.unwrap());
        assert!(offers.pipelining && offers.starttls && offers.smtputf8);
        assert_eq!(offers.rcpt_max, NonZeroU32::new(20));
        assert_eq!((offers.mail_max, offers.rcpt_domain_max), (None, None));
        let reply = Reply::parse("250-mx\n250 limits MAILMAX=5 RCPTMAX=0 rcptdomainmax=1 OTHER=7 RCPTMAX").unwrap();
        let offers = Extensions::parse(&reply);
        assert_eq!(offers.mail_max, NonZeroU32::new(5));
        assert_eq!((offers.rcpt_max, offers.rcpt_domain_max), (None, NonZeroU32::new(1)));
    }

    #[test]
    fn t2_no_more_than_a_hundred_lines_are_looked_at() {
        let offers = |before: usize| {
            let mut lines: Vec<Box<str>> = vec!["mx.example".into()];
            lines.extend(std::iter::repeat_n("X-OTHER".into(), before));
            lines.push("PIPELINING".into());
            let code = super::super::ReplyCode::new(250).unwrap();
            Extensions::parse(&Reply::new(code, lines)).pipelining
        };
        assert!(offers(MAX_EHLO_LINES - 1));
        assert!(!offers(MAX_EHLO_LINES));
    }

    #[test]
    fn the_host_name_is_not_a_keyword() {
        let reply = Reply::parse("250 PIPELINING").unwrap();
        assert_eq!(Extensions::parse(&reply), Extensions::default());
    }
}
