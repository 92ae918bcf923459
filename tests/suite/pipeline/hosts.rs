//! What hosts do, what is said of their recipients, and what it cost them.

use std::fmt::Write as _;

use super::{Net, differences, labels, sessions};

/// One host `mx.ID.test` for the domain `ID.test`; `%` in the keys is the domain.
struct Case {
    /// HOSTILE.md ids and a word.
    id: &'static str,
    /// Its keys, and further tables, as docs/lab.md has them.
    keys: &'static str,
    /// Local-part, label and reason.
    rows: &'static [(&'static str, &'static str)],
    /// Connections to all hosts of the case.
    connections: u64,
}

const fn case(
    id: &'static str,
    keys: &'static str,
    rows: &'static [(&'static str, &'static str)],
    connections: u64,
) -> Case {
    Case {
        id,
        keys,
        rows,
        connections,
    }
}

const VALID: &str = "valid mailbox_exists";
const NOBODY: &str = "invalid mailbox_unknown";
const CATCH_ALL: &str = "catch-all accepts_all";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Mailboxes
    case("r1-r4-known-and-unknown", r#"mailboxes = ["jane", "joe"]"#,
        &[("jane", VALID), ("joe", VALID), ("nobody", NOBODY)], 1),
    case("r1-control", r#"mailboxes = ["jane"]"#, &[("jane", VALID)], 1),
    case("r2-catch-all", "catch_all = true", &[("jane", CATCH_ALL), ("joe", CATCH_ALL), ("nobody", CATCH_ALL)], 1),
    case("r3-undetermined", r#"mailboxes = ["jane"]
        unknown = "450 4.3.0 Try again later""#, &[("jane", "unknown catchall_undetermined")], 2),
    case("r9-quota", r#"mailboxes = ["jane"]
        full = ["full"]
        reply.brim = "552 5.2.2 Mailbox full""#,
        &[("jane", VALID), ("full", "unknown mailbox_full"), ("brim", "unknown mailbox_full")], 2),
    case("r10-disabled", r#"mailboxes = ["jane"]
        disabled = ["gone"]"#, &[("gone", "invalid mailbox_disabled"), ("jane", VALID)], 1),
    case("r8-throttled", r#"mailboxes = ["jane"]
        reply.hot = "550-5.2.1 The user you are trying to contact is receiving mail at a rate that\n550 5.2.1 prevents additional messages from being delivered.""#,
        &[("jane", VALID), ("hot", "unknown rate_limited_mailbox")], 2),
    case("r16-forwarding", r#"mailboxes = ["jane"]
        forwarded = ["abroad"]
        moved = ["away"]
        reply.perhaps = "252 2.5.2 Cannot VRFY user"
        reply.none = "556 5.1.10 Domain does not accept mail""#,
        &[("jane", VALID), ("abroad", "valid forwarded"), ("away", "invalid mailbox_moved"),
          ("perhaps", "unknown cannot_verify"), ("none", "invalid domain_takes_no_mail")], 1),
    case("r20-other-address-in-the-text", r#"mailboxes = ["jane"]
        reply.joe = "250 2.1.5 <nobody@%> 550 5.1.1 no such user""#, &[("joe", VALID), ("jane", VALID)], 1),
    case("r28-contradictory-codes", r#"mailboxes = ["jane"]
        reply.jane = "250 5.1.1 Ok""#, &[("jane", VALID)], 1),
    case("r23-slow-refusal", r#"mailboxes = ["jane"]
        error_delay_ms = 700"#, &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("r24-plus-tag", "mailboxes = [\"jane\"]\nplus_tags = true", &[("jane+list", VALID), ("joe+list", NOBODY)], 1),
    case("r29-utf8", "mailboxes = [\"jörg\", \"jane\"]", &[("jörg", VALID), ("jane", VALID)], 1),
    case("r29-no-utf8", "mailboxes = [\"jane\"]\nsmtputf8 = false",
        &[("jörg", "unknown needs_smtputf8"), ("jane", VALID)], 1),
    case("p3-quoted", r#"mailboxes = ["jane"]"#, &[("\"jane doe\"", NOBODY), ("jane", VALID)], 1),
    // Later
    case("r12-greylist", "mailboxes = [\"jane\"]\ngreylist_ms = 800", &[("jane", VALID), ("nobody", NOBODY)], 3),
    case("r12-greylist-for-ever", "mailboxes = [\"jane\"]\ngreylist_ms = 86400000", &[("jane", "unknown greylisted")], 2),
    case("r13-deep-tests", r#"mailboxes = ["jane"]
        script = [{ on = "rcpt", sessions = 1, reply = "450 4.3.2 Service currently unavailable" }]"#, &[("jane", VALID)], 2),
    case("r14-421-at-rcpt", r#"mailboxes = ["jane", "joe"]
        script = [{ on = "rcpt", sessions = 1, from = 2, reply = "421 4.3.0 Closing", then = "close" }]"#,
        &[("jane", VALID), ("joe", VALID), ("nobody", NOBODY)], 2),
    case("r14-421-for-ever", r#"
        script = [{ on = "rcpt", reply = "421 4.7.0 Try again later", then = "close" }]"#,
        &[("jane", "unknown server_temporary")], 3),
    case("s10-reset-once", r#"mailboxes = ["jane"]
        script = [{ on = "rcpt", sessions = 1, then = "reset" }]"#, &[("jane", VALID)], 2),
    case("s10-reset-for-ever", r#"script = [{ on = "rcpt", then = "reset" }]"#,
        &[("jane", "unknown connection_lost")], 3),
    case("s10-reset-after-ehlo", r#"script = [{ on = "ehlo", then = "reset" }]"#,
        &[("jane", "unknown connection_lost")], 4),
    case("server-full", r#"script = [{ on = "rcpt", reply = "452 4.3.1 Insufficient system storage" }]"#,
        &[("jane", "unknown server_full")], 2),
    // Limits
    case("r15-452-too-many-recipients", "mailboxes = [\"a\", \"b\", \"c\", \"d\", \"e\"]\nrecipients_max = 2",
        &[("a", VALID), ("b", VALID), ("c", VALID), ("d", VALID), ("e", VALID), ("nobody", NOBODY)], 1),
    case("r15-552-too-many-recipients", r#"mailboxes = ["a", "b", "c"]
        script = [{ on = "rcpt", from = 2, to = 2, reply = "552 Too many recipients" }]"#,
        &[("a", VALID), ("b", VALID), ("c", VALID)], 1),
    case("t5-limits", r#"mailboxes = ["a", "b", "c"]
        recipients_max = 1
        extensions = ["LIMITS RCPTMAX=1 MAILMAX=3"]"#,
        &[("a", VALID), ("b", VALID), ("c", VALID), ("nobody", NOBODY)], 2),
    // About us
    case("r6-blocked", r#"script = [{ on = "rcpt", reply = "554 5.7.1 Service unavailable; Client host [{client}] blocked using zen.spamhaus.org" }]"#,
        &[("jane", "unknown sender_blocked"), ("joe", "unknown sender_blocked")], 1),
    case("r7-unavailable-to-all", r#"script = [{ on = "rcpt", reply = "550 5.3.2 Service currently unavailable" }]"#,
        &[("jane", "unknown server_temporary")], 2),
    case("r5-unclear", r#"script = [{ on = "rcpt", reply = "550 Requested action not taken" }]"#,
        &[("jane", "unknown ambiguous_refusal")], 1),
    case("r18-mail-refused", r#"script = [{ on = "mail", reply = "550 5.7.1 <{from}>: Sender address rejected: Access denied" }]"#,
        &[("jane", "unknown sender_rejected"), ("joe", "unknown sender_rejected")], 1),
    case("r22-banned", r#"mailboxes = ["jane"]
        ban_after = 1
        ban_reply = "554 5.7.1 You are banned""#, &[("nobody", NOBODY), ("zoe", "unknown policy")], 1),
    case("r16-530", r#"script = [{ on = "mail", reply = "530 5.7.0 Authentication required" }]"#,
        &[("jane", "unknown auth_or_tls_required")], 1),
    // Greeting
    case("s1-silence", r#"script = [{ on = "greeting", then = "hang" }]"#, &[("jane", "unknown timeout")], 2),
    case("s2-tarpit", "byte_delay_ms = 250", &[("jane", "unknown tarpit")], 2),
    case("s3-endless-greeting", r#"script = [{ on = "greeting", send = "220-teaser\r\n", repeat = 10000 }]"#,
        &[("jane", "unknown not_smtp")], 1),
    case("s4-endless-line", r#"script = [{ on = "greeting", send = "220 0123456789012345678901234567890123456789", repeat = 200000 }]"#,
        &[("jane", "unknown not_smtp")], 1),
    case("s5-teaser", r#"mailboxes = ["jane"]
        enforce_sync = true
        greeting_delay_ms = 400
        script = [{ on = "greeting", reply = "220-wait\n220 mx ESMTP", after_ms = 500 }]"#, &[("jane", VALID)], 1),
    case("s7-554", r#"script = [{ on = "greeting", reply = "554 No SMTP service here", then = "close" }]"#,
        &[("jane", "unknown host_refused")], 1),
    case("s7-421", r#"script = [{ on = "greeting", reply = "421 4.3.2 Too busy", then = "close" }]"#,
        &[("jane", "unknown host_refused")], 2),
    case("s8-ssh", r#"script = [{ on = "greeting", send = "SSH-2.0-OpenSSH_9.2\r\n" }]"#, &[("jane", "unknown not_smtp")], 1),
    case("s8-http", r#"script = [{ on = "greeting", send = "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", then = "close" }]"#,
        &[("jane", "unknown not_smtp")], 1),
    case("s9-loop", r#"script = [{ on = "greeting", reply = "220 probe.example.net ESMTP" }]"#, &[("jane", "unknown loop")], 1),
    case("s11-down", "down = true", &[("jane", "unknown unreachable")], 0),
    case("s12-nolisting", r#"down = true
        [[host]]
        name = "mx2.%"
        serves = ["%"]
        preference = 20
        mailboxes = ["jane"]"#, &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("s13-backup-takes-all", r#"down = true
        [[host]]
        name = "mx2.%"
        serves = ["%"]
        preference = 20
        catch_all = true"#, &[("jane", "unknown backup_mx_only")], 1),
    case("s7-next-mx", r#"script = [{ on = "greeting", reply = "554 No SMTP service here", then = "close" }]
        [[host]]
        name = "mx2.%"
        serves = ["%"]
        preference = 20
        mailboxes = ["jane"]"#, &[("jane", VALID)], 2),
    // EHLO and TLS
    case("t1-helo-only", "mailboxes = [\"jane\"]\nhelo_only = true\nenhanced = false", &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("t2-endless-ehlo", r#"script = [{ on = "ehlo", send = "250-X\r\n", repeat = 10000 }]"#,
        &[("jane", "unknown protocol")], 1),
    case("t3-deaf-to-bursts", "mailboxes = [\"jane\"]\npipelining = \"broken\"", &[("jane", VALID), ("nobody", NOBODY)], 2),
    case("t4-lockstep", "mailboxes = [\"jane\"]\npipelining = \"off\"\nenforce_sync = true",
        &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("t6-injection", "mailboxes = [\"jane\"]\nstarttls = \"inject\"", &[("jane", "unknown tls_injection")], 1),
    case("t7-tls", "mailboxes = [\"jane\"]\nstarttls = \"on\"", &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("t7-refuses-in-tls-only", "mailboxes = [\"jane\"]\nstarttls = \"on\"\nrefuse_only_in_tls = true",
        &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("t9-tls-required", "mailboxes = [\"jane\"]\nstarttls = \"required\"", &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("t8-refused", "mailboxes = [\"jane\"]\nstarttls = \"refused\"", &[("jane", VALID), ("nobody", NOBODY)], 1),
    case("t8-broken", "mailboxes = [\"jane\"]\nstarttls = \"broken\"", &[("jane", VALID), ("nobody", NOBODY)], 2),
    case("t8-stall", "mailboxes = [\"jane\"]\nstarttls = \"stall\"", &[("jane", VALID), ("nobody", NOBODY)], 2),
    // Words that are no replies
    case("r17-short", r#"script = [{ on = "rcpt", send = "25\r\n" }]"#, &[("jane", "unknown protocol")], 1),
    case("r17-glued", r#"script = [{ on = "rcpt", send = "250ok\r\n" }]"#, &[("jane", "unknown protocol")], 1),
    case("r17-1yz", r#"script = [{ on = "rcpt", send = "150 ok\r\n" }]"#, &[("jane", "unknown protocol")], 1),
    case("r17-6yz", r#"script = [{ on = "rcpt", send = "650 ok\r\n" }]"#, &[("jane", "unknown protocol")], 1),
    case("r17-mixed", r#"script = [{ on = "rcpt", send = "250-a\r\n550 b\r\n" }]"#, &[("jane", "unknown protocol")], 1),
    case("r19-two-replies", r#"mailboxes = ["jane"]
        pipelining = "off"
        script = [{ on = "rcpt", send = "250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n" }]"#, &[("jane", "unknown desynchronised")], 1),
    case("r20-forged-lines", r#"mailboxes = ["jane"]
        reply.joe = "550-5.1.1 no such user\n550 250 2.1.5 Ok""#, &[("jane", VALID), ("joe", NOBODY)], 1),
];

/// Hosts that cannot be told QUIT: the greeting never ended, the handshake hangs, or nothing more may be said.
const NO_QUIT: [&str; 5] = ["s1-silence", "s2-tarpit", "s4-endless-line", "t6-injection", "t8-stall"];

/// One run for all hosts: each is a group of its own, so that they do not wait for one another.
#[test]
fn every_habit_of_a_host_has_its_label_and_its_price() {
    let (mut world, mut list) = (String::new(), String::from("address\n"));
    for Case { id, keys, rows, .. } in CASES {
        let keys = keys.replace('%', &format!("{id}.test"));
        let _ = writeln!(
            world,
            "[[host]]\nname = \"mx.{id}.test\"\nserves = [\"{id}.test\"]\n{keys}"
        );
        for (local, _) in *rows {
            let _ = writeln!(list, "\"{}@{id}.test\"", local.replace('"', "\"\""));
        }
    }
    let net = Net::new(&world);
    let patience = [
        "--timeout-reply",
        "2500ms",
        "--timeout-connect",
        "2500ms",
        "--timeout-session",
        "8s",
    ];
    let ran = net.verify(&list, &[&["--retry-ladder", "1200ms"][..], &patience].concat());
    assert!(ran.code == 0 || ran.code == 3, "{}: {}", ran.code, ran.err);

    let came = labels(&ran);
    let expected: Vec<(String, &str)> = CASES
        .iter()
        .flat_map(|case| {
            case.rows
                .iter()
                .map(|(local, expected)| (format!("{local}@{}.test", case.id), *expected))
        })
        .collect();
    let mut wrong = differences(
        expected.iter().map(|(address, expected)| (address.as_str(), *expected)),
        &came,
    );
    let counters = net.lab.counters();
    for case in CASES {
        let ours = |name: &str| name.ends_with(&format!(".{}.test", case.id));
        let connections: u64 = counters
            .hosts
            .iter()
            .filter_map(|(name, host)| ours(name).then_some(host.connections))
            .sum();
        if connections > case.connections {
            wrong.push(format!(
                "{}: {connections} connections, at most {}",
                case.id, case.connections
            ));
        }
    }
    for (name, host) in &counters.hosts {
        let excused = NO_QUIT.iter().any(|id| name.contains(id));
        if host.without_quit > 0 && !excused {
            wrong.push(format!("{name}: {} sessions without QUIT", host.without_quit));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_list_at_a_host_that_is_not_ours_is_asked_about_politely() {
    let net = Net::new(
        "[[host]]\nname = \"mx.polite.example\"\nserves = [\"polite.example\"]\nmailboxes = [\"a\", \"b\"]\nstarttls = \"on\"\n",
    );
    let ran = net.verify("a@polite.example\nb@polite.example\nA@polite.example\n", &[]);
    let expected = [
        ("a@polite.example", VALID),
        ("b@polite.example", VALID),
        ("A@polite.example", VALID),
    ];
    assert!(differences(expected, &labels(&ran)).is_empty(), "{}", ran.out);
    let host = net.seen("mx.polite.example");
    assert_eq!(
        (host.connections, host.recipients, host.refused),
        (1, 3, 1),
        "two recipients and the control recipient"
    );
    let gaps = host.rcpt_at_us.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(
        gaps.into_iter().all(|gap| gap > 900_000),
        "a second apart: {:?}",
        host.rcpt_at_us
    );
    assert_eq!(sessions(&net.lab.counters()), (1, 0));
}

#[test]
fn one_session_serves_the_domains_of_a_host() {
    let net = Net::new(
        "[[host]]\nname = \"mx.hoster.test\"\nserves = [\"a.test\", \"b.test\", \"c.test\"]\nmailboxes = [\"jane\"]\ndomains_max = 1\n",
    );
    let ran = net.verify("jane@a.test\njoe@a.test\njane@b.test\njane@c.test\n", &[]);
    let expected = [
        ("jane@a.test", VALID),
        ("joe@a.test", NOBODY),
        ("jane@b.test", VALID),
        ("jane@c.test", VALID),
    ];
    assert!(differences(expected, &labels(&ran)).is_empty(), "{}", ran.out);
    assert_eq!(sessions(&net.lab.counters()), (1, 0));
}
