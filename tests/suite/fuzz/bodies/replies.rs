//! Replies of mail hosts: framing, offers, classification, and the rules an operator may bring.

use presend::{
    replies::{Classifier, Rules, RulesError, classify, fingerprint},
    smtp::{Extensions, MAX_LINE, MAX_LINES, MAX_REPLY, MalformedReply, Reply, ReplyReader, Stage},
};

use super::sinks;

const PROVIDERS: [Option<&str>; 4] = [None, Some("google"), Some("yandex"), Some("netease")];

/// However the bytes are cut, the replies are the same, bounded and printable; only a 5yz at RCPT is a death.
pub(super) fn body(bytes: &[u8]) -> bool {
    let (whole, error) = read(bytes, bytes.len().max(1));
    let step = bytes.first().map_or(1, |first| usize::from(first % 7) + 1);
    assert_eq!(read(bytes, step), (whole.clone(), error), "in steps of {step}");
    let kept: usize = whole.iter().flat_map(Reply::lines).map(|line| line.len()).sum();
    // A byte that is not UTF-8 becomes one character of three.
    assert!(kept <= 3 * bytes.len(), "{kept} bytes of {}", bytes.len());
    for reply in &whole {
        bounded(reply);
        assert_eq!(fingerprint(reply), fingerprint(&reply.clone()));
        for provider in PROVIDERS {
            judged(Classifier::built_in(), reply, provider);
        }
    }
    if let Some(reply) = whole.first() {
        assert_eq!(
            classify(Stage::Rcpt, reply, None),
            Classifier::built_in().classify(Stage::Rcpt, reply, None)
        );
        sinks::answered(reply);
    }
    pasted(&String::from_utf8_lossy(bytes));
    !whole.is_empty()
}

fn bounded(reply: &Reply) {
    assert!((1..=MAX_LINES).contains(&reply.lines().len()));
    let size: usize = reply.lines().iter().map(|line| line.len()).sum();
    assert!(size <= 3 * MAX_REPLY, "{size}");
    for line in reply.lines() {
        assert!(
            line.len() <= 3 * MAX_LINE && !line.contains(char::is_control),
            "{line:?}"
        );
    }
    assert!((200..=599).contains(&reply.code().number()));
    let agrees = |enhanced: u8| u16::from(enhanced) == reply.code().number() / 100;
    assert!(
        reply.enhanced().is_none_or(|enhanced| agrees(enhanced.class)),
        "{reply:?}"
    );
}

/// A meaning never says more than its stage and code allow.
fn judged(classifier: &Classifier, reply: &Reply, provider: Option<&str>) {
    for stage in Stage::ALL {
        let meaning = classifier.classify(stage, reply, provider);
        let may_be_dead = stage == Stage::Rcpt && reply.code().is_permanent();
        assert!(may_be_dead || meaning.dead_recipient().is_none(), "{stage:?} {reply:?}");
        assert!(!meaning.rule.is_empty());
    }
}

/// What people paste is read by the same rules, or not at all.
fn pasted(text: &str) {
    let Some(reply) = Reply::parse(text) else {
        assert!(Reply::parse_whole(text).is_none(), "{text:?}");
        return;
    };
    assert!(reply.lines().len() <= text.lines().count());
    assert!(!reply.text().contains(char::is_control));
    if let Some(whole) = Reply::parse_whole(text) {
        assert_eq!(whole, reply);
    }
}

/// Reads all replies, `step` bytes at a time.
fn read(bytes: &[u8], step: usize) -> (Vec<Reply>, Option<MalformedReply>) {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    for part in bytes.chunks(step) {
        reader.buffer().extend_from_slice(part);
        assert!(reader.buffer().len() <= MAX_LINE + 2 + step, "kept without need");
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

/// An offer was made in so many words; the first line is only a name.
pub(super) fn ehlo(bytes: &[u8]) -> bool {
    let (wire, _) = read(bytes, 3);
    let pasted = Reply::parse(&String::from_utf8_lossy(bytes));
    let mut taken = false;
    for reply in wire.iter().chain(&pasted) {
        let offers = Extensions::parse(reply);
        let said = |word: &str| {
            let mut lines = reply.lines().iter().skip(1);
            lines.any(|line| line.to_ascii_uppercase().contains(word))
        };
        assert!(!offers.pipelining || said("PIPELINING"));
        assert!(!offers.starttls || said("STARTTLS"));
        assert!(!offers.smtputf8 || said("SMTPUTF8"));
        for (limit, name) in [
            (offers.rcpt_max, "RCPTMAX="),
            (offers.mail_max, "MAILMAX="),
            (offers.rcpt_domain_max, "RCPTDOMAINMAX="),
        ] {
            assert!(limit.is_none_or(|_| said("LIMITS") && said(name)), "{reply:?}");
        }
        taken |= offers != Extensions::default();
    }
    taken
}

/// Replies that rules of an operator are tried on.
const SAMPLES: [&str; 6] = [
    "250 2.1.5 Ok",
    "451 4.7.1 Greylisted, try again later",
    "550 5.1.1 <x@example.com>: Recipient address rejected: User unknown",
    "550 5.7.1 Service unavailable, client host blocked using zen.spamhaus.org",
    "552 5.2.2 mailbox full",
    "554 no",
];

/// Rules are refused at a line of their file, or obey the same gate as ours.
pub(super) fn rules(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let refused = |error: RulesError| {
        let RulesError::Invalid(problems) = error else {
            panic!("nothing was read from a disk: {error}")
        };
        assert!(!problems.is_empty() && problems.len() <= text.len() + 1);
        for problem in problems {
            let lines = text.lines().count().max(1) + 1;
            assert!((1..=lines).contains(&problem.line), "{problem} of {lines} lines");
            assert!(problem.message.len() <= 8 * text.len() + 1_000, "{problem}");
        }
    };
    let rules = match Rules::parse(&text, "mine.toml") {
        Ok(rules) => rules,
        Err(error) => {
            refused(error);
            return false;
        }
    };
    match Classifier::with_rules(&rules) {
        Ok(classifier) => {
            for sample in SAMPLES {
                let reply = Reply::parse(sample).expect("a reply");
                for provider in PROVIDERS {
                    judged(&classifier, &reply, provider);
                }
            }
            true
        }
        Err(error) => {
            refused(error);
            false
        }
    }
}
