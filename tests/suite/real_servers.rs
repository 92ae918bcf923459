//! presend against real servers: Postfix, Exim, NSD and postgrey on loopback, as `tests/real/up` starts them.
//!
//! Ignored unless asked for, because the servers must be there: `tests/run` unpacks them and asks.

mod client;
mod relay;
mod returns;
mod servers;

use std::{collections::HashMap, fmt::Write, fs, time::Duration};

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

use self::{
    client::Client,
    relay::Relay,
    servers::{Record, Servers, loopback},
};

const MAIL_FROM: &str = "MAIL FROM:<probe@example.org>";

// Tables: address, label, reason, and the mail host's reply code if it was asked.

/// Asked as a stranger would: every budget applies, so a list can only hold a few addresses of each host.
const STRANGER: &str = "
    alice@known.postfix.test        valid      mailbox_exists   250
    Bob@known.postfix.test          valid      mailbox_exists   250
    nobody@known.postfix.test       invalid    mailbox_unknown  550
    alice@catchall.postfix.test     catch-all  accepts_all      250
    nobody@catchall.postfix.test    catch-all  accepts_all      250
    alice@starttls.postfix.test     valid      mailbox_exists   250
    nobody@starttls.postfix.test    invalid    mailbox_unknown  550
    alice@greylist.postfix.test     unknown    greylisted       450
    alice@quota.postfix.test        valid      mailbox_exists   250
    full@quota.postfix.test         unknown    mailbox_full     452
    over@quota.postfix.test         unknown    mailbox_full     552
    alice@dnsbl.postfix.test        unknown    sender_blocked   554
    alice@sender.postfix.test       unknown    sender_rejected  554
    alice@tarpit.postfix.test       valid      mailbox_exists   250
    nobody@tarpit.postfix.test      invalid    mailbox_unknown  550
    alice@limit.postfix.test        valid      mailbox_exists   250
    bob@limit.postfix.test          valid      mailbox_exists   250
    carol@limit.postfix.test        valid      mailbox_exists   250
    nobody@limit.postfix.test       invalid    mailbox_unknown  550
    alice@backup.postfix.test       unknown    backup_mx_only   250
    alice@stranger.postfix.test     unknown    relay_denied     454
    alice@known.exim.test           valid      mailbox_exists   250
    nobody@known.exim.test          invalid    mailbox_unknown  550
    alice@catchall.exim.test        catch-all  accepts_all      250
    alice@starttls.exim.test        valid      mailbox_exists   250
    nobody@starttls.exim.test       invalid    mailbox_unknown  550
    alice@dnsbl.exim.test           unknown    sender_blocked   550
    alice@greylist.exim.test        unknown    greylisted       451
    alice@limit.exim.test           valid      mailbox_exists   250
    bob@limit.exim.test             valid      mailbox_exists   250
    carol@limit.exim.test           valid      mailbox_exists   250
    alice@harvest.exim.test         valid      mailbox_exists   250
    nobody@harvest.exim.test        invalid    mailbox_unknown  550
    alice@nullmx.test               invalid    null_mx          -
    alice@nomailhost.test           invalid    no_mail_host     -
    alice@nosuchdomain.test         invalid    no_such_domain   -
";

/// Asked of hosts that the operator named as trusted: no budget, pipelined, more refusals than some hosts bear.
const TRUSTED: &str = "
    alice@known.postfix.test        valid      mailbox_exists   250
    bob@known.postfix.test          valid      mailbox_exists   250
    carol@known.postfix.test        valid      mailbox_exists   250
    dave@known.postfix.test         valid      mailbox_exists   250
    erin@known.postfix.test         valid      mailbox_exists   250
    nobody1@known.postfix.test      invalid    mailbox_unknown  550
    nobody2@known.postfix.test      invalid    mailbox_unknown  550
    nobody3@known.postfix.test      invalid    mailbox_unknown  550
    nobody4@known.postfix.test      invalid    mailbox_unknown  550
    alice@catchall.postfix.test     catch-all  accepts_all      250
    nobody1@catchall.postfix.test   catch-all  accepts_all      250
    nobody2@catchall.postfix.test   catch-all  accepts_all      250
    alice@starttls.postfix.test     valid      mailbox_exists   250
    bob@starttls.postfix.test       valid      mailbox_exists   250
    nobody1@starttls.postfix.test   invalid    mailbox_unknown  550
    nobody2@starttls.postfix.test   invalid    mailbox_unknown  550
    nobody1@tarpit.postfix.test     invalid    mailbox_unknown  550
    nobody2@tarpit.postfix.test     invalid    mailbox_unknown  550
    nobody3@tarpit.postfix.test     invalid    mailbox_unknown  550
    nobody4@tarpit.postfix.test     invalid    mailbox_unknown  550
    nobody5@tarpit.postfix.test     invalid    mailbox_unknown  550
    alice@tarpit.postfix.test       valid      mailbox_exists   250
    bob@tarpit.postfix.test         valid      mailbox_exists   250
    alice@limit.postfix.test        valid      mailbox_exists   250
    bob@limit.postfix.test          valid      mailbox_exists   250
    carol@limit.postfix.test        valid      mailbox_exists   250
    dave@limit.postfix.test         valid      mailbox_exists   250
    erin@limit.postfix.test         valid      mailbox_exists   250
    nobody1@limit.postfix.test      invalid    mailbox_unknown  550
    alice@known.exim.test           valid      mailbox_exists   250
    bob@known.exim.test             valid      mailbox_exists   250
    nobody1@known.exim.test         invalid    mailbox_unknown  550
    nobody2@known.exim.test         invalid    mailbox_unknown  550
    nobody3@known.exim.test         invalid    mailbox_unknown  550
    alice@limit.exim.test           valid      mailbox_exists   250
    bob@limit.exim.test             valid      mailbox_exists   250
    carol@limit.exim.test           valid      mailbox_exists   250
    dave@limit.exim.test            valid      mailbox_exists   250
    erin@limit.exim.test            valid      mailbox_exists   250
";

/// An unknown sibling proves that the domain refuses.
const GREYLISTED_WITH_SIBLING: &str = "
    alice@greylist.postfix.test     valid      mailbox_exists   250
    nobody@greylist.postfix.test    invalid    mailbox_unknown  550
";

/// Alone, the control recipient is greylisted as well and must be asked again.
const GREYLISTED_ALONE: &str = "
    bob@greylist.postfix.test       valid      mailbox_exists   250
";

/// This one never gives in.
const GREYLISTED_FOR_EVER: &str = "
    alice@greylist.exim.test        unknown    greylisted       451
";

/// Network of the mail host, recipient, and how the reply begins. Rows in a row of one network are one transaction.
const DIALOGUES: &str = "
    11  alice@known.postfix.test      250 2.1.5 Ok
    11  nobody@known.postfix.test     550 5.1.1 <nobody@known.postfix.test>: Recipient address rejected: User unknown
    11  erin@known.postfix.test       250 2.1.5 Ok
    12  alice@catchall.postfix.test   250 2.1.5 Ok
    12  nobody@catchall.postfix.test  250 2.1.5 Ok
    14  alice@greylist.postfix.test   450 4.2.0 <alice@greylist.postfix.test>: Recipient address rejected: Greylisted
    14  nobody@greylist.postfix.test  450 4.2.0 <nobody@greylist.postfix.test>: Recipient address rejected: Greylisted
    15  alice@quota.postfix.test      250 2.1.5 Ok
    15  full@quota.postfix.test       452 4.2.2 <full@quota.postfix.test>: Recipient address rejected: Quota exceeded
    15  over@quota.postfix.test       552 5.2.2 <over@quota.postfix.test>: Recipient address rejected: Quota exceeded
    15  nobody@quota.postfix.test     550 5.1.1
    16  alice@dnsbl.postfix.test      554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.spamhaus.org
    18  alice@tarpit.postfix.test     250 2.1.5 Ok
    18  no1@tarpit.postfix.test       550 5.1.1
    18  no2@tarpit.postfix.test       550 5.1.1
    18  no3@tarpit.postfix.test       550 5.1.1
    18  bob@tarpit.postfix.test       421 4.7.0 mx.postfix.test Error: too many errors
    19  alice@limit.postfix.test      250 2.1.5 Ok
    19  nobody@limit.postfix.test     550 5.1.1
    19  bob@limit.postfix.test        250 2.1.5 Ok
    19  carol@limit.postfix.test      452 4.5.3 Error: too many recipients
    20  alice@backup.postfix.test     250 2.1.5 Ok
    20  nobody@backup.postfix.test    250 2.1.5 Ok
    22  alice@stranger.postfix.test   454 4.7.1 <alice@stranger.postfix.test>: Relay access denied
    31  alice@known.exim.test         250 Accepted
    31  nobody@known.exim.test        550 Unknown user
    31  erin@known.exim.test          250 Accepted
    32  alice@catchall.exim.test      250 Accepted
    32  nobody@catchall.exim.test     250 Accepted
    37  nobody@starttls.exim.test     250 Accepted
    33  alice@dnsbl.exim.test         550-JunkMail rejected - probe.example.org [127.0.0.1] is in an RBL
    34  alice@greylist.exim.test      451 Greylisted
    35  alice@limit.exim.test         250 Accepted
    35  bob@limit.exim.test           250 Accepted
    35  carol@limit.exim.test         452 too many recipients
    36  no1@harvest.exim.test         550 Unknown user
    36  no2@harvest.exim.test         550 Unknown user
    36  no3@harvest.exim.test         550 Unknown user
    36  no4@harvest.exim.test         550 Too many unknown recipients
";

#[test]
#[ignore = "needs real servers: tests/run unpacks and starts them"]
fn the_servers_behave_as_described() {
    let servers = Servers::start();
    let port = servers.smtp_port;
    let mut transaction: Option<(u8, Client)> = None;
    for row in DIALOGUES.trim().lines() {
        let (net, row) = row.trim().split_once("  ").expect("a network");
        let (recipient, reply) = row.split_once(' ').expect("a recipient");
        let net = net.parse().expect("a number");
        if transaction.as_ref().is_none_or(|(current, _)| *current != net) {
            let mut client = Client::connect(loopback(net), port);
            assert!(client.say(MAIL_FROM).starts_with("250"), "{recipient}");
            transaction = Some((net, client));
        }
        let (_, client) = transaction.as_mut().expect("a transaction");
        let said = client.rcpt(recipient);
        assert!(said.starts_with(reply.trim()), "{recipient}: {said}");
    }

    let mut clear = Client::connect(loopback(13), port);
    assert!(clear.say(MAIL_FROM).starts_with("530 5.7.0"));
    for (net, domain) in [(13, "starttls.postfix.test"), (37, "starttls.exim.test")] {
        let mut client = Client::connect_tls(loopback(net), port, &servers.certificate());
        assert!(client.say(MAIL_FROM).starts_with("250"));
        assert!(client.rcpt(&format!("alice@{domain}")).starts_with("250"));
        assert!(client.rcpt(&format!("nobody@{domain}")).starts_with("550"));
        client.say("QUIT");
    }
    let mut sender = Client::connect(loopback(17), port);
    assert!(sender.say(MAIL_FROM).starts_with("554 5.7.1"));

    drop((transaction, clear, sender));
    let record = servers.record();
    let complaint = record.proves_no_message().expect_err("sessions were left without QUIT");
    assert!(complaint.contains("QUIT"), "{complaint}");
    let refused: Vec<u32> = record
        .sessions()
        .iter()
        .filter(|session| session.set_up == "tarpit")
        .map(|session| session.refused)
        .collect();
    assert_eq!(refused, [3], "{}", record.text());
}

#[test]
#[ignore = "needs real servers: tests/run unpacks and starts them"]
fn a_message_would_be_noticed() {
    for net in [12, 32] {
        let servers = Servers::start();
        // Postfix must have been asked something, or that alone is the complaint.
        let mut question = Client::connect(loopback(11), servers.smtp_port);
        question.say("QUIT");
        assert_eq!(servers.record().proves_no_message(), Ok(()));
        let mut client = Client::connect(loopback(net), servers.smtp_port);
        let recipient = if net == 12 {
            "alice@catchall.postfix.test"
        } else {
            "alice@catchall.exim.test"
        };
        client.say(MAIL_FROM);
        client.rcpt(recipient);
        assert!(client.say("DATA").starts_with("354"));
        assert!(client.say("Subject: a message\r\n\r\n.").starts_with("250"));
        client.say("QUIT");
        let complaint = servers.record().proves_no_message().expect_err("a message was queued");
        assert!(complaint.contains("queued"), "{complaint}");
    }
}

#[test]
#[ignore = "needs real servers: tests/run unpacks and starts them"]
fn a_stranger_gets_every_label_and_reason() {
    let servers = Servers::start();
    assert_verdicts(&servers, STRANGER, &["--no-wait"]);
    let record = servers.record();
    assert_eq!(record.proves_no_message(), Ok(()), "{}", record.text());
    for session in record.sessions() {
        let (refused, set_up) = (session.refused, session.set_up);
        assert!(refused <= 2, "{refused} refusals in a session with {set_up}");
    }
    // Two refusals end a session, so the third at `quota` (or the control recipient) needs a second one.
    assert_sessions(&record, 2);
}

#[test]
#[ignore = "needs real servers: tests/run unpacks and starts them"]
fn trusted_hosts_get_every_question_answered() {
    let servers = Servers::start();
    let mut options = vec!["--no-wait".to_owned()];
    for (address, _) in rows(TRUSTED) {
        let (_, domain) = address.split_once('@').expect("an address");
        options.extend(["--trusted-host".to_owned(), format!("mx.{domain}")]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    assert_verdicts(&servers, TRUSTED, &options);
    let record = servers.record();
    assert_eq!(record.proves_no_message(), Ok(()), "{}", record.text());
    // The tarpit closes after three refusals: five unknown recipients and the control need two or three sessions.
    assert_sessions(&record, 3);
}

#[test]
#[ignore = "needs real servers: tests/run unpacks and starts them"]
fn greylisting_ends_when_presend_waits() {
    let servers = Servers::start();
    std::thread::scope(|scope| {
        for table in [GREYLISTED_WITH_SIBLING, GREYLISTED_ALONE, GREYLISTED_FOR_EVER] {
            let servers = &servers;
            scope.spawn(move || assert_verdicts(servers, table, &["--retry-ladder", "3s,6s"]));
        }
    });
    let record = servers.record();
    assert_eq!(record.proves_no_message(), Ok(()));
    let listed = [GREYLISTED_WITH_SIBLING, GREYLISTED_ALONE].concat();
    let controls: Vec<(&str, &str)> = record
        .refusals()
        .filter(|(_, recipient)| !listed.contains(recipient))
        .collect();
    let [("450", first), ("550", second)] = controls[..] else {
        panic!("greylisted once, then refused: {controls:?}");
    };
    assert_eq!(first, second, "the same control recipient");
}

/// The rows of a table: the address, and the rest with single spaces.
fn rows(table: &str) -> impl Iterator<Item = (&str, String)> {
    table.trim().lines().map(|row| {
        let (address, expected) = row.trim().split_once(' ').expect("an address and more");
        (address, expected.split_whitespace().collect::<Vec<_>>().join(" "))
    })
}

/// Runs `presend verify` on the addresses of a table and compares every row; shows all that differ at once.
fn assert_verdicts(servers: &Servers, table: &str, options: &[&str]) {
    let addresses: Vec<&str> = rows(table).map(|(address, _)| address).collect();
    let answers = verify(servers, &addresses, options);
    assert_eq!(answers.len(), addresses.len(), "a result for each row");
    let mut wrong = String::new();
    for ((address, expected), answer) in rows(table).zip(&answers) {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let (row, answer) = (&answer["row"], &answer["presend"]);
        let code = answer["evidence"]["code"]
            .as_u64()
            .map_or("-".to_owned(), |code| code.to_string());
        let got = [word(&answer["label"]), word(&answer["reason"]), code].join(" ");
        if row["email"] != address || answer["address"] != address || got != expected {
            writeln!(wrong, "{address}: wanted {expected}, got {answer}").expect("written");
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{}", servers.record().text());
}

/// Runs `presend verify` on a list and returns a result for each row, in order.
fn verify(servers: &Servers, addresses: &[&str], options: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let list = dir.path().join("list.csv");
    let out = dir.path().join("out.ndjson");
    let relay = Relay::start(servers.smtp_port, options.contains(&"--trusted-host"));
    fs::write(&list, format!("email\n{}\n", addresses.join("\n"))).expect("written");
    let _ = cargo_bin_cmd!("presend")
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .arg("verify")
        .arg(&list)
        .args(["--nameserver", &servers.dns.to_string()])
        .args(["--smtp-port", &relay.port.to_string(), "--allow-special-use"])
        .args(["--helo-name", "probe.example.org", "--mail-from", "probe@example.org"])
        .args(["--format", "ndjson", "--output"])
        .arg(&out)
        .args(options)
        .timeout(Duration::from_mins(3))
        .assert()
        // Much that stays unknown makes a run incomplete (3).
        .code(&[0, 3][..]);
    let text = fs::read_to_string(&out).expect("results");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a row"))
        .collect()
}

/// No set-up was connected to more than `most` times.
fn assert_sessions(record: &Record, most: usize) {
    let mut sessions: HashMap<String, usize> = HashMap::new();
    for session in record.sessions() {
        *sessions.entry(session.set_up).or_default() += 1;
    }
    for (set_up, count) in sessions {
        assert!(count <= most, "{count} sessions with {set_up}\n{}", record.text());
    }
}
