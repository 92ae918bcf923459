//! Every kind of source, through the reader of files.

use std::{convert::Infallible, fs, io::Write, path::PathBuf};

use presend::bounce::{
    Event,
    source::{self, Options, Step, What},
};

use super::corpus::told;

/// Everything that is read from files with these names and contents.
fn steps(files: &[(&str, &[u8])], options: &Options) -> Vec<Step> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, bytes)| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    all(&paths, options)
}

fn all(paths: &[PathBuf], options: &Options) -> Vec<Step> {
    let mut steps = Vec::new();
    let read: Result<(), Infallible> = source::read(paths, options, |step| {
        steps.push(step);
        Ok(())
    });
    read.unwrap();
    steps
}

fn events(steps: &[Step]) -> Vec<&Event> {
    steps
        .iter()
        .flat_map(|step| match &step.what {
            What::Events(_, events) => events.as_slice(),
            _ => &[],
        })
        .collect()
}

fn faults(steps: &[Step]) -> Vec<(u64, &str)> {
    steps
        .iter()
        .filter_map(|step| match &step.what {
            What::Fault(fault) => Some((step.place, &**fault)),
            _ => None,
        })
        .collect()
}

/// Recipient, event, status and class of each event.
fn answers(steps: &[Step]) -> Vec<String> {
    events(steps).into_iter().map(|event| told(event).join(" ")).collect()
}

const REPORT: &str = "From: MAILER-DAEMON@gw.example\nDate: Tue, 3 Nov 2026 10:00:00 +0000\nSubject: failure notice\n\n\
Hi. This is the qmail-send program.\n\n<NAME@mail.example>:\n550 5.1.1 No such user\n";

fn report(name: &str) -> String {
    REPORT.replace("NAME", name)
}

#[test]
fn a_folder_is_read_in_the_order_of_names() {
    let gz = {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(report("d").as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let mbox = format!(
        "From x Tue Nov  3 10:00:00 2026\n{}\nFrom x Tue Nov  3 10:00:00 2026\n{}",
        report("b"),
        report("c")
    );
    let (a, e, f) = (report("a"), report("e"), report("f"));
    for (name, bytes) in [
        ("a.eml", a.as_bytes()),
        ("b.mbox", mbox.as_bytes()),
        ("d.eml.gz", &gz),
        ("in/Maildir/cur/1:2,S", e.as_bytes()),
        ("in/Maildir/new/2", f.as_bytes()),
        ("in/Maildir/tmp/3", report("not").as_bytes()),
        ("in/Maildir/dovecot.index", b"\x00\x01"),
        ("in/.hidden", b"x"),
        ("z.zip", b"PK\x03\x04mail"),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let steps = all(&[folder.path().to_owned()], &Options::default());
    let names: Vec<&str> = events(&steps).iter().map(|event| &event.recipient[..1]).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    let faults = faults(&steps);
    assert!(faults.len() == 1 && faults[0].1.contains("zip"), "{faults:?}");
}

#[test]
fn messages_stay_in_order_on_all_threads() {
    let mut mbox = String::new();
    for number in 0..2_000 {
        mbox.push_str("From x Tue Nov  3 10:00:00 2026\n");
        mbox.push_str(&report(&format!("n{number:05}")));
        mbox.push('\n');
    }
    let steps = steps(&[("a", mbox.as_bytes())], &Options::default());
    let names: Vec<_> = events(&steps).iter().map(|event| event.recipient.to_string()).collect();
    assert_eq!(names.len(), 2_000);
    assert!(names.is_sorted());
}

#[test]
fn services_are_known_by_their_shape() {
    let ses = r#"{"notificationType":"Bounce","mail":{"messageId":"m1","timestamp":"2026-11-03T10:00:00Z","commonHeaders":{"messageId":"<one@sender.example>"}},"bounce":{"bounceType":"Permanent","bounceSubType":"General","timestamp":"2026-11-03T10:00:05.000Z","feedbackId":"f1","bouncedRecipients":[{"emailAddress":"a@mail.example","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"},{"emailAddress":"b@mail.example"}]}}"#;
    let sns = serde_json::json!({"Type": "Notification", "MessageId": "x", "TopicArn": "arn", "Message": r#"{"eventType":"Complaint","mail":{"messageId":"m2"},"complaint":{"timestamp":"2026-11-03T10:00:05.000Z","feedbackId":"f2","complainedRecipients":[{"emailAddress":"c@mail.example"}]}}"#}).to_string();
    let delay = r#"{"eventType":"DeliveryDelay","mail":{"messageId":"m3"},"deliveryDelay":{"timestamp":"2026-11-03T10:00:05.000Z","delayType":"MailboxFull","delayedRecipients":[{"emailAddress":"d@mail.example","status":"4.2.2"}]}}"#;
    let sendgrid = r#"[
  {"email":"e@mail.example","timestamp":1793700000,"event":"bounce","type":"bounce","status":"5.1.1","reason":"550 5.1.1 The email account does not exist","sg_event_id":"s1","smtp-id":"<x@sg>"},
  {"email":"f@mail.example","timestamp":1793700000,"event":"deferred","response":"452 4.2.2 mailbox full","sg_event_id":"s2"},
  {"email":"g@mail.example","timestamp":1793700000,"event":"open","sg_event_id":"s3"},
  {"email":"h@mail.example","timestamp":1793700000,"event":"spamreport","sg_event_id":"s4"}
]"#;
    let mailgun = r#"{"signature":{},"event-data":{"event":"failed","severity":"permanent","timestamp":1793700000.5,"id":"g1","recipient":"i@mail.example","reason":"bounce","message":{"headers":{"message-id":"mg@sender.example"}},"delivery-status":{"code":550,"enhanced-code":"5.1.1","message":"5.1.1 no such user","mx-host":"mx.mail.example"}}}"#;
    let postmark = r#"{"RecordType":"Bounce","ID":7,"Type":"HardBounce","Email":"j@mail.example","BouncedAt":"2026-11-03T10:00:00Z","Details":"smtp;550 5.1.1 unknown user","MessageID":"p1"}"#;
    let hubspot = r#"{"events":[{"type":"BOUNCE","recipient":"k@mail.example","created":1793700000123,"category":"MAILBOX_FULL","status":"5.0.0","response":"","id":"h1"}]}"#;
    let lines = [ses, &sns, delay].join("\n");
    let steps = steps(
        &[
            ("1.ndjson", lines.as_bytes()),
            ("2.json", sendgrid.as_bytes()),
            ("3.json", mailgun.as_bytes()),
            ("4.json", postmark.as_bytes()),
            ("5.json", hubspot.as_bytes()),
        ],
        &Options::default(),
    );
    assert_eq!(
        answers(&steps),
        [
            "a@mail.example bounced 5.1.1 user_unknown",
            "b@mail.example bounced - user_unknown",
            "c@mail.example complained - -",
            "d@mail.example deferred 4.2.2 mailbox_full",
            "e@mail.example bounced 5.1.1 user_unknown",
            "f@mail.example deferred 4.2.2 mailbox_full",
            "h@mail.example complained - -",
            "i@mail.example bounced 5.1.1 user_unknown",
            "j@mail.example bounced 5.1.1 user_unknown",
            "k@mail.example bounced 5.0.0 mailbox_full",
        ]
    );
    let ids: Vec<_> = events(&steps)
        .iter()
        .map(|event| event.foreign_id.as_deref().unwrap().to_owned())
        .collect();
    assert_eq!(
        ids,
        [
            "f1",
            "f1",
            "f2",
            "m3/DeliveryDelay/2026-11-03T10:00:05.000Z",
            "s1",
            "s2",
            "s4",
            "g1",
            "Bounce/7",
            "h1"
        ]
    );
    assert!(faults(&steps).is_empty(), "{:?}", faults(&steps));
    let ignored = steps.iter().filter(|step| matches!(step.what, What::Ignored)).count();
    assert_eq!(ignored, 1);
}

#[test]
fn a_bad_record_is_named_and_the_rest_is_read() {
    let csv = "Email,Bounced At,Reason\na@mail.example,2026-11-03,550 5.1.1 unknown user\nb@mail.example,,550 no\nnobody,2026-11-03,550 no\nc@mail.example,2026-11-04,552 5.2.2 mailbox full\n";
    let undated = "Email,Reason\na@mail.example,550 no such user\n";
    let json = "{\"email\":\"d@mail.example\",\"date\":1793700000,\"reason\":\"550 5.1.1 unknown user\"}\n{\"email\":\n\n{\"email\":\"e@mail.example\",\"date\":1793700000,\"event\":\"complaint\"}\n";
    let log = "Nov  3 10:00:00 mx postfix/smtp[1]: 4F2Qx1: to=<f@mail.example>, relay=mx.mail.example[203.0.113.1]:25, dsn=5.1.1, status=bounced (host mx.mail.example[203.0.113.1] said: 550 5.1.1 User unknown (in reply to RCPT TO command))\nNov  3 10:00:00 mx postfix/smtp[1]: 4F2Qx2: to=<nonsense>, relay=x, dsn=5.1.1, status=bounced (x)\n";
    let steps = steps(
        &[
            ("1.csv", csv.as_bytes()),
            ("2.csv", undated.as_bytes()),
            ("3.ndjson", json.as_bytes()),
            ("4.log", log.as_bytes()),
            ("5.bin", b"\x00\x01\x02"),
        ],
        &Options::default(),
    );
    assert_eq!(
        answers(&steps),
        [
            "a@mail.example bounced 5.1.1 user_unknown",
            "c@mail.example bounced 5.2.2 mailbox_full",
            "d@mail.example bounced 5.1.1 user_unknown",
            "e@mail.example complained - -",
            "f@mail.example bounced 5.1.1 user_unknown",
        ]
    );
    let faults = faults(&steps);
    let expected = [
        (3, "the date is missing"),
        (4, "the recipient is no address"),
        (0, "no column is known to hold the date"),
        (2, "is no JSON"),
        (2, "the recipient is no address"),
        (0, "is neither mail"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for ((place, text), (line, words)) in faults.iter().zip(expected) {
        assert!(*place == line && text.contains(words), "{place}: {text}");
    }
}

#[test]
fn columns_are_named_by_the_operator() {
    let csv = "Kunde;Wann;Grund\na@mail.example;03.11.2026 10:00;550 5.1.1 unbekannt: User unknown\n";
    let options = Options {
        mapping: "recipient=Kunde,date=Wann,reply=Grund".parse().unwrap(),
        ..Options::default()
    };
    assert_eq!(
        answers(&steps(&[("a.csv", csv.as_bytes())], &options)),
        ["a@mail.example bounced 5.1.1 user_unknown"]
    );
}
