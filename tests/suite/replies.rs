//! The classifier against labelled replies, its traps, and what no reply may ever do.

mod accuracy;
pub(crate) mod corpus;
mod others;

use std::time::{Duration, Instant};

use presend::{
    replies::{
        About, Class, Classifier, DeadKind, Existence, Persistence, RetryHint, Rules, check, classify, fingerprint,
        providers,
    },
    smtp::{Reply, ReplyCode, Stage},
};
use proptest::prelude::*;

const STAGES: [Stage; 9] = [
    Stage::Connect,
    Stage::Greeting,
    Stage::Ehlo,
    Stage::StartTls,
    Stage::Mail,
    Stage::Rcpt,
    Stage::Rset,
    Stage::Quit,
    Stage::Data,
];

fn reply(text: &str) -> Reply {
    Reply::parse(text).unwrap()
}

fn class_at_rcpt(text: &str, provider: Option<&str>) -> Class {
    classify(Stage::Rcpt, &reply(text), provider).class
}

/// One test for each trap of the corpus: name, provider, reply, class.
macro_rules! traps {
    ($($name:ident: $provider:literal $text:literal => $class:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let text = corpus::with_code($text, "", "");
                assert_eq!(class_at_rcpt(&text, Some($provider)), Class::$class, "{}", $text);
            }
        )*

        const TRAPS: &[(&str, &str)] = &[$(($provider, $text),)*];
    };
}

traps! {
    trap_rambler_540_is_about_the_address: "rambler" "540 5.7.1 <user@rambler.ru>: recipient address rejected: Blocked" => UserDisabled;
    trap_yandex_policy_is_about_the_address: "yandex" "550 5.7.1 Policy rejection on the target address" => UserDisabled;
    trap_yandex_policy_without_code: "yandex" "Policy rejection on the target address" => UserDisabled;
    trap_yandex_5_7_1_is_about_the_address: "yandex" "550 5.7.1 No such user!" => UserUnknown;
    trap_gmx_first_line_alone: "gmx" "550 Requested action not taken: mailbox unavailable" => UserUnknown;
    trap_gmx_last_line_decides: "gmx" "550 Requested action not taken: mailbox unavailable Reject due to policy restrictions." => Policy;
    trap_qq_unavailable_is_a_throttle: "qq" "550 Mailbox unavailable or access denied" => RecipientThrottled;
    trap_qq_ip_frequency: "qq" "550 Ip frequency limited" => RateLimited;
    trap_qq_connection_frequency: "qq" "550 Connection frequency limited" => TooManyConnections;
    trap_proofpoint_5_7_1_is_about_the_address: "proofpoint" "550 5.7.1 <user@example.com>: Recipient address rejected: User email address is marked as invalid." => UserUnknown;
    trap_zoho_5_1_1_with_policy: "zoho" "552 5.1.1 <user@zoho.com> Mailbox delivery failure policy error" => AmbiguousDenied;
    trap_zerospam_5_7_1_is_about_the_address: "zerospam" "554 5.7.1 <user@example.com>: Recipient address rejected: Not in recipient list" => UserUnknown;
    trap_titan_hourly_quota: "titan" "550 5.4.6 <user@example.com>: Recipient address rejected: Mailbox Does Not Exist : Domains Hourly Quota Exceeded;" => RecipientThrottled;
    trap_titan_daily_quota: "titan" "550 5.4.6 <user@example.com>: Recipient address rejected: Mailbox Does Not Exist : Domains Daily Quota Exceeded;" => RecipientThrottled;
    trap_exchange_5_1_10_is_an_unknown_user: "exchangeonline" "5.1.10 Recipient not found" => UserUnknown;
    trap_exchange_5_2_2_of_the_sender: "exchangeonline" "5.2.2 Submission quota exceeded" => RateLimited;
    trap_exchange_5_1_0_of_the_sender: "exchange-server" "5.1.0 Sender denied" => SenderRejected;
    trap_exchange_5_1_6_single_label: "exchange-server" "5.1.6 Recipient addresses in single label domains not accepted" => BadAddressSyntax;
    trap_exchange_5_1_7_of_the_sender: "exchange-server" "5.1.7 Invalid address" => SenderRejected;
    trap_exchange_5_2_1_of_the_content: "exchange-server" "5.2.1 Content Filter agent quarantined this message" => SpamContent;
    trap_postfix_5_7_1_is_about_the_address: "postfix-hoster" "554 5.7.1 Recipient address rejected: User unknown" => UserUnknown;
    trap_proton_550_for_a_bad_ehlo: "proton" "550 5.5.1 Protocol error" => SenderDns;
}

#[test]
fn every_trap_of_the_corpus_is_a_named_test() {
    let rows = corpus::providers();
    let traps: Vec<_> = rows.iter().filter(|row| row.note.contains("TRAP")).collect();
    assert_eq!(traps.len(), TRAPS.len());
    for row in traps {
        assert!(TRAPS.contains(&(row.provider, row.text)), "{}", row.text);
    }
}

#[test]
fn a_policy_refusal_with_5_7_1_is_not_invalid() {
    for text in [
        "550 5.7.1 refused",
        "550 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using Spamhaus",
    ] {
        let meaning = classify(Stage::Rcpt, &reply(text), None);
        assert_eq!(meaning.about, About::Sender, "{text}");
        assert_eq!(meaning.dead_recipient(), None, "{text}");
    }
}

#[test]
fn an_enhanced_code_is_never_read_as_a_reply_code() {
    for text in [
        "250 5.1.1 fine",
        "450 5.1.1 wait",
        "450 User 550 5.1.1 unknown",
        "421 4.7.0 550 No such user here",
    ] {
        assert_eq!(
            classify(Stage::Rcpt, &reply(text), None).dead_recipient(),
            None,
            "{text}"
        );
    }
    assert_eq!(class_at_rcpt("250 5.1.1 User unknown", None), Class::Accepted);
}

#[test]
fn greylisting_carries_the_wait_that_it_asks_for() {
    let meaning = classify(Stage::Rcpt, &reply("451 4.7.1 Greylisted for 5 minutes"), None);
    assert_eq!(meaning.class, Class::Greylisted);
    assert_eq!(meaning.retry_after, Some(RetryHint::After(Duration::from_mins(5))));
    assert_eq!(meaning.persistence, Persistence::Transient);
}

#[test]
fn kinds_of_dead_recipients() {
    for (text, kind) in [
        ("550 5.1.1 User unknown", DeadKind::Unknown),
        (
            "550 5.2.1 The email account that you tried to reach is disabled.",
            DeadKind::Disabled,
        ),
        ("551 5.1.6 User has moved", DeadKind::Moved),
        ("553 5.1.3 Bad recipient address syntax", DeadKind::BadSyntax),
        ("556 5.1.10 Domain does not accept mail", DeadKind::DomainNoMail),
    ] {
        let meaning = classify(Stage::Rcpt, &reply(text), None);
        assert_eq!(
            meaning.dead_recipient().map(presend::replies::DeadRecipient::kind),
            Some(kind),
            "{text}"
        );
        for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Rcpt) {
            assert_eq!(
                classify(stage, &reply(text), None).dead_recipient(),
                None,
                "{stage:?} {text}"
            );
        }
    }
}

#[test]
fn the_words_of_many_servers_for_an_unknown_mailbox() {
    for text in include_str!("../corpora/replies-unknown.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let meaning = classify(Stage::Rcpt, &reply(text), None);
        assert_eq!(meaning.class, Class::UserUnknown, "{text}: {}", meaning.rule);
        assert!(meaning.dead_recipient().is_some(), "{text}");
    }
}

#[test]
fn replies_that_say_nothing_for_sure() {
    for text in include_str!("../corpora/replies-undecided.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let meaning = classify(Stage::Rcpt, &reply(text), None);
        assert_eq!(meaning.dead_recipient(), None, "{text}: {}", meaning.rule);
    }
}

#[test]
fn acceptances() {
    for (text, class) in [
        ("250 OK", Class::Accepted),
        ("251 User not local; will forward", Class::Forwarded),
        ("252 Cannot VRFY user", Class::CannotVerify),
        ("354 go ahead", Class::ProtocolError),
    ] {
        let meaning = classify(Stage::Rcpt, &reply(text), None);
        assert_eq!((meaning.class, meaning.existence), (class, Existence::None), "{text}");
    }
    assert_eq!(classify(Stage::Mail, &reply("252 x"), None).class, Class::Accepted);
}

#[test]
fn blocklists_are_named() {
    for (text, name) in [
        ("554 5.7.1 blocked using zen.spamhaus.org", Some("Spamhaus ZEN")),
        ("554 see http://www.spamhaus.org/query/ip/192.0.2.1", Some("Spamhaus")),
        ("550 b.barracudacentral.org", Some("Barracuda")),
        ("550 5.7.1 blocked using prs.proofpoint.com", Some("Proofpoint")),
        (
            "554 Client host [192.0.2.1] blocked using ix.dnsbl.manitu.net",
            Some("NiX Spam"),
        ),
        (
            "550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550",
            None,
        ),
        ("550 5.1.1 User unknown. Protected by Barracuda Networks", None),
        ("550 <a@spamhaus.org>: User unknown", None),
    ] {
        let meaning = classify(Stage::Rcpt, &reply(text), None);
        assert_eq!(meaning.blocklist.as_deref(), name, "{text}");
        assert_eq!(meaning.dead_recipient().is_some(), name.is_none(), "{text}");
    }
}

#[test]
fn fingerprints_ignore_what_differs_between_recipients() {
    let same = [
        "550 5.1.1 <a@b.example>: Recipient address rejected: Access denied [mx1.example.net] id 8f3a",
        "550-5.1.1 <zz9@b.example>: Recipient\n550 address rejected: Access denied [mx2.example.net] id 9c1",
    ];
    assert_eq!(fingerprint(&reply(same[0])), fingerprint(&reply(same[1])));
    assert_ne!(
        fingerprint(&reply(same[0])),
        fingerprint(&reply("550 5.1.1 User unknown"))
    );
}

#[test]
fn bundled_lists_are_sound() {
    let problems: Vec<String> = check()
        .iter()
        .chain(&providers::check())
        .map(ToString::to_string)
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn faults_in_a_rule_file_are_named_with_file_and_line() {
    let rule = |extra: &str| {
        format!(
            "[[rule]]\nid = \"x\"\nlayer = \"veto\"\nclass = \"policy\"\nsource = \"us\"\nexample = [\"550 purple haze\"]\n{extra}\n"
        )
    };
    for (text, expected) in [
        (
            rule("all = [\"purple\"]\ncolour = 1"),
            "my.toml:8: unknown field `colour`",
        ),
        (
            rule("all = [\"orange\"]"),
            "my.toml:1: the example `550 purple haze` of `x` is decided by",
        ),
        (
            rule("all = [\"purple\"]") + &rule("all = [\"haze\"]"),
            "my.toml:8: the id `x` is taken by the rule at line 1",
        ),
        (
            rule("all = [\"pur.*ple\"]"),
            "my.toml:1: the phrase `pur.*ple` looks like a regular expression",
        ),
        (
            rule("all = [\"*\"]"),
            "my.toml:1: the phrase `*` would match almost anything",
        ),
        (rule(""), "my.toml:1: the rule matches every reply"),
        (rule("all = [\"{nobody}\"]"), "my.toml:1: no set is called `nobody`"),
        (
            rule("all = [\"purple\"]\ncode = [\"999\"]"),
            "my.toml:1: `999` is no reply code",
        ),
        (
            rule("all = [\"purple\"]\nenhanced = [\"5.1\"]"),
            "my.toml:1: `5.1` is no enhanced code",
        ),
        (
            rule("all = [\"purple\"]\nprovider = [\"nobody\"]"),
            "my.toml:1: no provider is called `nobody`",
        ),
        (
            rule("all = [\"purple\"]\nexistence = \"does_not_exist\""),
            "my.toml:1: only a rule about the recipient",
        ),
        (
            "[sets]\npolicy = [\"purple\"]".to_owned(),
            "my.toml:1: a bundled set is called `policy` already",
        ),
        ("[[rule".to_owned(), "my.toml:1: "),
    ] {
        let error = Rules::parse(&text, "my.toml")
            .and_then(|rules| Classifier::with_rules(&rules))
            .unwrap_err();
        assert!(
            error.to_string().starts_with(expected),
            "expected {expected}, got {error}"
        );
    }
}

#[test]
fn a_users_rule_comes_before_ours_and_cannot_break_the_promise() {
    let text = "[[rule]]\nid = \"mine\"\nlayer = \"provider\"\nclass = \"user_unknown\"\nsource = \"us\"\nall = [\"purple haze\"]\nexample = [\"550 Purple haze\"]\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("my.toml");
    std::fs::write(&path, text).unwrap();
    let classifier = Classifier::load(&path).unwrap();
    let at = |stage, text| classifier.classify(stage, &reply(text), None);
    assert_eq!(&*at(Stage::Rcpt, "550 purple haze").rule, "mine");
    assert!(at(Stage::Rcpt, "550 purple haze").dead_recipient().is_some());
    for (stage, text) in [
        (Stage::Rcpt, "450 purple haze"),
        (Stage::Mail, "550 purple haze"),
        (Stage::Data, "550 purple haze"),
        (Stage::Rcpt, "550 purple haze, by policy"),
        (Stage::Rcpt, "550 purple haze, see zen.spamhaus.org"),
    ] {
        assert_eq!(at(stage, text).dead_recipient(), None, "{stage:?} {text}");
    }
    let with =
        |extra: &str| Classifier::with_rules(&Rules::parse(&format!("{text}{extra}"), "my.toml").unwrap()).unwrap();
    let permanent = with("persistence = \"permanent\"\n");
    assert_eq!(
        permanent
            .classify(Stage::Rcpt, &reply("450 purple haze"), None)
            .dead_recipient(),
        None
    );
    let transient = with("persistence = \"transient\"\n");
    assert_eq!(
        transient
            .classify(Stage::Rcpt, &reply("550 purple haze"), None)
            .dead_recipient(),
        None
    );
    assert!(
        Classifier::load(&directory.path().join("none.toml"))
            .unwrap_err()
            .to_string()
            .starts_with("cannot read")
    );
}

#[test]
fn before_rcpt_only_the_sender_or_the_server_is_spoken_of() {
    for row in corpus::providers().iter().chain(corpus::sisimai()) {
        for stage in STAGES
            .into_iter()
            .filter(|stage| !matches!(stage, Stage::Rcpt | Stage::Data))
        {
            let meaning = classify(stage, &row.reply(), row.provider());
            assert!(
                matches!(meaning.about, About::Sender | About::Server),
                "{stage:?} {}",
                row.text
            );
            assert_eq!(meaning.dead_recipient(), None, "{stage:?} {}", row.text);
        }
    }
}

#[test]
fn hostile_text_takes_linear_time() {
    let time = |bytes: usize| {
        let lines = [
            "no such user ",
            "{user} unknown@@ ",
            "5.1.1.",
            "\u{fffd}\u{130}x",
            "://::// a.b.c/",
        ]
        .iter()
        .map(|unit| unit.repeat(bytes / 5 / unit.len()).into())
        .collect();
        let reply = Reply::new(ReplyCode::new(550).unwrap(), lines);
        // The least of many: on a busy machine most are interrupted.
        (0..20)
            .map(|_| {
                let start = Instant::now();
                let _ = classify(Stage::Rcpt, &reply, None);
                start.elapsed()
            })
            .min()
            .unwrap()
    };
    let _ = time(1000);
    let (small, large) = (time(16 << 10), time(128 << 10));
    // Eight times the text: linear is eight times the time, quadratic sixty-four.
    assert!(large < small * 24, "16 KiB: {small:?}, 128 KiB: {large:?}");
}

/// Phrases that speak of us, however they are mixed with words about a mailbox.
const VETOES: &[&str] = &[
    "policy",
    "local policy",
    "poor reputation",
    "rate limit exceeded",
    "too many messages",
    "blocked using zen.spamhaus.org",
    "SPF fail",
    "see http://www.spamhaus.org/x",
    "listed at bl.spamcop.net",
    "spam",
    "greylisted",
    "try again later",
    "your IP is blocked",
    "throttled",
    "relay access denied",
    "blacklisted",
    "sender rejected",
    "reverse DNS",
    "too many invalid recipients",
    "DMARC",
    "administrative prohibition",
    "banned",
    "temporarily unavailable",
    "HELO",
    "authentication required",
];

const DEADLY: &[&str] = &[
    "user unknown",
    "no such user here",
    "mailbox does not exist",
    "recipient not found",
    "account is disabled",
    "5.1.1 invalid recipient",
    "unknown user",
    "user has moved",
    "address does not exist",
    "mailbox closed",
    "not our customer",
    "not a valid mailbox",
    "5.2.1 inactive",
    "utilisateur inconnu",
    "bad address syntax",
];

fn any_provider() -> impl Strategy<Value = Option<String>> {
    let names: Vec<Option<String>> = providers::all()
        .iter()
        .map(|provider| Some(provider.id.to_string()))
        .chain([None])
        .collect();
    proptest::sample::select(names)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic_and_never_kill_outside_5yz_at_rcpt(
        code in 200_u16..600, lines in proptest::collection::vec(".{0,80}", 0..4), stage in 0_usize..9, provider in any_provider()
    ) {
        let reply = Reply::new(ReplyCode::new(code).unwrap(), lines.into_iter().map(Into::into).collect());
        let meaning = classify(STAGES[stage], &reply, provider.as_deref());
        prop_assert_eq!(&meaning, &classify(STAGES[stage], &reply, provider.as_deref()));
        prop_assert!(meaning.dead_recipient().is_none() || code >= 500 && STAGES[stage] == Stage::Rcpt);
    }

    #[test]
    fn transient_or_early_replies_never_kill(
        code in 400_u16..500, deadly in proptest::sample::select(DEADLY), stage in 0_usize..9, provider in any_provider()
    ) {
        let transient = reply(&format!("{code} {deadly}"));
        prop_assert!(classify(STAGES[stage], &transient, provider.as_deref()).dead_recipient().is_none());
        let permanent = reply(&format!("{} {deadly}", code + 100));
        prop_assert!(STAGES[stage] == Stage::Rcpt || classify(STAGES[stage], &permanent, provider.as_deref()).dead_recipient().is_none());
    }

    #[test]
    fn a_veto_word_always_wins(
        code in 500_u16..600, veto in proptest::sample::select(VETOES), deadly in proptest::sample::select(DEADLY),
        first in any::<bool>(), provider in any_provider()
    ) {
        let text = if first { format!("{code} {veto}. {deadly}") } else { format!("{code} {deadly}; {veto}") };
        let meaning = classify(Stage::Rcpt, &reply(&text), provider.as_deref());
        prop_assert!(meaning.dead_recipient().is_none(), "{} {:?}", text, meaning.rule);
    }

    #[test]
    fn case_and_line_breaks_do_not_matter(row in 0_usize..700, breaks in proptest::collection::vec(any::<bool>(), 64), upper in any::<bool>()) {
        let rows = corpus::all();
        let row = &rows[row % rows.len()];
        let original = row.reply();
        let cased: Vec<String> = original.lines().iter().flat_map(|line| line.split(' ')).map(|word| {
            if upper { word.to_uppercase() } else { word.to_lowercase() }
        }).collect();
        let mut lines = vec![String::new()];
        for (index, word) in cased.iter().enumerate() {
            let line = lines.last_mut().unwrap();
            if !line.is_empty() { line.push(' '); }
            line.push_str(word);
            if breaks[index % 64] { lines.push(String::new()); }
        }
        let wrapped = Reply::new(original.code(), lines.into_iter().map(Into::into).collect());
        let before = classify(Stage::Rcpt, &original, row.provider());
        let after = classify(Stage::Rcpt, &wrapped, row.provider());
        prop_assert_eq!((before.class, before.dead_recipient()), (after.class, after.dead_recipient()), "{}", row.text);
    }
}
